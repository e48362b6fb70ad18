"""The metrics of the books as Prometheus reads them: a pure function of a snapshot. Never asks SQL, never counts.

Money becomes a floating-point number here and nowhere before, since the exposition format has no other.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from gateway import money
from gateway.telemetry import metrics

#: What `text` is, for the ``Content-Type`` header.
CONTENT_TYPE = exposition.CONTENT_TYPE_LATEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What SQL said at one scrape. Keys are labels in the order of the metric's; counts are whole, times seconds."""

    jobs_in_state: Mapping[str, int] = field(default_factory=dict)
    oldest_queued_s: Mapping[str, float] = field(default_factory=dict)
    upstream_jobs_in_flight: int = 0
    submission_unknown_jobs: int = 0
    #: ``None`` until the upstream has told its balance once.
    upstream_credits_remaining_micros: int | None = None
    #: By team and window.
    credits_held_micros: Mapping[tuple[str, str], int] = field(default_factory=dict)
    #: By team and model.
    credits_spent_micros: Mapping[tuple[str, str], int] = field(default_factory=dict)
    upstream_drift_micros: int = 0
    #: By team and model.
    credits_refunded_micros: Mapping[tuple[str, str], int] = field(default_factory=dict)
    #: By team and model.
    credits_saved_micros: Mapping[tuple[str, str], int] = field(default_factory=dict)
    #: By team and window, of teams that have a budget.
    budget_limit_micros: Mapping[tuple[str, str], int] = field(default_factory=dict)
    budget_used_micros: Mapping[tuple[str, str], int] = field(default_factory=dict)
    #: Of the upstream's copies of pictures that are not archived yet; ``None`` while none waits.
    nearest_expiry_s: float | None = None
    images_lost: int = 0
    erasures_pending: int = 0
    #: By team, model and outcome.
    jobs: Mapping[tuple[str, str, str], int] = field(default_factory=dict)


def render(snapshot: Books) -> Iterable[Metric]:
    """One family for each metric of the books, in the order of ``metrics.SPECS``, with or without samples."""
    balance = snapshot.upstream_credits_remaining_micros
    nearest_s = snapshot.nearest_expiry_s
    samples: dict[metrics.Spec, Iterable[tuple[tuple[str, ...], float]]] = {
        metrics.JOBS: snapshot.jobs.items(),
        metrics.CREDITS_SPENT: _credits(snapshot.credits_spent_micros),
        metrics.CREDITS_REFUNDED: _credits(snapshot.credits_refunded_micros),
        metrics.CREDITS_SAVED: _credits(snapshot.credits_saved_micros),
        metrics.CREDITS_HELD: _credits(snapshot.credits_held_micros),
        metrics.BUDGET_LIMIT: _credits(snapshot.budget_limit_micros),
        metrics.BUDGET_USED: _credits(snapshot.budget_used_micros),
        metrics.JOBS_IN_STATE: (((state,), count) for state, count in snapshot.jobs_in_state.items()),
        metrics.OLDEST_QUEUED: (((team,), age_s) for team, age_s in snapshot.oldest_queued_s.items()),
        metrics.UPSTREAM_JOBS_IN_FLIGHT: [((), snapshot.upstream_jobs_in_flight)],
        metrics.SUBMISSION_UNKNOWN_JOBS: [((), snapshot.submission_unknown_jobs)],
        metrics.UPSTREAM_CREDITS_REMAINING: [] if balance is None else [((), balance / money.MICROS_PER_CREDIT)],
        metrics.UPSTREAM_DRIFT: [((), snapshot.upstream_drift_micros / money.MICROS_PER_CREDIT)],
        metrics.NEAREST_EXPIRY: [] if nearest_s is None else [((), nearest_s)],
        metrics.IMAGES_LOST: [((), snapshot.images_lost)],
        metrics.ERASURES_PENDING: [((), snapshot.erasures_pending)],
    }
    return [_family(spec, found) for spec, found in samples.items()]


def text(snapshot: Books) -> bytes:
    """The answer of ``GET /metrics/books``, in the text format that `CONTENT_TYPE` names."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(snapshot))
    return exposition.generate_latest(registry)


@dataclass(frozen=True, slots=True, eq=False)  # registries hash collectors, and a snapshot holds mappings
class _Snapshot:
    """A collector, in prometheus_client's sense, that always tells the same."""

    books: Books

    def collect(self) -> Iterable[Metric]:
        return render(self.books)


def _credits(micros: Mapping[tuple[str, str], int]) -> Iterator[tuple[tuple[str, ...], float]]:
    for labels, amount in micros.items():
        yield labels, amount / money.MICROS_PER_CREDIT


def _family(spec: metrics.Spec, samples: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    family: CounterMetricFamily | GaugeMetricFamily
    if spec.kind is metrics.Kind.COUNTER:
        family = CounterMetricFamily(spec.name, spec.help, labels=spec.labels)
    else:
        family = GaugeMetricFamily(spec.name, spec.help, labels=spec.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family
