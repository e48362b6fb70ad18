"""What columns are made of: the one collection of tables, the types of times, ids, names and amounts.

Amounts are integer micro-credits. Times are UTC. Ids are opaque text with a prefix that names their kind.
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect


class Moment(sa.types.TypeDecorator[datetime]):
    """A UTC time: ``timestamptz`` on PostgreSQL, sortable text on SQLite, always with its zone in Python."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a time without a zone: it would mean another moment on another host."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give SQLite's naive times their zone back."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


#: Constraint names are spelled by rule, so that a migration can name them on every database.
metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

ID = sa.String(40)
NAME = sa.String(200)
MICROS = sa.BigInteger


def moment(name: str, *, nullable: bool = False, index: bool = False) -> sa.Column[Any]:
    """A column that holds a moment."""
    return sa.Column(name, Moment, nullable=nullable, index=index)


def count(name: str) -> sa.Column[Any]:
    """A column that counts from 0."""
    return sa.Column(name, sa.Integer, nullable=False, server_default="0")
