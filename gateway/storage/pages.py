"""Pages of a list: each begins where the one before ended, by the order's own columns, so that no row is told twice.

A cursor is opaque to its holder and names the last row that was told; rows that come or go meanwhile disturb nothing.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.storage.columns import Moment

LIMIT = 50
LIMIT_MAX = 200


@dataclass(frozen=True)
class Slice:
    """Which part of a list is asked for: at most ``limit`` rows after ``cursor``."""

    limit: int = LIMIT
    cursor: str | None = None


@dataclass(frozen=True)
class Page:
    """The rows of one slice, and the cursor of the next; none at the end."""

    rows: Sequence[sa.Row[Any]]
    next_cursor: str | None


async def page(
    connection: AsyncConnection,
    question: sa.Select[Any],
    order: Sequence[sa.Column[Any]],
    asked: Slice,
    *,
    newest_first: bool = False,
) -> Page:
    """The slice of the question's rows in that order, whose last column is unique; ``InvalidParameter`` for a cursor.

    The order's columns are among those that the question selects.
    """
    if asked.cursor is not None:
        last = sa.tuple_(*_read(asked.cursor, order))
        question = question.where(sa.tuple_(*order) < last if newest_first else sa.tuple_(*order) > last)
    ordered = question.order_by(*(column.desc() if newest_first else column for column in order))
    rows = (await connection.execute(ordered.limit(asked.limit + 1))).all()
    if len(rows) <= asked.limit:
        return Page(rows, None)
    told = rows[: asked.limit]
    return Page(told, _spell([getattr(told[-1], column.name) for column in order]))


def _spell(values: Sequence[object]) -> str:
    texts = [value.isoformat() if isinstance(value, datetime) else str(value) for value in values]
    return base64.urlsafe_b64encode(json.dumps(texts, separators=(",", ":")).encode()).decode().rstrip("=")


def _read(cursor: str, order: Sequence[sa.Column[Any]]) -> list[sa.ColumnElement[Any]]:
    try:
        texts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return [sa.literal(_value(text, column), column.type) for text, column in zip(texts, order, strict=True)]
    except (binascii.Error, ValueError, TypeError, OverflowError):
        raise errors.InvalidParameter("cursor: give the `nextCursor` of the page before", param="cursor") from None


def _value(text: object, column: sa.Column[Any]) -> object:
    if not isinstance(text, str) or not text.isprintable():
        raise ValueError("not a text")
    if not isinstance(column.type, Moment):
        return text
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without a zone")
    # At either end of the calendar there are times that UTC cannot spell: an OverflowError.
    return at.astimezone(UTC)
