"""Batches: many jobs as one resource, told about once."""

import sqlalchemy as sa
from alembic import op

from gateway.storage.columns import Moment

revision = "0011"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only add."""
    op.create_table(
        "batches",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("team_id", sa.String(length=40), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("items", sa.Integer(), nullable=False),
        sa.Column("concurrency", sa.Integer(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=True),
        sa.Column("webhook_url", sa.String(length=2083), nullable=True),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("cancelled_at", Moment, nullable=True),
        sa.Column("finished_at", Moment, nullable=True),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name=op.f("fk_batches_key_id")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_batches_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )
    op.create_index("ix_batches_team_created", "batches", ["team_id", "created_at", "id"], unique=False)
    living = sa.text("finished_at IS NULL")
    op.create_index(
        "ix_batches_unfinished", "batches", ["created_at"], unique=False, sqlite_where=living, postgresql_where=living
    )
    op.add_column("jobs", sa.Column("batch_id", sa.String(length=40), nullable=True))
    op.add_column("jobs", sa.Column("batch_index", sa.Integer(), nullable=True))
    batched = sa.text("batch_id IS NOT NULL")
    op.create_index(
        "ix_jobs_batch",
        "jobs",
        ["batch_id", "batch_index"],
        unique=False,
        sqlite_where=batched,
        postgresql_where=batched,
    )
    open_ = sa.text("batch_id IS NOT NULL AND ended_at IS NULL")
    op.create_index(
        "ix_jobs_batch_open", "jobs", ["batch_id"], unique=False, sqlite_where=open_, postgresql_where=open_
    )
    op.add_column("deliveries", sa.Column("batch_id", sa.String(length=40), nullable=True))


def downgrade() -> None:
    """Take away what was added."""
    op.drop_column("deliveries", "batch_id")
    op.drop_index("ix_jobs_batch_open", table_name="jobs")
    op.drop_index("ix_jobs_batch", table_name="jobs")
    for name in ("batch_index", "batch_id"):
        op.drop_column("jobs", name)
    op.drop_table("batches")
