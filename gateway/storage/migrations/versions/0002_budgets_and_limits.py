"""Budgets, limits, policies, turns, pauses, prices, idempotency keys, and the account's expected balance."""

import sqlalchemy as sa
from alembic import op

from gateway.storage.columns import Moment

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only add."""
    _create_pauses()
    _create_prices()
    _create_topups()
    _create_budgets()
    _create_idempotency_keys()
    op.add_column("api_keys", sa.Column("rpm", sa.Integer(), nullable=True))
    op.add_column("api_keys", sa.Column("concurrency", sa.Integer(), nullable=True))
    op.add_column("api_keys", sa.Column("successor", sa.String(length=40), nullable=True))
    op.add_column("jobs", sa.Column("priority", sa.Integer(), server_default="0", nullable=False))
    op.create_index("ix_jobs_team_state", "jobs", ["team_id", "state", "priority", "created_at"], unique=False)
    op.add_column("teams", sa.Column("rpm", sa.Integer(), server_default="300", nullable=False))
    op.add_column("teams", sa.Column("concurrency", sa.Integer(), nullable=True))
    op.add_column("teams", sa.Column("queue_depth", sa.Integer(), server_default="10000", nullable=False))
    op.add_column("teams", sa.Column("policy", sa.JSON(), nullable=True))
    op.add_column("teams", sa.Column("drained_at", Moment, nullable=True))
    op.add_column("teams", sa.Column("deleted_at", Moment, nullable=True))
    op.add_column("teams", sa.Column("turn_micros", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("upstream_account", sa.Column("expected_micros", sa.BigInteger(), nullable=True))
    op.add_column("upstream_account", sa.Column("drift_micros", sa.BigInteger(), server_default="0", nullable=False))
    op.execute("UPDATE schema_info SET release = 2")


def downgrade() -> None:
    """Take away what was added."""
    op.execute("UPDATE schema_info SET release = 1")
    op.drop_column("upstream_account", "drift_micros")
    op.drop_column("upstream_account", "expected_micros")
    op.drop_column("teams", "turn_micros")
    op.drop_column("teams", "deleted_at")
    op.drop_column("teams", "drained_at")
    op.drop_column("teams", "policy")
    op.drop_column("teams", "queue_depth")
    op.drop_column("teams", "concurrency")
    op.drop_column("teams", "rpm")
    op.drop_index("ix_jobs_team_state", table_name="jobs")
    op.drop_column("jobs", "priority")
    op.drop_column("api_keys", "successor")
    op.drop_column("api_keys", "concurrency")
    op.drop_column("api_keys", "rpm")
    op.drop_index(op.f("ix_idempotency_keys_created_at"), table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_table("budgets")
    op.drop_table("topups")
    op.drop_table("prices")
    op.drop_table("pauses")


def _create_pauses() -> None:
    op.create_table(
        "pauses",
        sa.Column("scope", sa.String(length=8), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("since_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("scope", "subject", name=op.f("pk_pauses")),
    )


def _create_prices() -> None:
    op.create_table(
        "prices",
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("resolution", sa.String(length=200), nullable=False),
        sa.Column("micros", sa.BigInteger(), nullable=True),
        sa.Column("blocked_at", Moment, nullable=True),
        sa.PrimaryKeyConstraint("model", "resolution", name=op.f("pk_prices")),
    )


def _create_topups() -> None:
    op.create_table(
        "topups",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("reference", sa.String(length=200), nullable=True),
        sa.Column("created_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_topups")),
        sa.UniqueConstraint("reference", name=op.f("uq_topups_reference")),
    )


def _create_budgets() -> None:
    op.create_table(
        "budgets",
        sa.Column("team_id", sa.String(length=40), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("window", sa.String(length=8), nullable=False),
        sa.Column("limit_micros", sa.BigInteger(), nullable=False),
        sa.Column("soft_micros", sa.BigInteger(), nullable=True),
        sa.Column("warned_period", sa.String(length=10), nullable=True),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_budgets_team_id")),
        sa.PrimaryKeyConstraint("team_id", "key_id", "window", name=op.f("pk_budgets")),
    )


def _create_idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("team_id", sa.String(length=40), nullable=False),
        sa.Column("route", sa.String(length=200), nullable=False),
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("body_hash", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_idempotency_keys_job_id")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_idempotency_keys_team_id")),
        sa.PrimaryKeyConstraint("team_id", "route", "key_hash", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"], unique=False)
