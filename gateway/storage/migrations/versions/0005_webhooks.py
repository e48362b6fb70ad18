"""Webhooks to callers: where to, with which secrets, what was sent and what came of it."""

import sqlalchemy as sa
from alembic import op

from gateway.storage.columns import Moment

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only add."""
    op.add_column("teams", sa.Column("webhook_url", sa.String(length=2083), nullable=True))
    op.add_column("jobs", sa.Column("webhook_url", sa.String(length=2083), nullable=True))
    _create_deliveries()
    _create_delivery_tries()
    _create_webhook_secrets()


def downgrade() -> None:
    """Take away what was added."""
    op.drop_table("webhook_secrets")
    op.drop_table("delivery_tries")
    op.drop_table("deliveries")
    op.drop_column("jobs", "webhook_url")
    op.drop_column("teams", "webhook_url")


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("team_id", sa.String(length=40), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("type", sa.String(length=40), nullable=False),
        sa.Column("provisional", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("url", sa.String(length=2083), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("due_at", Moment, nullable=False),
        sa.Column("round_at", Moment, nullable=False),
        sa.Column("round_tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("replays", sa.Integer(), server_default="0", nullable=False),
        sa.Column("outcome", sa.String(length=24), nullable=True),
        sa.Column("ended_at", Moment, nullable=True),
        sa.Column("claim", sa.String(length=40), nullable=True),
        sa.Column("claimed_by", sa.String(length=40), nullable=True),
        sa.Column("claimed_at", Moment, nullable=True),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_deliveries_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("job_id", "version", name=op.f("uq_deliveries_job_id_version")),
    )
    for name, columns in (
        ("ix_deliveries_state_team_due", ["state", "team_id", "due_at"]),
        ("ix_deliveries_team_created", ["team_id", "created_at", "id"]),
        ("ix_deliveries_created", ["created_at", "id"]),
        ("ix_deliveries_claimed_by", ["claimed_by"]),
        ("ix_deliveries_ended", ["ended_at"]),
    ):
        op.create_index(name, "deliveries", columns, unique=False)


def _create_delivery_tries() -> None:
    op.create_table(
        "delivery_tries",
        sa.Column("delivery_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("outcome", sa.String(length=24), nullable=True),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.id"], name=op.f("fk_delivery_tries_delivery_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("delivery_id", "number", name=op.f("pk_delivery_tries")),
    )


def _create_webhook_secrets() -> None:
    op.create_table(
        "webhook_secrets",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("team_id", sa.String(length=40), nullable=False),
        sa.Column("sealed", sa.LargeBinary(length=128), nullable=False),
        sa.Column("sealed_key", sa.String(length=8), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("expires_at", Moment, nullable=True),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_webhook_secrets_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_secrets")),
    )
    for column in ("team_id", "expires_at"):
        op.create_index(op.f(f"ix_webhook_secrets_{column}"), "webhook_secrets", [column], unique=False)
