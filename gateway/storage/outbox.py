"""The tables of webhooks to callers: what is to be told, each time it was tried, and what it is signed with.

Declares columns and constraints; runs nothing. No body is kept: it is made anew at each try.
"""

import sqlalchemy as sa

from gateway.storage import tables
from gateway.storage.columns import ID, count, metadata, moment

URL = sa.String(2083)

#: One row an event, written in the transaction that made it true. Its id is the ``webhook-id`` of every try.
deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("team_id", sa.ForeignKey(tables.teams.c.id), nullable=False),
    #: What it is about: a job, or a batch.
    sa.Column("job_id", ID, nullable=True),
    sa.Column("batch_id", ID, nullable=True),
    #: The job's version that made it true: one event a version, whoever writes it and how often.
    sa.Column("version", sa.Integer, nullable=True),
    #: ``job.completed``, ``job.failed``, ``job.cancelled``, ``batch.finished``.
    sa.Column("type", sa.String(40), nullable=False),
    #: It tells a failure that may yet turn out otherwise.
    sa.Column("provisional", sa.Boolean, nullable=False, server_default=sa.false()),
    #: Where the last try went, or the first will go.
    sa.Column("url", URL, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    moment("created_at"),
    #: The next try may be made from here on.
    moment("due_at"),
    #: When the present round of tries began; a replay begins another.
    moment("round_at"),
    count("round_tries"),
    count("tries"),
    count("replays"),
    #: What the last try came to.
    sa.Column("outcome", sa.String(24), nullable=True),
    moment("ended_at", nullable=True),
    sa.Column("claim", ID, nullable=True),
    sa.Column("claimed_by", ID, nullable=True),
    moment("claimed_at", nullable=True),
    sa.UniqueConstraint("job_id", "version"),
    sa.Index("ix_deliveries_state_team_due", "state", "team_id", "due_at"),
    sa.Index("ix_deliveries_team_created", "team_id", "created_at", "id"),
    sa.Index("ix_deliveries_created", "created_at", "id"),
    sa.Index("ix_deliveries_claimed_by", "claimed_by"),
    sa.Index("ix_deliveries_ended", "ended_at"),
)

#: Each time that it was tried. Without an outcome it is under way, or its worker died.
delivery_tries = sa.Table(
    "delivery_tries",
    metadata,
    sa.Column("delivery_id", sa.ForeignKey(deliveries.c.id, ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    moment("at"),
    sa.Column("outcome", sa.String(24), nullable=True),
    sa.Column("status_code", sa.Integer, nullable=True),
    sa.Column("duration_ms", sa.Integer, nullable=True),
)

#: What a team's webhooks are signed with, sealed; several while one takes another's place.
webhook_secrets = sa.Table(
    "webhook_secrets",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("team_id", sa.ForeignKey(tables.teams.c.id), nullable=False, index=True),
    sa.Column("sealed", sa.LargeBinary(128), nullable=False),
    #: Which derived key sealed it, so that a rotation of the secret can be followed to its end.
    sa.Column("sealed_key", sa.String(8), nullable=False),
    moment("created_at"),
    #: It signs until then; none for the one in force.
    moment("expires_at", nullable=True, index=True),
)
