"""Archive: whether pictures are kept in time, and how they are handed out."""

from typing import Final

from deploy.grafana.build import promql
from deploy.grafana.build.panel import Board, Kind, Panel, Query, Row, Unit, worse_above, worse_below

_MARGIN: Final = "torii_archive_expiry_margin_seconds"
_IMAGES: Final = '{route=~"/images/.*"}'

_KEPT: Final = Row(
    "Keeping",
    (
        Panel(
            title="Finished jobs that wait for the archive",
            answers="Does the archive keep up? Nearest to its expiry goes first.",
            queries=(Query('sum(torii_jobs_in_state{state="archiving"})', "archiving"),),
            steps=worse_above(20, 100),
            pages=("the-archive-is-away",),
        ),
        Panel(
            title="Pictures lost",
            answers="How many paid pictures were gone before they were archived, ever? Anything but 0 is an incident.",
            queries=(Query("torii_images_lost_total"),),
            kind=Kind.STAT,
            steps=worse_above(1, 1),
            pages=("a-picture-is-lost",),
            width=6,
        ),
        Panel(
            title="Time that was left",
            answers="How long would PixelDojo's copy still have lived when it was archived, the latest of twenty?",
            queries=(Query(promql.quantile(0.05, _MARGIN), "5 %"),),
            kind=Kind.STAT,
            unit=Unit.SECONDS,
            steps=worse_below(1800, 900),
            pages=("pictures-are-archived-late",),
            width=6,
        ),
        Panel(
            title="Pictures archived",
            answers="How many pictures were taken over, by model?",
            queries=(Query(promql.rate(f"{_MARGIN}_count", "model"), "{{model}}"),),
            unit=Unit.RATE,
        ),
        Panel(
            title="Time to archive",
            answers="How long does it take from a finished job to a kept picture?",
            queries=(
                Query(promql.quantile(0.5, "torii_job_stage_duration_seconds", chosen='{stage="archive"}'), "half"),
                Query(promql.quantile(0.95, "torii_job_stage_duration_seconds", chosen='{stage="archive"}'), "95 %"),
            ),
            unit=Unit.SECONDS,
        ),
    ),
)

_HANDED_OUT: Final = Row(
    "Handing out",
    (
        Panel(
            title="Pictures read",
            answers="How often are pictures fetched by their links, and with what answer? 403 is an expired link.",
            queries=(Query(promql.rate("torii_http_request_duration_seconds_count", "status", _IMAGES), "{{status}}"),),
            unit=Unit.RATE,
            pages=("the-archive-is-away",),
        ),
        Panel(
            title="Time to read a picture",
            answers="How long does a reader wait for a picture?",
            queries=(Query(promql.quantile(0.95, "torii_http_request_duration_seconds", chosen=_IMAGES), "95 %"),),
            unit=Unit.SECONDS,
        ),
    ),
)

_WEBHOOKS: Final = Row(
    "Webhooks",
    (
        Panel(
            title="Tries by outcome",
            answers="Do receivers take what we send, and if not, why?",
            queries=(Query(promql.rate("torii_webhook_deliveries_total", "outcome"), "{{outcome}}"),),
            unit=Unit.RATE,
            pages=("webhooks-that-nobody-took",),
        ),
        Panel(
            title="Messages given up",
            answers="How many messages ended as dead in this period, after a day of tries or a 410?",
            queries=(Query('sum(increase(torii_webhook_deliveries_total{outcome="dead"}[$__range]))'),),
            kind=Kind.STAT,
            steps=worse_above(1, 10),
            pages=("webhooks-that-nobody-took",),
            width=6,
        ),
        Panel(
            title="Time to announce",
            answers="How long from a job's end to its first webhook try?",
            queries=(
                Query(promql.quantile(0.95, "torii_job_stage_duration_seconds", chosen='{stage="announce"}'), "95 %"),
            ),
            kind=Kind.STAT,
            unit=Unit.SECONDS,
            steps=worse_above(5, 60),
            width=6,
        ),
    ),
)

_ERASING: Final = Row(
    "Erasing",
    (
        Panel(
            title="Objects still to be deleted",
            answers="Is what was erased gone from the archive too? Above 0 for a moment after each erasure.",
            queries=(Query("torii_erasures_pending"),),
            steps=worse_above(1000, 10_000),
            pages=("erase-what-must-be-gone",),
        ),
        Panel(
            title="Pictures erased",
            answers="How many pictures were deleted, because somebody asked for it or their time was over?",
            queries=(Query(promql.rate("torii_images_erased_total", "cause"), "{{cause}}"),),
            unit=Unit.RATE,
            pages=("erase-what-must-be-gone",),
        ),
    ),
)

BOARD: Final = Board(
    uid="torii-archive",
    title="Torii: archive and webhooks",
    answers="Are pictures kept in time, and do those who ordered them hear of it?",
    rows=(_KEPT, _HANDED_OUT, _WEBHOOKS, _ERASING),
)
