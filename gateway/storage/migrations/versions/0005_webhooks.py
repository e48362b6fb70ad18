"""Webhooks to callers: where to, with which secrets, what was sent and what came of it."""

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only add."""


def downgrade() -> None:
    """Take away what was added."""
