"""Uploads: pictures to start from, and which jobs do."""

import sqlalchemy as sa
from alembic import op

from gateway.storage.columns import Moment

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only add."""
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("team_id", sa.String(length=40), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("object_key", sa.String(length=400), nullable=False),
        sa.Column("content_type", sa.String(length=40), nullable=False),
        sa.Column("extension", sa.String(length=8), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("expires_at", Moment, nullable=False),
        sa.Column("request_hash", sa.String(length=64), nullable=True),
        sa.Column("body_hash", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name=op.f("fk_uploads_key_id")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_uploads_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
        sa.UniqueConstraint("team_id", "request_hash", name=op.f("uq_uploads_team_id_request_hash")),
    )
    op.create_index(op.f("ix_uploads_expires_at"), "uploads", ["expires_at"], unique=False)
    op.create_index("ix_uploads_team_created", "uploads", ["team_id", "created_at", "id"], unique=False)
    op.create_index("ix_uploads_team_sha256", "uploads", ["team_id", "sha256"], unique=False)
    op.create_index("ix_uploads_object_key", "uploads", ["object_key"], unique=False)
    op.create_table(
        "upload_uses",
        sa.Column("upload_id", sa.String(length=40), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("upload_id", "job_id", name=op.f("pk_upload_uses")),
    )
    op.create_index("ix_upload_uses_job_id", "upload_uses", ["job_id"], unique=False)


def downgrade() -> None:
    """Take away what was added."""
    op.drop_table("upload_uses")
    op.drop_table("uploads")
