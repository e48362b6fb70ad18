"""The tables of what is reused: cached pictures, open flights, saved credits, and each team's choices. Runs nothing.

Nothing here is paid for twice if it is lost, but the fingerprints' key: with another one nothing kept before is found.
"""

import sqlalchemy as sa

from gateway.storage import tables
from gateway.storage.columns import ID, MICROS, NAME, metadata, moment

#: A team's id, or the one pool of the teams that share.
SCOPE = ID
#: 64 hex digits.
FINGERPRINT = sa.String(64)

#: One row, written by the migration that made the table: what this installation alone knows. Never rotated.
installation = sa.Table(
    "installation",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("fingerprint_key", sa.LargeBinary(32), nullable=False),
)

#: A request that has been answered before, and the completed job whose pictures answer it again.
cache_entries = sa.Table(
    "cache_entries",
    metadata,
    sa.Column("scope", SCOPE, primary_key=True),
    sa.Column("fingerprint", FINGERPRINT, primary_key=True),
    #: Grows each time the request is answered anew, so that an older answer never takes a newer one's place in Redis.
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("team_id", sa.ForeignKey(tables.teams.c.id), nullable=False),
    sa.Column("model", NAME, nullable=False),
    sa.Column("job_id", sa.ForeignKey(tables.jobs.c.id), nullable=False, index=True),
    #: What a hit saves: what the job cost, or would have cost whoever followed another's.
    sa.Column("cost_micros", MICROS, nullable=False),
    moment("created_at"),
    moment("expires_at", nullable=True, index=True),
    #: When the pictures were last seen in the archive, as far as SQL was told.
    moment("checked_at"),
    sa.Index("ix_cache_entries_team_model", "team_id", "model"),
)

#: One generation under way that others may follow. At most one is open for a request; closed ones are kept for a while.
flights = sa.Table(
    "flights",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("scope", SCOPE, nullable=False),
    sa.Column("fingerprint", FINGERPRINT, nullable=False),
    #: No foreign key: its lock on the leader's row would meet, in the wrong order, whoever ends the leader.
    sa.Column("leader_job_id", ID, nullable=False, index=True),
    moment("opened_at"),
    moment("closed_at", nullable=True, index=True),
    sa.Column("outcome", sa.String(24), nullable=True),
    sa.Index(
        "uq_flights_open",
        "scope",
        "fingerprint",
        unique=True,
        sqlite_where=sa.text("closed_at IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL"),
    ),
)

#: Counts of hits that were taken over from Redis: a batch that has its row is never added again.
hit_batches = sa.Table(
    "hit_batches",
    metadata,
    sa.Column("id", ID, primary_key=True),
    moment("inserted_at", index=True),
)

#: What reuse has saved: answers that cost nothing, and what they would have cost.
savings = sa.Table(
    "savings",
    metadata,
    sa.Column("team_id", sa.ForeignKey(tables.teams.c.id), primary_key=True),
    sa.Column("model", NAME, primary_key=True),
    #: ``2026-11-23``, in UTC.
    sa.Column("day", sa.String(10), primary_key=True),
    sa.Column("hits", sa.BigInteger, nullable=False),
    sa.Column("saved_micros", MICROS, nullable=False),
)

#: What a team has chosen in place of the defaults; none where it has no row.
reuse_choices = sa.Table(
    "reuse_choices",
    metadata,
    sa.Column("team_id", sa.ForeignKey(tables.teams.c.id), primary_key=True),
    #: How long an entry is good for; none for ever.
    sa.Column("ttl_s", sa.Integer, nullable=True),
    sa.Column("unseeded", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("pool", sa.Boolean, nullable=False, server_default=sa.false()),
)
