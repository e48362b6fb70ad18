"""The table of batches: many jobs as one resource. Declares; runs nothing. A job says itself which batch it is of."""

import sqlalchemy as sa

from gateway.storage import tables
from gateway.storage.columns import ID, metadata, moment

_UNFINISHED = sa.text("finished_at IS NULL")

batches = sa.Table(
    "batches",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("team_id", sa.ForeignKey(tables.teams.c.id), nullable=False),
    sa.Column("key_id", sa.ForeignKey(tables.api_keys.c.id), nullable=False),
    sa.Column("items", sa.Integer, nullable=False),
    #: At most so many of its jobs are in flight at once.
    sa.Column("concurrency", sa.Integer, nullable=False),
    #: The caller's own, given back with the batch.
    sa.Column("details", sa.JSON, nullable=True),
    #: Where its end is told; none for the team's own address.
    sa.Column("webhook_url", sa.String(2083), nullable=True),
    moment("created_at"),
    #: Since then none of its jobs is sent any more; those that wait are taken back.
    moment("cancelled_at", nullable=True),
    #: When its last job had ended. Written once.
    moment("finished_at", nullable=True),
    sa.Index("ix_batches_team_created", "team_id", "created_at", "id"),
    sa.Index("ix_batches_unfinished", "created_at", sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED),
)
