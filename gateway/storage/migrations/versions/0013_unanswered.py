"""Orders whose answers their callers may not have had."""

import sqlalchemy as sa
from alembic import op

from gateway.storage.columns import Moment

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only add."""
    op.create_table(
        "unanswered",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("body_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("holder", sa.String(length=40), nullable=True),
        sa.Column("repeat", sa.Integer(), nullable=False),
        sa.Column("delivered_at", Moment, nullable=True),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_unanswered")),
    )
    op.create_index(op.f("ix_unanswered_created_at"), "unanswered", ["created_at"], unique=False)
    op.create_index("ix_unanswered_key_body", "unanswered", ["key_id", "body_hash", "created_at"], unique=False)


def downgrade() -> None:
    """Take away what was added."""
    op.drop_table("unanswered")
