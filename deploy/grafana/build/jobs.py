"""Jobs: what waits, what is at work, what is in doubt, and how long each stage takes."""

from typing import Final

from deploy.grafana.build import promql
from deploy.grafana.build.panel import Board, Kind, Panel, Query, Row, Unit, worse_above

_LINE: Final = Row(
    "The line",
    (
        Panel(
            title="Jobs by state",
            answers="Where are the jobs that have not ended?",
            queries=(Query("sum by (state) (torii_jobs_in_state)", "{{state}}"),),
            stacked=True,
        ),
        Panel(
            title="Submissions in doubt",
            answers="Of how many jobs does nobody know whether PixelDojo took them? Each holds credits.",
            queries=(Query("torii_submission_unknown_jobs"),),
            kind=Kind.STAT,
            steps=worse_above(1, 10),
            pages=("jobs-whose-submission-is-unknown",),
            width=4,
        ),
        Panel(
            title="Longest wait by team",
            answers="How old is each team's oldest job that was not sent yet? Fair turns keep these close together.",
            queries=(Query('max by (team) (torii_oldest_queued_seconds{team=~"$team"})', "{{team}}"),),
            unit=Unit.SECONDS,
            steps=worse_above(600, 1800),
            pages=("jobs-wait-too-long",),
            width=8,
        ),
        Panel(
            title="Jobs that ended, by outcome",
            answers="How many brought pictures, and why did the others not?",
            queries=(Query(promql.since("torii_jobs_total", "outcome", "$__interval", promql.CHOSEN), "{{outcome}}"),),
            stacked=True,
            pages=("jobs-fail",),
        ),
        Panel(
            title="Time of a job",
            answers="How long from an order to its picture, by model?",
            queries=(
                Query(
                    promql.quantile(0.5, "torii_job_duration_seconds", "model", '{model=~"$model"}'), "{{model}} half"
                ),
                Query(
                    promql.quantile(0.95, "torii_job_duration_seconds", "model", '{model=~"$model"}'), "{{model}} 95 %"
                ),
            ),
            unit=Unit.SECONDS,
            steps=worse_above(90, 180),
            pages=("jobs-wait-too-long",),
        ),
    ),
)

_INSIDE: Final = Row(
    "Inside",
    (
        Panel(
            title="Age of the sweeps",
            answers="Does every sweep run? They find what was not nudged and whose worker died, each second.",
            queries=(Query("time() - max by (sweep) (torii_sweep_last_success_timestamp_seconds)", "{{sweep}}"),),
            unit=Unit.SECONDS,
            steps=worse_above(30, 120),
            pages=("no-worker",),
        ),
        Panel(
            title="Time of each stage",
            answers="Where do slow jobs spend their time? Nineteen of twenty are quicker.",
            queries=(Query(promql.quantile(0.95, "torii_job_stage_duration_seconds", "stage"), "{{stage}}"),),
            unit=Unit.SECONDS,
        ),
    ),
)

BOARD: Final = Board(
    uid="torii-jobs",
    title="Torii: jobs and queue",
    answers="What waits, what is at work, what is in doubt, and how long does each stage take?",
    rows=(_LINE, _INSIDE),
    variables=("team", "model"),
)
