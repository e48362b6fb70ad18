"""The cache, the flights that identical requests share, what both save, and the key of all fingerprints."""

import secrets

import sqlalchemy as sa
from alembic import op

from gateway.storage.columns import Moment

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only add."""
    _create_installation()
    _create_cache_entries()
    _create_flights()
    _create_savings()
    op.create_table(
        "reuse_choices",
        sa.Column("team_id", sa.String(length=40), nullable=False),
        sa.Column("ttl_s", sa.Integer(), nullable=True),
        sa.Column("unseeded", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("pool", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_reuse_choices_team_id")),
        sa.PrimaryKeyConstraint("team_id", name=op.f("pk_reuse_choices")),
    )
    op.add_column("jobs", sa.Column("fingerprint", sa.String(length=64), nullable=True))
    op.add_column("jobs", sa.Column("follows", sa.String(length=40), nullable=True))
    op.add_column("jobs", sa.Column("follows_until", Moment, nullable=True))
    op.add_column("jobs", sa.Column("reused_from", sa.String(length=40), nullable=True))
    op.create_index("ix_jobs_follows", "jobs", ["follows", "state", "created_at"], unique=False)
    op.create_index("ix_images_object_key", "images", ["object_key"], unique=False)


def downgrade() -> None:
    """Take away what was added."""
    op.drop_index("ix_images_object_key", table_name="images")
    op.drop_index("ix_jobs_follows", table_name="jobs")
    for name in ("reused_from", "follows_until", "follows", "fingerprint"):
        op.drop_column("jobs", name)
    for name in ("reuse_choices", "savings", "hit_batches", "flights", "cache_entries", "installation"):
        op.drop_table(name)


def _create_installation() -> None:
    made = op.create_table(
        "installation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("fingerprint_key", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
    )
    # Made where it is kept: no process ever has to decide whether it is the first.
    op.bulk_insert(made, [{"id": 1, "fingerprint_key": secrets.token_bytes(32)}])


def _create_cache_entries() -> None:
    op.create_table(
        "cache_entries",
        sa.Column("scope", sa.String(length=40), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("team_id", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("cost_micros", sa.BigInteger(), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("expires_at", Moment, nullable=True),
        sa.Column("checked_at", Moment, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_cache_entries_job_id")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_cache_entries_team_id")),
        sa.PrimaryKeyConstraint("scope", "fingerprint", name=op.f("pk_cache_entries")),
    )
    op.create_index(op.f("ix_cache_entries_job_id"), "cache_entries", ["job_id"], unique=False)
    op.create_index(op.f("ix_cache_entries_expires_at"), "cache_entries", ["expires_at"], unique=False)
    op.create_index("ix_cache_entries_team_model", "cache_entries", ["team_id", "model"], unique=False)


def _create_flights() -> None:
    op.create_table(
        "flights",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("scope", sa.String(length=40), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("leader_job_id", sa.String(length=40), nullable=False),
        sa.Column("opened_at", Moment, nullable=False),
        sa.Column("closed_at", Moment, nullable=True),
        sa.Column("outcome", sa.String(length=24), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flights")),
    )
    op.create_index(op.f("ix_flights_leader_job_id"), "flights", ["leader_job_id"], unique=False)
    op.create_index(op.f("ix_flights_closed_at"), "flights", ["closed_at"], unique=False)
    op.create_index(
        "uq_flights_open",
        "flights",
        ["scope", "fingerprint"],
        unique=True,
        sqlite_where=sa.text("closed_at IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL"),
    )


def _create_savings() -> None:
    op.create_table(
        "hit_batches",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("inserted_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hit_batches")),
    )
    op.create_index(op.f("ix_hit_batches_inserted_at"), "hit_batches", ["inserted_at"], unique=False)
    op.create_table(
        "savings",
        sa.Column("team_id", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("hits", sa.BigInteger(), nullable=False),
        sa.Column("saved_micros", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_savings_team_id")),
        sa.PrimaryKeyConstraint("team_id", "model", "day", name=op.f("pk_savings")),
    )
