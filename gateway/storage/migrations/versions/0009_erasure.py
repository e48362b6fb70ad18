"""What is erased of a job and when, objects that are still to go from the archive, and how long a team keeps things."""

import sqlalchemy as sa
from alembic import op

from gateway.storage.columns import Moment

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only add."""
    op.add_column("jobs", sa.Column("pictures_erased_at", Moment, nullable=True))
    op.add_column("jobs", sa.Column("prompt_erased_at", Moment, nullable=True))
    for what in ("pictures", "prompt"):
        kept = sa.text(f"{what}_erased_at IS NULL AND ended_at IS NOT NULL")
        op.create_index(
            f"ix_jobs_{what}_kept",
            "jobs",
            ["team_id", "ended_at"],
            unique=False,
            sqlite_where=kept,
            postgresql_where=kept,
        )
    op.create_table(
        "erasures",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("team_id", sa.String(length=40), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("object_key", sa.String(length=400), nullable=False),
        sa.Column("cause", sa.String(length=16), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("due_at", Moment, nullable=False),
        sa.Column("done_at", Moment, nullable=True),
        sa.Column("passes", sa.Integer(), server_default="1", nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasures")),
    )
    op.create_index(op.f("ix_erasures_due_at"), "erasures", ["due_at"], unique=False)
    op.create_table(
        "retention",
        sa.Column("team_id", sa.String(length=40), nullable=False),
        sa.Column("pictures_days", sa.Integer(), nullable=True),
        sa.Column("prompts_days", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_retention_team_id")),
        sa.PrimaryKeyConstraint("team_id", name=op.f("pk_retention")),
    )


def downgrade() -> None:
    """Take away what was added."""
    op.drop_table("retention")
    op.drop_table("erasures")
    for what in ("prompt", "pictures"):
        op.drop_index(f"ix_jobs_{what}_kept", table_name="jobs")
        op.drop_column("jobs", f"{what}_erased_at")
