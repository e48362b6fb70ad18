"""The trace of one job, as a collector has it: each step under the request that ordered it, and no secret."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.jobs import evidence
from gateway.jobs.record import Job
from gateway.jobs.states import State
from gateway.storage import tables
from tests.integration.test_evidence import JUST_QUIET, lose
from tests.support import hooked, wait
from tests.support.collector import Collector, Seen
from tests.support.emulator import EmulatorProcess
from tests.support.hooked import Hooked
from tests.support.receiver import Receiver, answer

TRACE, CALLERS_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = [(b"traceparent", f"00-{TRACE}-{CALLERS_SPAN}-01".encode())]
PROMPT = "a wish that is nobody's business"
HOOK_TOKEN = "hook-token-in-the-path"


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    """Give a collector that takes everything."""
    async with Collector().listening() as opened:
        yield opened


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Give a receiver that answers 204."""
    async with Receiver().listening() as opened:
        yield opened


@pytest.fixture
async def hook(
    emulator: EmulatorProcess, database_url: str, redis_url: str, tmp_path: Path, collector: Collector
) -> AsyncIterator[Hooked]:
    """Give a gateway that tells the collector of its work."""
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20key-of-the-collector",
    }
    emulator.switch(time_scale=0.005)
    async with hooked.hooked(emulator, database_url, redis_url, tmp_path, **settings) as built:
        yield built


async def ordered(hook: Hooked, **body: object) -> Job:
    """An order, as a request in its caller's trace makes it."""
    with hook.rig.house.traces.request("POST", CALLER):
        return await hook.rig.order(prompt=PROMPT, **body)


def under(parent: Seen, spans: list[Seen]) -> list[str]:
    """The names of the spans right under that one, in order of time."""
    return [
        span.name
        for span in sorted(spans, key=lambda span: span.began_s)
        if span.parent_id == parent.span_id and span.trace_id == parent.trace_id
    ]


async def test_one_order_is_one_trace(hook: Hooked, collector: Collector, receiver: Receiver) -> None:
    """From request to webhook every span is in the caller's trace, a tree whose steps are right under the request."""
    job = await ordered(hook, webhook_url=receiver.url(f"/{HOOK_TOKEN}"), seed=7)
    job = await hook.rig.drive(job)
    assert job.state is State.COMPLETED
    await hook.deliver()
    assert len(receiver.messages) == 1
    await collector.sees("POST", "queue", "submit", "poll", "archive", "webhook")
    spans = collector.spans
    assert {span.trace_id for span in spans} == {TRACE}
    (request,) = (span for span in spans if span.kind == "SERVER")
    assert request.parent_id == CALLERS_SPAN
    polls = collector.named("poll")
    steps = ["queue", "submit", *["poll"] * len(polls), "archive", "webhook"]
    assert [name for name in under(request, spans) if not name.startswith("nudge")] == steps
    assert "nudge submit" in under(request, spans)
    (submit,), (archive,), (webhook,) = (collector.named(name) for name in ("submit", "archive", "webhook"))
    assert [name for name in under(submit, spans) if not name.startswith("nudge")] == ["POST submit"]
    assert all("GET poll" in under(poll, spans) for poll in polls)
    assert under(archive, spans)[:2] == ["GET download", "put picture"]
    assert under(webhook, spans) == ["POST"]
    assert submit.about["torii.answer"] == "accepted"
    assert polls[-1].about["torii.answer"] == "finished"
    assert (archive.about["torii.job.state"], webhook.about["torii.outcome"]) == ("completed", "delivered")
    for step in (submit, archive, webhook, *polls):
        assert (step.about["torii.job.id"], step.about["torii.team.id"]) == (job.id, job.team_id)
        assert step.about["torii.attempt"] == 1
    (post,) = collector.named("POST submit")
    assert post.about["http.response.status_code"] == 202
    assert not any(span.failed or span.events or span.links for span in spans)
    assert request.resource["service.name"] == "torii"


async def test_no_span_tells_a_secret(
    hook: Hooked, collector: Collector, receiver: Receiver, emulator: EmulatorProcess
) -> None:
    """Neither the prompt, nor a key, nor a URL's secret, nor an upstream's words are in anything that is sent."""
    receiver.say(answer(500))
    urls: list[str] = []
    for fault in ({}, {"kind": "status", "status": 422, "times": 1}, {"kind": "cut_after", "times": 1}):
        emulator.switch(submit_fault=fault or None)
        job = await ordered(hook, webhook_url=receiver.url(f"/{HOOK_TOKEN}?sig=signature-of-the-hook"))
        job = await hook.rig.drive(job, State.ARCHIVING, State.FAILED, State.SUBMISSION_UNKNOWN)
        urls += [result["url"] for result in job.results or ()]
        await hook.rig.drive(job, State.COMPLETED, State.FAILED, State.SUBMISSION_UNKNOWN)
        await hook.deliver()
    await collector.sees("webhook", "archive")
    await hook.rig.house.traces.close()
    sent = b"".join(collector.bodies)
    settings = hook.rig.house.settings
    assert urls
    planted = (PROMPT, HOOK_TOKEN, "signature-of-the-hook", "whsec_", hook.rig.key_text)
    for secret in (*planted, *urls, *settings.secrets()):
        assert secret.encode() not in sent, secret
    assert {headers["authorization"] for headers in collector.headers} == {"Bearer key-of-the-collector"}
    assert set(collector.paths) == {"/v1/traces"}


async def test_what_goes_wrong_is_marked(
    hook: Hooked, collector: Collector, receiver: Receiver, emulator: EmulatorProcess
) -> None:
    """A rejected order and a receiver that refuses show as failed spans, named by closed words."""
    emulator.switch(submit_fault={"kind": "status", "status": 422, "times": 1})
    receiver.say(answer(503))
    job = await hook.rig.drive(await ordered(hook, webhook_url=receiver.url()))
    assert job.state is State.FAILED
    await hook.deliver()
    await collector.sees("submit", "webhook")
    (submit,), (post,), (webhook,) = (collector.named(name) for name in ("submit", "POST submit", "webhook"))
    assert (submit.failed, submit.about["torii.answer"]) == (True, "rejected")
    assert submit.about["error.type"] == "upstream_rejected"
    assert (post.failed, post.about["http.response.status_code"]) == (True, 422)
    assert (webhook.failed, webhook.about["torii.outcome"], webhook.about["torii.try"]) == (True, "refused", 1)


async def test_the_end_of_a_doubt_is_in_the_jobs_trace(
    hook: Hooked, collector: Collector, emulator: EmulatorProcess
) -> None:
    """A lost answer shows as an ambiguous submit, and what ended the doubt as a span as long as it lasted."""
    with hook.rig.house.traces.request("POST", CALLER):
        job = await lose(hook.rig, emulator)
    await hook.rig.hurry(submitted_at=JUST_QUIET, opened_at=JUST_QUIET, quiet_at=JUST_QUIET)
    async with hook.rig.house.database.write() as tx:
        await tx.execute(tables.upstream_account.update().values(evidence_due_at=None, breaker_until=None))
    await evidence.look(hook.shop)
    job = await hook.rig.drive(await hook.rig.job(job.id))
    assert job.state is State.COMPLETED
    await collector.sees("evidence", "archive")
    (submit,), (found,) = collector.named("submit"), collector.named("evidence")
    assert submit.about["torii.answer"] == "ambiguous"
    assert (found.trace_id, found.about["torii.evidence"]) == (TRACE, "job_list")
    assert found.about["torii.job.state"] == "running"
    assert found.ended_s - found.began_s > 60


async def test_a_job_that_nobody_traced_is_not_traced(hook: Hooked, collector: Collector, receiver: Receiver) -> None:
    """A job accepted outside of any traced request, as before tracing was on, makes no span in a worker that traces."""
    untraced = await hook.rig.drive(await hook.rig.order(webhook_url=receiver.url()))
    await hook.deliver()
    assert untraced.trace_parent is None
    traced = await hook.rig.drive(await ordered(hook))
    await collector.sees("archive")
    await hook.rig.house.traces.close()
    assert {span.about.get("torii.job.id", traced.id) for span in collector.spans} == {traced.id}
    assert {span.trace_id for span in collector.spans} == {TRACE}


async def test_nothing_is_sent_on(hook: Hooked, collector: Collector, receiver: Receiver) -> None:
    """Neither a receiver of webhooks nor the upstream learns of the caller's trace."""
    await hook.rig.drive(await ordered(hook, webhook_url=receiver.url()))
    await hook.deliver()
    (message,) = receiver.messages
    assert not {"traceparent", "tracestate", "baggage"} & set(message.headers)
    await collector.sees("webhook")


async def test_a_sullen_collector_is_nobodys_trouble(hook: Hooked, collector: Collector, receiver: Receiver) -> None:
    """While the collector refuses everything jobs go on, and each span that is lost is counted."""
    collector.status = 400
    job = await hook.rig.drive(await ordered(hook, webhook_url=receiver.url()))
    assert job.state is State.COMPLETED

    def counted() -> bool:
        return hook.counted("torii_spans_dropped_total", reason="export_failed") >= 5

    await wait.until(counted, timeout_s=15, what="lost spans are counted")
    assert collector.spans == []
