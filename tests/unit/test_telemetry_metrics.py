"""The metrics as Prometheus will read them."""

import dataclasses
from collections.abc import Iterable
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry import books, labels, metrics
from gateway.telemetry.labels import Fault
from gateway.telemetry.metrics import Kind, Place


def described(families: Iterable[Metric]) -> dict[str, tuple[str, str]]:
    """Type and help of each family, by the name Prometheus knows it under."""
    return {
        family.name + ("_total" if family.type == "counter" else ""): (family.type, family.documentation)
        for family in families
    }


def test_names_and_labels_are_pinned() -> None:
    """Dashboards and alerts are written against these names, types and labels."""
    assert {spec.name: (spec.kind.value, spec.labels) for spec in metrics.SPECS} == {
        "torii_http_request_duration_seconds": ("histogram", ("route", "method", "status")),
        "torii_job_duration_seconds": ("histogram", ("model",)),
        "torii_job_stage_duration_seconds": ("histogram", ("stage",)),
        "torii_upstream_request_duration_seconds": ("histogram", ("operation", "status")),
        "torii_upstream_lag_seconds": ("histogram", ("model",)),
        "torii_archive_expiry_margin_seconds": ("histogram", ("model",)),
        "torii_sweep_last_success_timestamp_seconds": ("gauge", ("sweep",)),
        "torii_breaker_open": ("gauge", ("breaker",)),
        "torii_rate_limited_total": ("counter", ("team", "limit")),
        "torii_cache_requests_total": ("counter", ("team", "result")),
        "torii_webhook_deliveries_total": ("counter", ("outcome",)),
        "torii_images_erased_total": ("counter", ("cause",)),
        "torii_spans_dropped_total": ("counter", ("reason",)),
        "torii_build_info": ("gauge", ("version",)),
        "torii_jobs_total": ("counter", ("team", "model", "outcome")),
        "torii_credits_spent_total": ("counter", ("team", "model")),
        "torii_credits_refunded_total": ("counter", ("team", "model")),
        "torii_credits_saved_total": ("counter", ("team", "model")),
        "torii_credits_held": ("gauge", ("team", "window")),
        "torii_budget_limit_credits": ("gauge", ("team", "window")),
        "torii_budget_used_credits": ("gauge", ("team", "window")),
        "torii_upstream_drift_credits": ("gauge", ()),
        "torii_jobs_in_state": ("gauge", ("state",)),
        "torii_oldest_queued_seconds": ("gauge", ("team",)),
        "torii_upstream_jobs_in_flight": ("gauge", ()),
        "torii_submission_unknown_jobs": ("gauge", ()),
        "torii_upstream_credits_remaining": ("gauge", ()),
        "torii_archive_nearest_expiry_seconds": ("gauge", ()),
        "torii_images_lost_total": ("counter", ()),
        "torii_erasures_pending": ("gauge", ()),
    }


def test_specs_are_well_formed() -> None:
    """Each metric has a help of one sentence; histograms alone have ascending buckets; team labels none of them."""
    for spec in metrics.SPECS:
        assert spec.help.endswith(".")
        assert list(spec.buckets) == sorted(set(spec.buckets))
        assert bool(spec.buckets) is (spec.kind is Kind.HISTOGRAM)
        assert spec.kind is not Kind.HISTOGRAM or "team" not in spec.labels


def test_a_process_serves_what_is_declared() -> None:
    """Everything declared for a process is in its registry, with type and help as declared, and nothing else."""
    registry = CollectorRegistry()
    declared = metrics.declare(registry, "1.2.3")
    counted = {spec.name: (spec.kind.value, spec.help) for spec in metrics.SPECS if spec.place is not Place.BOOKS}
    assert described(registry.collect()) == counted
    assert len(dataclasses.fields(declared)) == len(counted)
    assert 'torii_build_info{version="1.2.3"} 1.0' in generate_latest(registry).decode()
    with pytest.raises(ValueError, match="Duplicated"):
        metrics.declare(registry, "1.2.3")


def test_labels_are_taken_by_name() -> None:
    """Each object takes the labels of its metric, and a measurement lands in its bucket."""
    registry = CollectorRegistry()
    declared = metrics.declare(registry, "1")
    declared.http_request_duration.labels(route="/x", method="GET", status="200").observe(0.0007)
    declared.job_stage_duration.labels(stage=labels.Stage.QUEUE).observe(1)
    operation, status = labels.Operation.POLL, labels.status(Fault.TIMEOUT)
    declared.upstream_request_duration.labels(operation=operation, status=status).observe(20)
    text = generate_latest(registry).decode()
    for line in (
        'torii_http_request_duration_seconds_bucket{le="0.0005",method="GET",route="/x",status="200"} 0.0',
        'torii_http_request_duration_seconds_bucket{le="0.001",method="GET",route="/x",status="200"} 1.0',
        'torii_job_stage_duration_seconds_count{stage="queue"} 1.0',
        'torii_upstream_request_duration_seconds_bucket{le="20.0",operation="poll",status="timeout"} 1.0',
    ):
        assert line in text


@given(st.integers() | st.sampled_from(Fault))
def test_status_labels_are_a_closed_set(status: int | Fault) -> None:
    """Whatever an upstream answers, at most 504 statuses can become series."""
    allowed = {str(number) for number in range(100, 600)} | set(Fault)
    assert labels.status(status) in allowed


@given(st.text())
def test_method_labels_are_a_closed_set(method: str) -> None:
    """A made-up method is ``other``."""
    assert labels.method(method) == "other" or method.isupper()
    assert labels.method("GET") == "GET"


def test_waits_are_apart() -> None:
    """A request that was asked to wait would hide the others' times, so it has a route of its own."""
    assert labels.route("/api/v1/jobs/{job_id}", waited=False) == "/api/v1/jobs/{job_id}"
    assert labels.route("/api/v1/jobs/{job_id}", waited=True) == "/api/v1/jobs/{job_id} wait"
    assert labels.status(HTTPStatus.OK) == "200"


FULL = books.Books(
    jobs_in_state={"queued": 3, "running": 0},
    oldest_queued_s={"team_1": 1.5},
    upstream_jobs_in_flight=2,
    submission_unknown_jobs=1,
    upstream_credits_remaining_micros=99_100_000,
    credits_held_micros={("team_1", "month"): 2_000_000},
    credits_spent_micros={("team_1", "flux-2-max"): 250_000, ("team_2", 'a"b\n'): 1},
    credits_saved_micros={("team_1", "flux-2-max"): 6_500_000},
    nearest_expiry_s=-2.5,
    images_lost=0,
    jobs={("team_1", "flux-2-max", "completed"): 7},
)


def test_books_as_text() -> None:
    """The books come out as text that Prometheus parses, with credits as plain numbers and labels escaped."""
    families = list(text_string_to_metric_families(books.text(FULL).decode()))
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }
    assert samples == {
        ("torii_jobs_in_state", (("state", "queued"),)): 3,
        ("torii_jobs_in_state", (("state", "running"),)): 0,
        ("torii_oldest_queued_seconds", (("team", "team_1"),)): 1.5,
        ("torii_upstream_jobs_in_flight", ()): 2,
        ("torii_submission_unknown_jobs", ()): 1,
        ("torii_upstream_credits_remaining", ()): 99.1,
        ("torii_credits_held", (("team", "team_1"), ("window", "month"))): 2,
        ("torii_credits_spent_total", (("model", "flux-2-max"), ("team", "team_1"))): 0.25,
        ("torii_credits_spent_total", (("model", 'a"b\n'), ("team", "team_2"))): 0.000001,
        ("torii_credits_saved_total", (("model", "flux-2-max"), ("team", "team_1"))): 6.5,
        ("torii_upstream_drift_credits", ()): 0,
        ("torii_archive_nearest_expiry_seconds", ()): -2.5,
        ("torii_images_lost_total", ()): 0,
        ("torii_erasures_pending", ()): 0,
        ("torii_jobs_total", (("model", "flux-2-max"), ("outcome", "completed"), ("team", "team_1"))): 7,
    }


@pytest.mark.parametrize("snapshot", [FULL, books.Books()])
def test_books_serve_what_is_declared(snapshot: books.Books) -> None:
    """Every metric of the books is there in declared order, with type and help, also when nothing happened."""
    declared = {spec.name: (spec.kind.value, spec.help) for spec in metrics.SPECS if spec.place is Place.BOOKS}
    assert list(described(books.render(snapshot)).items()) == list(declared.items())


def test_nothing_to_expire_is_absent() -> None:
    """While every picture is archived there is no time left to show, and no zero that would raise an alarm."""
    assert "\ntorii_archive_nearest_expiry_seconds " not in books.text(books.Books()).decode()


def test_an_unseen_balance_is_absent() -> None:
    """Until the upstream told its balance there is no sample, rather than a zero that would raise an alarm."""
    assert "\ntorii_upstream_credits_remaining " not in books.text(books.Books()).decode()


@given(st.integers(0, 10**15))
def test_credits_are_exact_to_the_nearest_number(micros: int) -> None:
    """Micro-credits become the nearest number, so that reading six decimals back is exact below 10^9 credits."""
    snapshot = books.Books(upstream_credits_remaining_micros=micros)
    value = next(family.samples[0].value for family in books.render(snapshot) if "remaining" in family.name)
    assert round(value * 1_000_000) == micros
