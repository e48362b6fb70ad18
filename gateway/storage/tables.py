"""The SQL of record, table by table. Declares columns and constraints; runs nothing.

Amounts are integer micro-credits. Times are UTC. Ids are opaque text with a prefix that names their kind.
"""

import sqlalchemy as sa

from gateway.storage.columns import ID, MICROS, NAME, count, metadata, moment

#: One row: which release's migrations the database has, so that a process can refuse a schema it does not know.
schema_info = sa.Table(
    "schema_info",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("release", sa.Integer, nullable=False),
)

teams = sa.Table(
    "teams",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("name", NAME, nullable=False, unique=True),
    moment("created_at"),
    sa.Column("max_queue_s", sa.Integer, nullable=False, server_default="3600"),
    #: New generations a minute, jobs in flight (none: no limit but the account's), jobs waiting.
    sa.Column("rpm", sa.Integer, nullable=False, server_default="300"),
    sa.Column("concurrency", sa.Integer, nullable=True),
    sa.Column("queue_depth", sa.Integer, nullable=False, server_default="10000"),
    #: What its orders may ask for; none allows everything. See ``gateway.admission.policy``.
    sa.Column("policy", sa.JSON, nullable=True),
    #: Takes no new orders; what it has goes on.
    moment("drained_at", nullable=True),
    #: Its name is free again and its keys are dead; the ledger keeps its id.
    moment("deleted_at", nullable=True),
    #: Where it is told of its jobs' ends, unless an order says so itself.
    sa.Column("webhook_url", sa.String(2083), nullable=True),
    #: What it owes for the turns it had; see ``gateway.jobs.turns``.
    sa.Column("turn_micros", MICROS, nullable=False, server_default="0"),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("team_id", sa.ForeignKey("teams.id"), nullable=False, index=True),
    sa.Column("name", NAME, nullable=False),
    sa.Column("digest", sa.LargeBinary(32), nullable=False),
    #: Which derived key made the digest, so that a rotation of the secret can be followed to its end.
    sa.Column("digest_key", sa.String(8), nullable=False),
    sa.Column("scopes", sa.String(200), nullable=False),
    moment("created_at"),
    moment("expires_at", nullable=True),
    moment("revoked_at", nullable=True),
    moment("last_used_at", nullable=True),
    #: Its own limits below the team's; none where only the team's apply.
    sa.Column("rpm", sa.Integer, nullable=True),
    sa.Column("concurrency", sa.Integer, nullable=True),
    #: The key that took its place, when it was rotated.
    sa.Column("successor", ID, nullable=True),
    #: The first key of the chain of rotations that it belongs to; none for that key itself.
    sa.Column("lineage", ID, nullable=True),
)


_BATCHED = sa.text("batch_id IS NOT NULL")
_OPEN = sa.text("batch_id IS NOT NULL AND ended_at IS NULL")


def _kept(what: str) -> sa.Index:
    """An index of the ended jobs of which that is still kept, by their end."""
    which = sa.text(f"{what}_erased_at IS NULL AND ended_at IS NOT NULL")
    return sa.Index(f"ix_jobs_{what}_kept", "team_id", "ended_at", sqlite_where=which, postgresql_where=which)


jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("team_id", sa.ForeignKey("teams.id"), nullable=False),
    sa.Column("key_id", sa.ForeignKey("api_keys.id"), nullable=False),
    sa.Column("model", NAME, nullable=False),
    sa.Column("model_version", sa.String(64), nullable=False),
    sa.Column("resolution", NAME, nullable=False, server_default=""),
    sa.Column("parameters", sa.JSON, nullable=False),
    #: The caller's own, given back with the job and never sent upstream.
    sa.Column("details", sa.JSON, nullable=True),
    #: Orders jobs within one team: the higher goes first.
    sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
    sa.Column("state", sa.String(24), nullable=False),
    #: Grows with each change that a caller can see.
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
    #: The attempt whose hold is open, or was the last to be.
    sa.Column("attempt", sa.Integer, nullable=False, server_default="1"),
    sa.Column("hold_micros", MICROS, nullable=False),
    sa.Column("cost_micros", MICROS, nullable=True),
    moment("created_at"),
    #: While queued, the moment after which nobody waits for it any more.
    moment("queue_deadline_at"),
    moment("submitted_at", nullable=True),
    moment("accepted_at", nullable=True),
    moment("finished_upstream_at", nullable=True),
    moment("ended_at", nullable=True),
    #: When a submission that stayed unknown was given up, and the job queued for its second and last one.
    moment("resubmitted_at", nullable=True),
    #: The next step may be taken from here on.
    moment("due_at"),
    count("nudges"),
    #: When a sweep last nudged it, so that a long line is not nudged at each sweep.
    moment("swept_at", nullable=True),
    sa.Column("claim", ID, nullable=True),
    sa.Column("claimed_by", ID, nullable=True),
    moment("claimed_at", nullable=True),
    sa.Column("upstream_job_id", sa.String(255), nullable=True, unique=True),
    count("polls"),
    count("poll_failures"),
    moment("last_unfinished_at", nullable=True),
    moment("missing_since_at", nullable=True),
    #: What the upstream gave: a list of ``{"url", "seed"}``; none after the pictures are ours.
    sa.Column("results", sa.JSON, nullable=True),
    moment("results_expire_at", nullable=True),
    count("empty_results"),
    count("archive_failures"),
    count("bad_downloads"),
    moment("gone_since_at", nullable=True),
    sa.Column("partial", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("error_code", sa.String(40), nullable=True),
    sa.Column("error_message", sa.Text, nullable=True),
    #: Where its end is told; none for the team's own address.
    sa.Column("webhook_url", sa.String(2083), nullable=True),
    #: The span of the request that ordered it, as a W3C ``traceparent``; none where nobody traced that.
    sa.Column("trace_parent", sa.String(55), nullable=True),
    #: Under which its pictures are kept for the next such request of its team; none when they are not to be.
    sa.Column("fingerprint", sa.String(64), nullable=True),
    #: The job whose pictures it waits for, or had, instead of its own; see ``gateway.reuse.flights``.
    sa.Column("follows", ID, nullable=True),
    #: While it follows, the moment after which its caller no longer waits for a start.
    moment("follows_until", nullable=True),
    #: The job that a completed one took its pictures from when it was ordered.
    sa.Column("reused_from", ID, nullable=True),
    #: The batch that it is of, and its place there.
    sa.Column("batch_id", ID, nullable=True),
    sa.Column("batch_index", sa.Integer, nullable=True),
    #: Since when its pictures, and what it was asked for, are not kept any more; see ``gateway.jobs.erasing``.
    moment("pictures_erased_at", nullable=True),
    moment("prompt_erased_at", nullable=True),
    sa.Index("ix_jobs_team_created", "team_id", "created_at", "id"),
    sa.Index("ix_jobs_state_due", "state", "due_at"),
    sa.Index("ix_jobs_state_created", "state", "created_at"),
    sa.Index("ix_jobs_claimed_by", "claimed_by"),
    sa.Index("ix_jobs_team_state", "team_id", "state", "priority", "created_at"),
    sa.Index("ix_jobs_state_deadline", "state", "queue_deadline_at"),
    sa.Index("ix_jobs_follows", "follows", "state", "created_at"),
    sa.Index("ix_jobs_batch", "batch_id", "batch_index", sqlite_where=_BATCHED, postgresql_where=_BATCHED),
    sa.Index("ix_jobs_batch_open", "batch_id", sqlite_where=_OPEN, postgresql_where=_OPEN),
    _kept("pictures"),
    _kept("prompt"),
)

#: One row for each time a paid POST may have been sent: the row comes first.
attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("job_id", sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("claim", ID, nullable=False),
    sa.Column("worker_id", ID, nullable=False),
    moment("opened_at"),
    #: Nothing is settled or sent again before this moment.
    moment("quiet_at"),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(200), nullable=True),
    sa.Column("status_code", sa.Integer, nullable=True),
    moment("answered_at", nullable=True),
    sa.Column("hold_micros", MICROS, nullable=False),
    sa.Column("cost_micros", MICROS, nullable=True),
    sa.Column("remaining_micros", MICROS, nullable=True),
    sa.Column("upstream_job_id", sa.String(255), nullable=True, unique=True),
    #: SHA-256 of the token under which the upstream may call about it; the token itself is kept nowhere.
    sa.Column("hook_digest", sa.String(64), nullable=True),
    #: What such a call said, to be verified; when the last one was heeded, and when something is to be done about it.
    sa.Column("hinted_upstream_job_id", sa.String(255), nullable=True),
    moment("hinted_at", nullable=True),
    moment("hint_due_at", nullable=True, index=True),
    #: What ended the doubt; see ``gateway.jobs.outcomes.Evidence``.
    sa.Column("evidence", sa.String(24), nullable=True),
    #: While in doubt: the beginning of the last reading of the upstream's list, and of the first that did not show it.
    moment("looked_at", nullable=True),
    moment("absent_at", nullable=True),
    sa.Index("ix_attempts_outcome_opened", "outcome", "opened_at"),
    sa.Index("ix_attempts_hook_digest", "hook_digest", unique=True),
)

images = sa.Table(
    "images",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("job_id", sa.ForeignKey("jobs.id"), nullable=False),
    sa.Column("team_id", sa.ForeignKey("teams.id"), nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("object_key", sa.String(400), nullable=False),
    sa.Column("content_type", sa.String(40), nullable=False),
    sa.Column("extension", sa.String(8), nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=True),
    moment("created_at"),
    sa.UniqueConstraint("job_id", "position"),
    #: Pictures of several jobs may be one object.
    sa.Index("ix_images_object_key", "object_key"),
    sa.Index("ix_images_team_created", "team_id", "created_at", "id"),
)

#: Append-only. An entry is never updated or deleted; a mistake is answered by another entry.
ledger_entries = sa.Table(
    "ledger_entries",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("team_id", sa.ForeignKey("teams.id"), nullable=False),
    sa.Column("key_id", ID, nullable=False),
    sa.Column("model", NAME, nullable=False),
    sa.Column("job_id", ID, nullable=True),
    sa.Column("attempt", sa.Integer, nullable=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("amount_micros", MICROS, nullable=False),
    #: The windows of the hold that began the story, ``2026-11-23`` and ``2026-11``; all that follows is posted there.
    sa.Column("day", sa.String(10), nullable=False),
    sa.Column("month", sa.String(7), nullable=False),
    sa.Column("reference", sa.String(200), nullable=True, unique=True),
    sa.Column("note", sa.Text, nullable=True),
    moment("created_at"),
    sa.UniqueConstraint("job_id", "attempt", "kind"),
    sa.Index("ix_ledger_entries_team_created", "team_id", "created_at", "id"),
)

#: The sums of the entries by who and when, moved in the transaction of the entry.
balances = sa.Table(
    "balances",
    metadata,
    sa.Column("team_id", sa.ForeignKey("teams.id"), primary_key=True),
    #: Empty for the team as a whole, else one of its keys.
    sa.Column("key_id", ID, primary_key=True),
    #: ``total``, a month or a day.
    sa.Column("period", sa.String(10), primary_key=True),
    sa.Column("held_micros", MICROS, nullable=False),
    sa.Column("spent_micros", MICROS, nullable=False),
)

#: What a team or one of its keys may have spent and held in a window; the hard limit is never passed by a new hold.
budgets = sa.Table(
    "budgets",
    metadata,
    sa.Column("team_id", sa.ForeignKey("teams.id"), primary_key=True),
    #: Empty for the team as a whole, else the first key of a chain of rotations, whose keys share the budget.
    sa.Column("key_id", ID, primary_key=True),
    #: ``day``, ``month`` or ``total``, in UTC.
    sa.Column("window", sa.String(8), primary_key=True),
    sa.Column("limit_micros", MICROS, nullable=False),
    sa.Column("soft_micros", MICROS, nullable=True),
    #: The period in which the soft limit was last passed, so that each passing warns once.
    sa.Column("warned_period", sa.String(10), nullable=True),
)

#: A request that was accepted under an ``Idempotency-Key``, written in its job's own transaction.
idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("team_id", sa.ForeignKey("teams.id"), primary_key=True),
    sa.Column("route", NAME, primary_key=True),
    #: SHA-256 of the key's text, which may be anything.
    sa.Column("key_hash", sa.String(64), primary_key=True),
    sa.Column("body_hash", sa.String(64), nullable=False),
    sa.Column("job_id", sa.ForeignKey("jobs.id"), nullable=False),
    moment("created_at", index=True),
)

#: What an operator has stopped: everything, a team or a model. Accepted jobs wait meanwhile.
pauses = sa.Table(
    "pauses",
    metadata,
    #: ``all``, ``team`` or ``model``.
    sa.Column("scope", sa.String(8), primary_key=True),
    #: The team's or model's id; empty for ``all``.
    sa.Column("subject", NAME, primary_key=True),
    moment("since_at"),
)

#: An operator's price for a model and resolution, in place of the catalogue's; or the mark that one is needed.
prices = sa.Table(
    "prices",
    metadata,
    sa.Column("model", NAME, primary_key=True),
    sa.Column("resolution", NAME, primary_key=True),
    sa.Column("micros", MICROS, nullable=True),
    #: Since a charge was above its hold; nothing more is sent until an operator prices it.
    moment("blocked_at", nullable=True),
)

#: The same sums by team and model, for counters that a scrape reads.
spending = sa.Table(
    "spending",
    metadata,
    sa.Column("team_id", sa.ForeignKey("teams.id"), primary_key=True),
    sa.Column("model", NAME, primary_key=True),
    sa.Column("charged_micros", MICROS, nullable=False),
    sa.Column("refunded_micros", MICROS, nullable=False),
)

#: How many jobs ended how, counted in the transaction that ended them.
outcomes = sa.Table(
    "outcomes",
    metadata,
    sa.Column("team_id", sa.ForeignKey("teams.id"), primary_key=True),
    sa.Column("model", NAME, primary_key=True),
    sa.Column("outcome", sa.String(40), primary_key=True),
    sa.Column("jobs", sa.BigInteger, nullable=False),
    sa.Column("images_lost", sa.BigInteger, nullable=False),
)

#: One row a worker process; it lives as long as its ``beat`` grows.
workers = sa.Table(
    "workers",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("host", NAME, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("release", sa.String(40), nullable=False),
    moment("started_at"),
    count("beat"),
    moment("beat_at"),
)

#: One row: what is known of the upstream account, and whether submitting rests. Locked by each claim of a submit.
upstream_account = sa.Table(
    "upstream_account",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("remaining_micros", MICROS, nullable=True),
    moment("remaining_seen_at", nullable=True),
    #: What the ledger expects the balance to be, and by how much the last answer differed.
    sa.Column("expected_micros", MICROS, nullable=True),
    sa.Column("drift_micros", MICROS, nullable=False, server_default="0"),
    moment("paused_until", nullable=True),
    sa.Column("pause_reason", sa.String(40), nullable=True),
    #: Since then queued jobs wait for the account; their deadlines are pushed by as much, once that is over.
    moment("held_since_at", nullable=True),
    count("breaker_failures"),
    moment("breaker_until", nullable=True),
    #: When evidence about unknown submissions is looked for next.
    moment("evidence_due_at", nullable=True),
    #: It has no list of jobs to read; until when it is not asked again, and how often in a row it had none.
    moment("list_silent_until", nullable=True),
    count("list_silences"),
    #: The upstream refused ``webhook_url``; it is left out until then.
    moment("hooks_off_until", nullable=True),
)

#: Credits that came into the upstream account: seen as a rise of its balance, or told by an operator.
topups = sa.Table(
    "topups",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("amount_micros", MICROS, nullable=False),
    sa.Column("source", sa.String(16), nullable=False),
    sa.Column("reference", sa.String(200), nullable=True, unique=True),
    moment("created_at"),
)

#: How long the upstream took, as the interval between the last "not yet" and the first "done", in seconds.
durations = sa.Table(
    "durations",
    metadata,
    sa.Column("job_id", ID, primary_key=True),
    sa.Column("model", NAME, nullable=False),
    sa.Column("resolution", NAME, nullable=False),
    sa.Column("low_s", sa.Float, nullable=False),
    sa.Column("high_s", sa.Float, nullable=False),
    moment("recorded_at"),
    sa.Index("ix_durations_model", "model", "resolution", "recorded_at"),
)

#: Who changed what, before and after.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", ID, primary_key=True),
    moment("created_at", index=True),
    sa.Column("actor", NAME, nullable=False),
    sa.Column("action", sa.String(60), nullable=False),
    sa.Column("team_id", ID, nullable=True),
    sa.Column("subject", ID, nullable=False),
    sa.Column("before", sa.JSON, nullable=True),
    sa.Column("after", sa.JSON, nullable=True),
)
