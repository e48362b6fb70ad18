"""Which key a rotated key descends from, and the deadlines of queued jobs by index."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only add."""
    # Keys that were rotated before stay chains of their own: what they have spent since is not held against them.
    op.add_column("api_keys", sa.Column("lineage", sa.String(length=40), nullable=True))
    op.create_index("ix_jobs_state_deadline", "jobs", ["state", "queue_deadline_at"], unique=False)
    op.execute("UPDATE schema_info SET release = 3")


def downgrade() -> None:
    """Take away what was added."""
    op.execute("UPDATE schema_info SET release = 2")
    op.drop_index("ix_jobs_state_deadline", table_name="jobs")
    op.drop_column("api_keys", "lineage")
