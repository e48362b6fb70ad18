"""The console's sessions, and an index for its gallery."""

import sqlalchemy as sa
from alembic import op

from gateway.storage.columns import Moment

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only add."""
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("digest_key", sa.String(length=8), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=True),
        sa.Column("operator", sa.LargeBinary(length=32), nullable=True),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("seen_at", Moment, nullable=False),
        sa.Column("expires_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_expires_at"), "sessions", ["expires_at"], unique=False)
    op.create_index("ix_images_team_created", "images", ["team_id", "created_at", "id"], unique=False)
    op.execute("UPDATE schema_info SET release = 4")


def downgrade() -> None:
    """Take away what was added."""
    op.execute("UPDATE schema_info SET release = 3")
    op.drop_index("ix_images_team_created", table_name="images")
    op.drop_table("sessions")
