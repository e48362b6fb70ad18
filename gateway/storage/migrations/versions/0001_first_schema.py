"""The first schema: teams and keys, jobs and their attempts, pictures, the ledger, and the state of the house."""

import sqlalchemy as sa
from alembic import op

from gateway.storage.columns import Moment

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table, then the rows that are always there."""
    _create_schema_info()
    _create_teams()
    _create_api_keys()
    _create_jobs()
    _create_attempts()
    _create_images()
    _create_ledger_entries()
    _create_balances()
    _create_spending()
    _create_outcomes()
    _create_workers()
    _create_upstream_account()
    _create_durations()
    _create_audit()
    op.execute("INSERT INTO schema_info (id, release) VALUES (1, 1)")
    op.execute("INSERT INTO upstream_account (id, breaker_failures) VALUES (1, 0)")


def downgrade() -> None:
    """Drop every table, those that others point at last."""
    for table in (
        "audit",
        "durations",
        "upstream_account",
        "workers",
        "outcomes",
        "spending",
        "balances",
        "ledger_entries",
        "images",
        "attempts",
        "jobs",
        "api_keys",
        "teams",
        "schema_info",
    ):
        op.drop_table(table)


def _create_schema_info() -> None:
    op.create_table(
        "schema_info",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("release", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schema_info")),
    )


def _create_teams() -> None:
    op.create_table(
        "teams",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("max_queue_s", sa.Integer(), server_default="3600", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_teams")),
        sa.UniqueConstraint("name", name=op.f("uq_teams_name")),
    )


def _create_api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("team_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("digest_key", sa.String(length=8), nullable=False),
        sa.Column("scopes", sa.String(length=200), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("expires_at", Moment, nullable=True),
        sa.Column("revoked_at", Moment, nullable=True),
        sa.Column("last_used_at", Moment, nullable=True),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_api_keys_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
    )
    op.create_index(op.f("ix_api_keys_team_id"), "api_keys", ["team_id"], unique=False)


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("team_id", sa.String(length=40), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("model_version", sa.String(length=64), nullable=False),
        sa.Column("resolution", sa.String(length=200), server_default="", nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=True),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="1", nullable=False),
        sa.Column("hold_micros", sa.BigInteger(), nullable=False),
        sa.Column("cost_micros", sa.BigInteger(), nullable=True),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("queue_deadline_at", Moment, nullable=False),
        sa.Column("submitted_at", Moment, nullable=True),
        sa.Column("accepted_at", Moment, nullable=True),
        sa.Column("finished_upstream_at", Moment, nullable=True),
        sa.Column("ended_at", Moment, nullable=True),
        sa.Column("due_at", Moment, nullable=False),
        sa.Column("nudges", sa.Integer(), server_default="0", nullable=False),
        sa.Column("swept_at", Moment, nullable=True),
        sa.Column("claim", sa.String(length=40), nullable=True),
        sa.Column("claimed_by", sa.String(length=40), nullable=True),
        sa.Column("claimed_at", Moment, nullable=True),
        sa.Column("upstream_job_id", sa.String(length=255), nullable=True),
        sa.Column("polls", sa.Integer(), server_default="0", nullable=False),
        sa.Column("poll_failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_unfinished_at", Moment, nullable=True),
        sa.Column("missing_since_at", Moment, nullable=True),
        sa.Column("results", sa.JSON(), nullable=True),
        sa.Column("results_expire_at", Moment, nullable=True),
        sa.Column("empty_results", sa.Integer(), server_default="0", nullable=False),
        sa.Column("archive_failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("bad_downloads", sa.Integer(), server_default="0", nullable=False),
        sa.Column("gone_since_at", Moment, nullable=True),
        sa.Column("partial", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("error_code", sa.String(length=40), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name=op.f("fk_jobs_key_id")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_jobs_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("upstream_job_id", name=op.f("uq_jobs_upstream_job_id")),
    )
    op.create_index("ix_jobs_claimed_by", "jobs", ["claimed_by"], unique=False)
    op.create_index("ix_jobs_state_created", "jobs", ["state", "created_at"], unique=False)
    op.create_index("ix_jobs_state_due", "jobs", ["state", "due_at"], unique=False)
    op.create_index("ix_jobs_team_created", "jobs", ["team_id", "created_at", "id"], unique=False)


def _create_attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("claim", sa.String(length=40), nullable=False),
        sa.Column("worker_id", sa.String(length=40), nullable=False),
        sa.Column("opened_at", Moment, nullable=False),
        sa.Column("quiet_at", Moment, nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=True),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("answered_at", Moment, nullable=True),
        sa.Column("hold_micros", sa.BigInteger(), nullable=False),
        sa.Column("cost_micros", sa.BigInteger(), nullable=True),
        sa.Column("remaining_micros", sa.BigInteger(), nullable=True),
        sa.Column("upstream_job_id", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_attempts_job_id")),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_attempts")),
        sa.UniqueConstraint("upstream_job_id", name=op.f("uq_attempts_upstream_job_id")),
    )
    op.create_index("ix_attempts_outcome_opened", "attempts", ["outcome", "opened_at"], unique=False)


def _create_images() -> None:
    op.create_table(
        "images",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("team_id", sa.String(length=40), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("object_key", sa.String(length=400), nullable=False),
        sa.Column("content_type", sa.String(length=40), nullable=False),
        sa.Column("extension", sa.String(length=8), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=True),
        sa.Column("created_at", Moment, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_images_job_id")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_images_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_images")),
        sa.UniqueConstraint("job_id", "position", name=op.f("uq_images_job_id_position")),
    )


def _create_ledger_entries() -> None:
    op.create_table(
        "ledger_entries",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("team_id", sa.String(length=40), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("reference", sa.String(length=200), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_at", Moment, nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_ledger_entries_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entries")),
        sa.UniqueConstraint("job_id", "attempt", "kind", name=op.f("uq_ledger_entries_job_id_attempt_kind")),
        sa.UniqueConstraint("reference", name=op.f("uq_ledger_entries_reference")),
    )
    op.create_index("ix_ledger_entries_team_created", "ledger_entries", ["team_id", "created_at", "id"], unique=False)


def _create_balances() -> None:
    op.create_table(
        "balances",
        sa.Column("team_id", sa.String(length=40), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("period", sa.String(length=10), nullable=False),
        sa.Column("held_micros", sa.BigInteger(), nullable=False),
        sa.Column("spent_micros", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_balances_team_id")),
        sa.PrimaryKeyConstraint("team_id", "key_id", "period", name=op.f("pk_balances")),
    )


def _create_spending() -> None:
    op.create_table(
        "spending",
        sa.Column("team_id", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("charged_micros", sa.BigInteger(), nullable=False),
        sa.Column("refunded_micros", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_spending_team_id")),
        sa.PrimaryKeyConstraint("team_id", "model", name=op.f("pk_spending")),
    )


def _create_outcomes() -> None:
    op.create_table(
        "outcomes",
        sa.Column("team_id", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("outcome", sa.String(length=40), nullable=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.Column("images_lost", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_outcomes_team_id")),
        sa.PrimaryKeyConstraint("team_id", "model", "outcome", name=op.f("pk_outcomes")),
    )


def _create_workers() -> None:
    op.create_table(
        "workers",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("host", sa.String(length=200), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("release", sa.String(length=40), nullable=False),
        sa.Column("started_at", Moment, nullable=False),
        sa.Column("beat", sa.Integer(), server_default="0", nullable=False),
        sa.Column("beat_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )


def _create_upstream_account() -> None:
    op.create_table(
        "upstream_account",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("remaining_micros", sa.BigInteger(), nullable=True),
        sa.Column("remaining_seen_at", Moment, nullable=True),
        sa.Column("paused_until", Moment, nullable=True),
        sa.Column("pause_reason", sa.String(length=40), nullable=True),
        sa.Column("breaker_failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("breaker_until", Moment, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upstream_account")),
    )


def _create_durations() -> None:
    op.create_table(
        "durations",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("resolution", sa.String(length=200), nullable=False),
        sa.Column("low_s", sa.Float(), nullable=False),
        sa.Column("high_s", sa.Float(), nullable=False),
        sa.Column("recorded_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_durations")),
    )
    op.create_index("ix_durations_model", "durations", ["model", "resolution", "recorded_at"], unique=False)


def _create_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=60), nullable=False),
        sa.Column("team_id", sa.String(length=40), nullable=True),
        sa.Column("subject", sa.String(length=40), nullable=False),
        sa.Column("before", sa.JSON(), nullable=True),
        sa.Column("after", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_created_at"), "audit", ["created_at"], unique=False)
