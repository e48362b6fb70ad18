"""Upstream: the account's balance, and how PixelDojo answers."""

from typing import Final

from deploy.grafana.build import promql
from deploy.grafana.build.panel import Board, Kind, Panel, Query, Row, Unit, worse_above, worse_below

_CALLS: Final = "torii_upstream_request_duration_seconds"

_BALANCE: Final = Row(
    "The account",
    (
        Panel(
            title="Credits left",
            answers="What is left of the prepaid balance, as PixelDojo's last answer said?",
            queries=(Query("torii_upstream_credits_remaining", "credits"),),
            unit=Unit.CREDITS,
            steps=worse_below(100, 20),
            pages=("credits-run-low",),
        ),
        Panel(
            title="Days the credits last",
            answers="At the pace of the last week, else of the last day. Nothing spent, nothing shown.",
            queries=(Query("torii:runway:days"),),
            kind=Kind.STAT,
            unit=Unit.DAYS,
            steps=worse_below(7, 3),
            pages=("credits-run-low",),
            width=6,
            decimals=1,
        ),
        Panel(
            title="Drift",
            answers="PixelDojo's balance less what our ledger expects: below 0, somebody else spends from the account.",
            queries=(Query("torii_upstream_drift_credits", "credits"),),
            kind=Kind.STAT,
            unit=Unit.CREDITS,
            pages=("the-balance-drifts",),
            width=6,
        ),
        Panel(
            title="What holds submitting back",
            answers="Does submitting rest: lost answers, no credits, a refused key, or another account's?",
            queries=(Query("max by (breaker) (torii_breaker_open)", "{{breaker}}"),),
            unit=Unit.SWITCH,
            pages=("the-upstream-does-not-answer", "submitting-is-paused", "the-wrong-account"),
        ),
    ),
)

_PACE: Final = Row(
    "How it answers",
    (
        Panel(
            title="Share of calls answered with 429",
            answers="Do we ask more often than PixelDojo allows?",
            queries=(Query("torii:upstream_rate_limited:ratio_rate15m", "429"),),
            unit=Unit.SHARE,
            steps=worse_above(0.02, 0.1),
            pages=("the-upstream-slows-us-down",),
        ),
        Panel(
            title="Calls a picture",
            answers="How many submits and polls does a completed job cost? Two to three are the aim.",
            queries=(Query("torii:upstream_calls_per_picture:1h"),),
            kind=Kind.STAT,
            steps=worse_above(3.5, 5),
            width=6,
            decimals=1,
        ),
        Panel(
            title="Jobs in flight",
            answers="How many jobs occupy a slot? TORII_UPSTREAM_CONCURRENCY is the most.",
            queries=(Query("torii_upstream_jobs_in_flight"),),
            kind=Kind.STAT,
            width=6,
        ),
        Panel(
            title="Calls by status",
            answers="What does PixelDojo answer, and how often not at all (timeout, connect, cut)?",
            queries=(Query(promql.rate(f"{_CALLS}_count", "operation, status"), "{{operation}} {{status}}"),),
            unit=Unit.RATE,
            pages=("the-upstream-does-not-answer",),
        ),
        Panel(
            title="Time of a call",
            answers="How long does PixelDojo take to answer, nineteen times of twenty?",
            queries=(Query(promql.quantile(0.95, _CALLS, "operation"), "{{operation}}"),),
            unit=Unit.SECONDS,
        ),
        Panel(
            title="Lag",
            answers="How long after PixelDojo finished a job do we know of it, by model?",
            queries=(
                Query(promql.quantile(0.5, "torii_upstream_lag_seconds", "model"), "{{model}} half"),
                Query(promql.quantile(0.95, "torii_upstream_lag_seconds", "model"), "{{model}} 95 %"),
            ),
            unit=Unit.SECONDS,
            steps=worse_above(6, 20),
        ),
    ),
)

BOARD: Final = Board(
    uid="torii-upstream",
    title="Torii: upstream",
    answers="How long do the credits last, and how does PixelDojo answer?",
    rows=(_BALANCE, _PACE),
)
