"""Teams: who spends what, what is left of each budget, and when it runs out."""

from typing import Final

from deploy.grafana.build import promql
from deploy.grafana.build.panel import Board, Kind, Panel, Query, Row, Unit, worse_above, worse_below

_TEAM: Final = '{team=~"$team"}'
_LIMIT: Final = f"max by (team, window) (torii_budget_limit_credits{_TEAM})"
_USED: Final = f"max by (team, window) (torii_budget_used_credits{_TEAM})"
_HELD: Final = 'max by (team) (torii_credits_held{team=~"$team",window="total"})'
#: A team's spending of a day in credits an hour; a team that spent nothing has no pace.
_PACE: Final = f"({promql.spent('team', '1d', _TEAM)}) / 24 > 0"

_SPENDING: Final = Row(
    "Spending",
    (
        Panel(
            title="Credits spent in this period",
            answers="Who spent how much in the period chosen above, refunds taken off? Equal to the ledger.",
            queries=(Query(promql.spent("team", "$__range", promql.CHOSEN), "{{team}}"),),
            kind=Kind.GAUGE,
            unit=Unit.CREDITS,
        ),
        Panel(
            title="Credits over time",
            answers="When did which team spend?",
            queries=(Query(promql.spent("team", "$__interval", promql.CHOSEN), "{{team}}"),),
            unit=Unit.CREDITS,
            stacked=True,
        ),
        Panel(
            title="Credits by team and model",
            answers="For which models, what came back, and what is held for jobs that are not settled?",
            queries=(
                Query(promql.spent("team, model", "$__range", promql.CHOSEN), "Spent"),
                Query(
                    promql.since("torii_credits_refunded_total", "team, model", "$__range", promql.CHOSEN),
                    "Refunded",
                ),
            ),
            kind=Kind.TABLE,
        ),
    ),
)

_BUDGETS: Final = Row(
    "Budgets",
    (
        Panel(
            title="Share of the budget that is used",
            answers="How near to its hard limit is each budget, with what is held? Keys' own budgets are not shown.",
            queries=(Query(f"{_USED} / ({_LIMIT} > 0)", "{{team}} {{window}}"),),
            kind=Kind.GAUGE,
            unit=Unit.SHARE,
            steps=worse_above(0.8, 1),
            pages=("a-budget-is-used-up",),
        ),
        Panel(
            title="Credits left of the budget",
            answers="What may each team still order in the present day, month, or ever?",
            queries=(Query(f"{_LIMIT} - {_USED}", "{{team}} {{window}}"),),
            unit=Unit.CREDITS,
            pages=("a-budget-is-used-up",),
        ),
        Panel(
            title="Hours until the budget is used up",
            answers="At the pace of the last 24 h, how long does what is left last? The window may end before.",
            queries=(Query(f"({_LIMIT} - {_USED}) / on (team) group_left () ({_PACE})", "{{team}} {{window}}"),),
            kind=Kind.GAUGE,
            unit=Unit.HOURS,
            steps=worse_below(24, 4),
            pages=("a-budget-is-used-up",),
            decimals=1,
        ),
        Panel(
            title="Credits held",
            answers="What is set aside for jobs whose cost is not known yet?",
            queries=(Query(_HELD, "{{team}}"),),
            unit=Unit.CREDITS,
            pages=("jobs-whose-submission-is-unknown",),
        ),
    ),
)

_ORDERS: Final = Row(
    "Orders",
    (
        Panel(
            title="Jobs that ended, by outcome",
            answers="How many of each team's jobs brought pictures in this period, and why did the others not?",
            queries=(Query(promql.since("torii_jobs_total", "team, outcome", "$__range", promql.CHOSEN), "Jobs"),),
            kind=Kind.TABLE,
            pages=("jobs-fail",),
        ),
        Panel(
            title="Longest wait",
            answers="How old is each team's oldest job that was not sent yet?",
            queries=(Query(f"max by (team) (torii_oldest_queued_seconds{_TEAM})", "{{team}}"),),
            unit=Unit.SECONDS,
            steps=worse_above(600, 1800),
            pages=("jobs-wait-too-long",),
        ),
        Panel(
            title="Refusals for their number",
            answers="Which limits do a team's requests run into?",
            queries=(Query(promql.rate("torii_rate_limited_total", "team, limit", _TEAM), "{{team}} {{limit}}"),),
            unit=Unit.RATE,
        ),
    ),
)

_REUSE: Final = Row(
    "Not paid twice",
    (
        Panel(
            title="Credits saved in this period",
            answers="What would answers from the cache and shared generations have cost in the period chosen above?",
            queries=(Query(promql.since("torii_credits_saved_total", "team", "$__range", promql.CHOSEN), "{{team}}"),),
            kind=Kind.GAUGE,
            unit=Unit.CREDITS,
            pages=("purge-the-cache",),
        ),
        Panel(
            title="Share of orders that cost nothing",
            answers="Which part of each team's orders is answered from the cache or shares a generation under way?",
            queries=(Query(promql.share("torii_cache_requests_total", promql.REUSED, "team", _TEAM), "{{team}}"),),
            unit=Unit.SHARE,
            pages=("purge-the-cache",),
        ),
        Panel(
            title="Orders by what the cache made of them",
            answers="How many are hits, misses, share a generation (collapsed), or have to be new (bypass)?",
            queries=(Query(promql.rate("torii_cache_requests_total", "team, result", _TEAM), "{{team}} {{result}}"),),
            unit=Unit.RATE,
            pages=("purge-the-cache",),
        ),
    ),
)

BOARD: Final = Board(
    uid="torii-teams",
    title="Torii: teams",
    answers="Who spends what, what is left of each budget, and when does it run out?",
    rows=(_SPENDING, _BUDGETS, _ORDERS, _REUSE),
    variables=("team", "model"),
)
