"""Every metric of the house, declared in one place: name, type, labels, help, buckets. Counts nothing itself.

``SPECS`` is the whole list and can be read without a registry; `declare` makes the objects that a process counts with.
Those of the books are kept in SQL and rendered by `books`. Label values come from closed sets: no caller adds a series.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Kind(StrEnum):
    """The Prometheus type of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Place(StrEnum):
    """Where a metric is served."""

    SERVICE = "service"
    WORKER = "worker"
    BOTH = "both"
    BOOKS = "books"


@dataclass(frozen=True, slots=True)
class Spec:
    """One metric; ``buckets`` are the upper bounds of a histogram, in its unit."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    place: Place
    help: str
    buckets: tuple[float, ...] = ()


# From half a millisecond, since a cache hit takes about one, to the body's time limit.
_HTTP_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# Close together around the 44 s that an upstream job takes.
_JOB_S = (1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 40.0, 45.0, 50.0, 60.0, 90.0, 120.0, 300.0, 600.0, 900.0)
_STAGE_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 50.0, 60.0, 120.0, 300.0, 900.0)
_UPSTREAM_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
_LAG_S = (0.1, 0.25, 0.5, 1.0, 1.5, 2.5, 4.0, 6.0, 10.0, 20.0, 30.0, 60.0)
# Upstream copies live 1 to 24 hours; what matters is what was left of that, and most of all when it was nearly nothing.
_MARGIN_S = (0.0, 60.0, 300.0, 900.0, 1800.0, 3000.0, 3600.0, 7200.0, 21600.0, 43200.0, 86400.0)

HTTP_REQUEST_DURATION = Spec(
    "torii_http_request_duration_seconds",
    Kind.HISTOGRAM,
    ("route", "method", "status"),
    Place.SERVICE,
    "Time from a request's head to the end of its answer, by route template; waits and event streams apart.",
    _HTTP_S,
)
JOB_DURATION = Spec(
    "torii_job_duration_seconds",
    Kind.HISTOGRAM,
    ("model",),
    Place.WORKER,
    "Time from a job's acceptance to its completion.",
    _JOB_S,
)
JOB_STAGE_DURATION = Spec(
    "torii_job_stage_duration_seconds",
    Kind.HISTOGRAM,
    ("stage",),
    Place.WORKER,
    "Time a job spent in one stage: queue, submit, upstream, archive, announce.",
    _STAGE_S,
)
UPSTREAM_REQUEST_DURATION = Spec(
    "torii_upstream_request_duration_seconds",
    Kind.HISTOGRAM,
    ("operation", "status"),
    Place.WORKER,
    "Time of one upstream call; status is the HTTP status, or timeout, connect, cut, other.",
    _UPSTREAM_S,
)
UPSTREAM_LAG = Spec(
    "torii_upstream_lag_seconds",
    Kind.HISTOGRAM,
    ("model",),
    Place.WORKER,
    "Time from the upstream's finishing a job to our knowing of it.",
    _LAG_S,
)
ARCHIVE_EXPIRY_MARGIN = Spec(
    "torii_archive_expiry_margin_seconds",
    Kind.HISTOGRAM,
    ("model",),
    Place.WORKER,
    "Time the upstream's copy had left to live when its picture was archived.",
    _MARGIN_S,
)
SWEEP_LAST_SUCCESS = Spec(
    "torii_sweep_last_success_timestamp_seconds",
    Kind.GAUGE,
    ("sweep",),
    Place.BOTH,
    "Unix time at which a sweep last ran to its end.",
)
BREAKER_OPEN = Spec(
    "torii_breaker_open",
    Kind.GAUGE,
    ("breaker",),
    Place.BOTH,
    "1 while a breaker holds calls back, else 0.",
)
RATE_LIMITED = Spec(
    "torii_rate_limited_total",
    Kind.COUNTER,
    ("team", "limit"),
    Place.SERVICE,
    "Requests that were refused for their number, by limit; the team is empty where no key was recognised.",
)
CACHE_REQUESTS = Spec(
    "torii_cache_requests_total",
    Kind.COUNTER,
    ("team", "result"),
    Place.SERVICE,
    "Orders by what the cache made of them: hit, miss, collapsed (they share a generation under way), bypass.",
)
WEBHOOK_DELIVERIES = Spec(
    "torii_webhook_deliveries_total",
    Kind.COUNTER,
    ("outcome",),
    Place.WORKER,
    "Tries to deliver a webhook, by what came of them; dead counts the messages given up, beside their last try.",
)
IMAGES_ERASED = Spec(
    "torii_images_erased_total",
    Kind.COUNTER,
    ("cause",),
    Place.WORKER,
    "Pictures deleted from the archive, by cause: request, retention.",
)
SPANS_DROPPED = Spec(
    "torii_spans_dropped_total",
    Kind.COUNTER,
    ("reason",),
    Place.BOTH,
    "Spans of traces that the collector will never have, by reason: queue_full, export_failed.",
)
BUILD_INFO = Spec(
    "torii_build_info",
    Kind.GAUGE,
    ("version",),
    Place.BOTH,
    "1, labelled with the version that runs.",
)
JOBS = Spec(
    "torii_jobs_total",
    Kind.COUNTER,
    ("team", "model", "outcome"),
    Place.BOOKS,
    "Jobs that ended, by outcome: completed, cancelled, or the code of the failure.",
)
CREDITS_SPENT = Spec(
    "torii_credits_spent_total",
    Kind.COUNTER,
    ("team", "model"),
    Place.BOOKS,
    "Credits charged.",
)
CREDITS_REFUNDED = Spec(
    "torii_credits_refunded_total",
    Kind.COUNTER,
    ("team", "model"),
    Place.BOOKS,
    "Credits that came back after they were charged.",
)
BUDGET_LIMIT = Spec(
    "torii_budget_limit_credits",
    Kind.GAUGE,
    ("team", "window"),
    Place.BOOKS,
    "Hard limit of a team's budget for a window.",
)
BUDGET_USED = Spec(
    "torii_budget_used_credits",
    Kind.GAUGE,
    ("team", "window"),
    Place.BOOKS,
    "Credits spent and held in the present period of a team's budget.",
)
UPSTREAM_DRIFT = Spec(
    "torii_upstream_drift_credits",
    Kind.GAUGE,
    (),
    Place.BOOKS,
    "The upstream's balance less what the ledger expects; negative when somebody else spends from the account.",
)
CREDITS_SAVED = Spec(
    "torii_credits_saved_total",
    Kind.COUNTER,
    ("team", "model"),
    Place.BOOKS,
    "Credits that answers from the cache and shared generations would have cost.",
)
CREDITS_HELD = Spec(
    "torii_credits_held",
    Kind.GAUGE,
    ("team", "window"),
    Place.BOOKS,
    "Credits held for jobs whose cost is not settled, by budget window.",
)
JOBS_IN_STATE = Spec(
    "torii_jobs_in_state",
    Kind.GAUGE,
    ("state",),
    Place.BOOKS,
    "Jobs in each state that is not final.",
)
OLDEST_QUEUED = Spec(
    "torii_oldest_queued_seconds",
    Kind.GAUGE,
    ("team",),
    Place.BOOKS,
    "Age of a team's oldest queued job.",
)
UPSTREAM_JOBS_IN_FLIGHT = Spec(
    "torii_upstream_jobs_in_flight",
    Kind.GAUGE,
    (),
    Place.BOOKS,
    "Jobs that occupy an upstream slot.",
)
SUBMISSION_UNKNOWN_JOBS = Spec(
    "torii_submission_unknown_jobs",
    Kind.GAUGE,
    (),
    Place.BOOKS,
    "Jobs of which nobody knows whether the upstream accepted them.",
)
UPSTREAM_CREDITS_REMAINING = Spec(
    "torii_upstream_credits_remaining",
    Kind.GAUGE,
    (),
    Place.BOOKS,
    "The upstream account's balance as last seen; absent until it was seen once.",
)
NEAREST_EXPIRY = Spec(
    "torii_archive_nearest_expiry_seconds",
    Kind.GAUGE,
    (),
    Place.BOOKS,
    "Time until the first upstream copy of a picture that is not archived yet expires; absent while none waits.",
)
IMAGES_LOST = Spec(
    "torii_images_lost_total",
    Kind.COUNTER,
    (),
    Place.BOOKS,
    "Paid pictures that could not be archived before the upstream's copy was gone.",
)
ERASURES_PENDING = Spec(
    "torii_erasures_pending",
    Kind.GAUGE,
    (),
    Place.BOOKS,
    "Objects that were erased and are still to be deleted from the archive.",
)

SPECS = (
    HTTP_REQUEST_DURATION,
    JOB_DURATION,
    JOB_STAGE_DURATION,
    UPSTREAM_REQUEST_DURATION,
    UPSTREAM_LAG,
    ARCHIVE_EXPIRY_MARGIN,
    SWEEP_LAST_SUCCESS,
    BREAKER_OPEN,
    RATE_LIMITED,
    CACHE_REQUESTS,
    WEBHOOK_DELIVERIES,
    IMAGES_ERASED,
    SPANS_DROPPED,
    BUILD_INFO,
    JOBS,
    CREDITS_SPENT,
    CREDITS_REFUNDED,
    CREDITS_SAVED,
    CREDITS_HELD,
    BUDGET_LIMIT,
    BUDGET_USED,
    JOBS_IN_STATE,
    OLDEST_QUEUED,
    UPSTREAM_JOBS_IN_FLIGHT,
    SUBMISSION_UNKNOWN_JOBS,
    UPSTREAM_CREDITS_REMAINING,
    UPSTREAM_DRIFT,
    NEAREST_EXPIRY,
    IMAGES_LOST,
    ERASURES_PENDING,
)


@dataclass(frozen=True, slots=True)
class Metrics:
    """The objects one process counts with; each field is its metric's name without ``torii_`` and the unit."""

    http_request_duration: Histogram
    job_duration: Histogram
    job_stage_duration: Histogram
    upstream_request_duration: Histogram
    upstream_lag: Histogram
    archive_expiry_margin: Histogram
    sweep_last_success: Gauge
    breaker_open: Gauge
    rate_limited: Counter
    cache_requests: Counter
    webhook_deliveries: Counter
    images_erased: Counter
    spans_dropped: Counter
    build_info: Gauge


def declare(registry: CollectorRegistry, version: str) -> Metrics:
    """The metrics of a process that runs ``version``; raises ``ValueError`` when ``registry`` has them already."""
    metrics = Metrics(
        http_request_duration=_histogram(HTTP_REQUEST_DURATION, registry),
        job_duration=_histogram(JOB_DURATION, registry),
        job_stage_duration=_histogram(JOB_STAGE_DURATION, registry),
        upstream_request_duration=_histogram(UPSTREAM_REQUEST_DURATION, registry),
        upstream_lag=_histogram(UPSTREAM_LAG, registry),
        archive_expiry_margin=_histogram(ARCHIVE_EXPIRY_MARGIN, registry),
        sweep_last_success=_gauge(SWEEP_LAST_SUCCESS, registry),
        breaker_open=_gauge(BREAKER_OPEN, registry),
        rate_limited=_counter(RATE_LIMITED, registry),
        cache_requests=_counter(CACHE_REQUESTS, registry),
        webhook_deliveries=_counter(WEBHOOK_DELIVERIES, registry),
        images_erased=_counter(IMAGES_ERASED, registry),
        spans_dropped=_counter(SPANS_DROPPED, registry),
        build_info=_gauge(BUILD_INFO, registry),
    )
    metrics.build_info.labels(version=version).set(1)
    return metrics


def _histogram(spec: Spec, registry: CollectorRegistry) -> Histogram:
    return Histogram(spec.name, spec.help, spec.labels, buckets=spec.buckets, registry=registry)


def _counter(spec: Spec, registry: CollectorRegistry) -> Counter:
    return Counter(spec.name, spec.help, spec.labels, registry=registry)


def _gauge(spec: Spec, registry: CollectorRegistry) -> Gauge:
    # Of several processes behind one port the largest value counts: the last success, a breaker that is open. A
    # breaker that died with its process is not open any more.
    mode: Literal["max", "livemax"] = "livemax" if spec is BREAKER_OPEN else "max"
    return Gauge(spec.name, spec.help, spec.labels, multiprocess_mode=mode, registry=registry)
