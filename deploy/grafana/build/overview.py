"""Overview: is it well, and what does it cost today."""

from typing import Final

from deploy.grafana.build import promql
from deploy.grafana.build.panel import Board, Kind, Panel, Query, Row, Unit, worse_above, worse_below

_QUICK: Final = '{route!~".* wait|.*/events|/images/.*"}'

_WELL: Final = Row(
    "Is it well?",
    (
        Panel(
            title="Alerts that fire",
            answers="Does anything want somebody's attention? Info alone does not.",
            queries=(Query('count(ALERTS{alertname=~"Torii.*",alertstate="firing",severity!="info"}) or vector(0)'),),
            kind=Kind.STAT,
            steps=worse_above(1, 3),
            pages=("which-page",),
            width=6,
            height=5,
        ),
        Panel(
            title="Processes that answer",
            answers="How many services and workers are read by Prometheus, and are the books?",
            queries=(Query('sum by (job) (up{job=~"torii-.*"})', "{{job}}"),),
            kind=Kind.STAT,
            steps=worse_below(1, 1),
            pages=("a-process-is-gone", "no-worker", "the-books-are-not-read"),
            width=6,
            height=5,
        ),
        Panel(
            title="Versions that run",
            answers="How many processes run which version? Two for long is a deploy that was forgotten.",
            queries=(Query("count by (version) (torii_build_info)", "{{version}}"),),
            kind=Kind.STAT,
            pages=("two-versions-run",),
            now=True,
            width=6,
            height=5,
        ),
        Panel(
            title="Jobs that have not ended",
            answers="How much work is there?",
            queries=(Query("sum(torii_jobs_in_state)"),),
            kind=Kind.STAT,
            pages=("jobs-wait-too-long",),
            width=6,
            height=5,
        ),
    ),
)

_COST: Final = Row(
    "What does it cost today?",
    (
        Panel(
            title="Credits spent today",
            answers="What did today, in UTC, cost so far, refunds taken off? Equal to what the ledger booked.",
            queries=(Query(promql.spent("", "$__range")),),
            kind=Kind.STAT,
            unit=Unit.CREDITS,
            since="now/d",
            now=True,
            width=8,
            height=5,
        ),
        Panel(
            title="Jobs completed today",
            answers="How many jobs brought pictures today, in UTC?",
            queries=(Query(promql.since("torii_jobs_total", "", "$__range", '{outcome="completed"}')),),
            kind=Kind.STAT,
            since="now/d",
            now=True,
            width=8,
            height=5,
        ),
        Panel(
            title="Credits left at PixelDojo",
            answers="What is left of the prepaid balance, as its last answer said?",
            queries=(Query("torii_upstream_credits_remaining"),),
            kind=Kind.STAT,
            unit=Unit.CREDITS,
            steps=worse_below(100, 20),
            pages=("credits-run-low",),
            width=8,
            height=5,
        ),
    ),
)

_ANSWERS: Final = Row(
    "How does it answer?",
    (
        Panel(
            title="Answers by status",
            answers="How many requests come, and how many are refused (4xx) or fail (5xx)? Waits and streams left out.",
            queries=(
                Query(
                    "sum by (class) (label_replace("
                    f"rate(torii_http_request_duration_seconds_count{_QUICK}[$__rate_interval])"
                    ', "class", "${1}xx", "status", "(.).."))',
                    "{{class}}",
                ),
            ),
            unit=Unit.RATE,
            pages=("the-gateway-answers-with-errors",),
        ),
        Panel(
            title="Time of an answer",
            answers="How long do requests take that were not asked to wait?",
            queries=(
                Query(promql.quantile(0.5, "torii_http_request_duration_seconds", chosen=_QUICK), "half"),
                Query(promql.quantile(0.99, "torii_http_request_duration_seconds", chosen=_QUICK), "99 %"),
            ),
            unit=Unit.SECONDS,
            steps=worse_above(0.5, 1),
            pages=("the-gateway-is-slow",),
        ),
        Panel(
            title="Time of a job",
            answers="How long from an order to its picture? About 44 s of it are PixelDojo's.",
            queries=(
                Query(promql.quantile(0.5, "torii_job_duration_seconds"), "half"),
                Query(promql.quantile(0.95, "torii_job_duration_seconds"), "95 %"),
            ),
            unit=Unit.SECONDS,
            steps=worse_above(90, 180),
            pages=("jobs-wait-too-long",),
        ),
        Panel(
            title="Credits by team over time",
            answers="When was how much spent, and by whom? The bars add up to what the period cost.",
            queries=(Query(promql.spent("team", "$__interval"), "{{team}}"),),
            unit=Unit.CREDITS,
            stacked=True,
        ),
    ),
)

_REUSE: Final = Row(
    "What is not paid twice?",
    (
        Panel(
            title="Credits saved today",
            answers="What would answers from the cache and shared generations have cost today, in UTC?",
            queries=(Query(promql.since("torii_credits_saved_total", "", "$__range")),),
            kind=Kind.STAT,
            unit=Unit.CREDITS,
            since="now/d",
            now=True,
            width=8,
            height=5,
            pages=("purge-the-cache",),
        ),
        Panel(
            title="Share of orders that cost nothing",
            answers="Which part of all orders is answered from the cache or shares a generation under way?",
            queries=(Query(promql.share("torii_cache_requests_total", promql.REUSED)),),
            unit=Unit.SHARE,
            width=16,
            height=5,
            pages=("purge-the-cache",),
        ),
    ),
)

BOARD: Final = Board(
    uid="torii-overview",
    title="Torii: overview",
    answers="Is it well, and what does it cost today?",
    rows=(_WELL, _COST, _ANSWERS, _REUSE),
)
