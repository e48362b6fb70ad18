"""What tells whether an unknown submission was taken."""

import sqlalchemy as sa
from alembic import op

from gateway.storage.columns import Moment

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only add."""
    op.add_column("attempts", sa.Column("hook_digest", sa.String(length=64), nullable=True))
    op.add_column("attempts", sa.Column("hinted_upstream_job_id", sa.String(length=255), nullable=True))
    op.add_column("attempts", sa.Column("hinted_at", Moment, nullable=True))
    op.add_column("attempts", sa.Column("hint_due_at", Moment, nullable=True))
    op.add_column("attempts", sa.Column("evidence", sa.String(length=24), nullable=True))
    op.add_column("attempts", sa.Column("looked_at", Moment, nullable=True))
    op.add_column("attempts", sa.Column("absent_at", Moment, nullable=True))
    op.create_index(op.f("ix_attempts_hook_digest"), "attempts", ["hook_digest"], unique=True)
    op.create_index(op.f("ix_attempts_hint_due_at"), "attempts", ["hint_due_at"], unique=False)
    op.add_column("jobs", sa.Column("resubmitted_at", Moment, nullable=True))
    op.add_column("upstream_account", sa.Column("evidence_due_at", Moment, nullable=True))
    op.add_column("upstream_account", sa.Column("list_silent_until", Moment, nullable=True))
    op.add_column(
        "upstream_account", sa.Column("list_silences", sa.Integer(), nullable=False, server_default=sa.text("0"))
    )
    op.add_column("upstream_account", sa.Column("hooks_off_until", Moment, nullable=True))
    op.add_column("upstream_account", sa.Column("held_since_at", Moment, nullable=True))


def downgrade() -> None:
    """Take away what was added."""
    for column in ("held_since_at", "hooks_off_until", "list_silences", "list_silent_until", "evidence_due_at"):
        op.drop_column("upstream_account", column)
    op.drop_column("jobs", "resubmitted_at")
    op.drop_index(op.f("ix_attempts_hint_due_at"), table_name="attempts")
    op.drop_index(op.f("ix_attempts_hook_digest"), table_name="attempts")
    for column in (
        "absent_at", "looked_at", "evidence", "hint_due_at", "hinted_at", "hinted_upstream_job_id", "hook_digest",
    ):  # fmt: skip
        op.drop_column("attempts", column)
