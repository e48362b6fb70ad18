"""What tells whether an unknown submission was taken."""

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only add."""


def downgrade() -> None:
    """Take away what was added."""
