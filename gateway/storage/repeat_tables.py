"""The table of orders whose answers their callers may not have had: who repeats a request is known by it.

Declares; runs nothing. See ``gateway.jobs.repeats``.
"""

import sqlalchemy as sa

from gateway.storage.columns import ID, metadata, moment

#: One row a job that was ordered in a dialect whose clients repeat a paid request by themselves.
unanswered = sa.Table(
    "unanswered",
    metadata,
    #: No foreign keys: a row is of use for a quarter of an hour, and nothing shall wait for it.
    sa.Column("job_id", ID, primary_key=True),
    sa.Column("key_id", ID, nullable=False),
    #: SHA-256 of the request's body.
    sa.Column("body_hash", sa.String(64), nullable=False),
    moment("created_at", index=True),
    #: The live request that the job is for; none once its caller is known to be gone.
    sa.Column("holder", ID, nullable=True),
    #: Which repeat of its caller that request is; 0 for the first.
    sa.Column("repeat", sa.Integer, nullable=False),
    #: The whole answer has reached its caller, as far as anybody can know.
    moment("delivered_at", nullable=True),
    sa.Index("ix_unanswered_key_body", "key_id", "body_hash", "created_at"),
)
