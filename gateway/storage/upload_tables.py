"""The tables of uploads: pictures that callers brought to start from, and the jobs that do. Declares; runs nothing.

A row is there as long as its upload is: one that was deleted, or whose time is over, leaves nothing.
"""

import sqlalchemy as sa

from gateway.storage import tables
from gateway.storage.columns import ID, metadata, moment

uploads = sa.Table(
    "uploads",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("team_id", sa.ForeignKey(tables.teams.c.id), nullable=False),
    #: The key that brought it.
    sa.Column("key_id", sa.ForeignKey(tables.api_keys.c.id), nullable=False),
    #: Uploads of one picture by one team may be one object; it goes with the last of them.
    sa.Column("object_key", sa.String(400), nullable=False),
    sa.Column("content_type", sa.String(40), nullable=False),
    sa.Column("extension", sa.String(8), nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    moment("created_at"),
    #: From then on no order may name it; it goes once no unfinished job does.
    moment("expires_at", index=True),
    #: Of the ``Idempotency-Key`` that it was brought under, and of the request's body then; none after a day.
    sa.Column("request_hash", sa.String(64), nullable=True),
    sa.Column("body_hash", sa.String(64), nullable=True),
    sa.UniqueConstraint("team_id", "request_hash"),
    sa.Index("ix_uploads_team_created", "team_id", "created_at", "id"),
    sa.Index("ix_uploads_team_sha256", "team_id", "sha256"),
    sa.Index("ix_uploads_object_key", "object_key"),
)

#: Which jobs start from which uploads, written in the transaction that makes the job.
upload_uses = sa.Table(
    "upload_uses",
    metadata,
    #: No foreign keys: nothing that is locked shall wait for a row that is only to be swept away.
    sa.Column("upload_id", ID, primary_key=True),
    sa.Column("job_id", ID, primary_key=True),
    sa.Index("ix_upload_uses_job_id", "job_id"),
)
