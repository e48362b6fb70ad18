"""The trace that each job belongs to."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only add."""
    op.add_column("jobs", sa.Column("trace_parent", sa.String(length=55), nullable=True))


def downgrade() -> None:
    """Take away what was added."""
    op.drop_column("jobs", "trace_parent")
