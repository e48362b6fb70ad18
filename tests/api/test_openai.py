"""OpenAI's dialect, asked by the official client over TCP: what it gets, what it raises, and that a repeat is free."""

import asyncio
import base64
import functools
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI
from openai.types import ImagesResponse

from gateway.jobs.pauses import Scope as Pause
from gateway.jobs.states import Failure, State
from gateway.storage import repeat_tables, tables
from gateway.tenancy.scopes import Scope
from tests.api.door import ADMIN_TOKEN, Door, environment
from tests.api.test_images import picture
from tests.api.test_jobs import update
from tests.support import ports, wait
from tests.support.wire import Wire

MODEL = "flux-2-max"
PROMPT = "a torii gate in rain"


@asynccontextmanager
async def client(door: Door, headers: dict[str, str], port: int | None = None) -> AsyncIterator[AsyncOpenAI]:
    """The official client with its default settings, but for the base URL and the key."""
    key = headers["Authorization"].removeprefix("Bearer ")
    async with AsyncOpenAI(base_url=f"http://{ports.LOOPBACK}:{port or door.port}/v1", api_key=key) as made:
        yield made


async def unfinished(door: Door, number: int = 1) -> list[str]:
    """The ids of the jobs that wait, once there are so many."""

    async def there() -> list[str]:
        rows = [row for row in await door.rows(tables.jobs) if row["state"] == "queued"]
        return [row["id"] for row in sorted(rows, key=lambda row: row["created_at"])] if len(rows) >= number else []

    return await wait.until(there, timeout_s=20, what=f"{number} jobs that wait")


async def seated(door: Door, number: int) -> None:
    """Return once so many requests wait."""
    await wait.until(lambda: door.waiting == number, timeout_s=30, what=f"{number} waiting")


async def bumped(door: Door, accepted: int, wire: Wire) -> None:
    """Return once the client has come back and waits again."""
    await wait.until(
        lambda: wire.accepted == accepted and door.waiting == 1, timeout_s=30, what="the client waits again"
    )


async def made(door: Door, asked: "asyncio.Task[Any]", data: bytes) -> Any:
    """Finish the one job that is waited for, and give what the client has got."""
    await seated(door, 1)
    await door.finish((await unfinished(door))[0], data)
    return await asked


def files(answer: ImagesResponse) -> list[bytes]:
    """The files of an answer."""
    return [base64.b64decode(image.b64_json or "") for image in answer.data or ()]


async def debits(door: Door) -> int:
    """How many jobs were paid for or may be."""
    holds = [row for row in await door.rows(tables.ledger_entries) if row["kind"] == "hold"]
    assert len(holds) == len(await door.rows(tables.jobs))
    return len(holds)


async def test_a_picture_comes_as_a_link_and_as_a_file(any_door: Door) -> None:
    """Without `response_format` both forms come, each with one picture, which is the archived one byte for byte."""
    data = picture(side=333)
    async with client(any_door, await any_door.caller()) as asker:
        answer = await made(any_door, asyncio.create_task(asker.images.generate(model=MODEL, prompt=PROMPT)), data)
    assert files(answer) == [data]
    linked = await any_door.client.get(answer.data[0].url)
    assert linked.content == data
    assert (answer.output_format, answer.size) == ("png", "333x333")
    assert abs(answer.created - datetime.now(UTC).timestamp()) < 60


@pytest.mark.parametrize(("form", "has"), [("url", (True, False)), ("b64_json", (False, True))])
async def test_one_form_can_be_asked_for(door: Door, form: Any, has: tuple[bool, bool]) -> None:
    """`response_format` chooses."""
    async with client(door, await door.caller()) as asker:
        asked = asyncio.create_task(asker.images.generate(model=MODEL, prompt=PROMPT, response_format=form))
        answer = await made(door, asked, picture())
    assert (bool(answer.data[0].url), bool(answer.data[0].b64_json)) == has


async def test_what_is_asked_for_is_what_is_ordered(door: Door) -> None:
    """Sizes, numbers, formats and the model's own parameters reach the job as the model has them."""
    async with client(door, await door.caller()) as asker:
        asked = asyncio.create_task(
            asker.images.generate(
                model=MODEL,
                prompt=PROMPT,
                n=2,
                size="1536x1024",
                output_format="jpeg",
                quality="hd",
                style="vivid",
                user="somebody",
                extra_body={"seed": 7, "safety_tolerance": 2, "torii": {"metadata": {"order": 1}}},
            )
        )
        await made(door, asked, picture())
    job = (await door.rows(tables.jobs))[0]
    assert job["details"] == {"order": 1}
    assert job["parameters"] == {
        "prompt": PROMPT,
        "aspect_ratio": "3:2",
        "resolution": "1 MP",
        "num_outputs": 2,
        "safety_tolerance": 2,
        "prompt_upsampling": False,
        "seed": 7,
        "output_format": "jpg",
    }


async def test_the_models_are_listed_for_who_has_a_key(door: Door) -> None:
    """The client lists the catalogue and reads one of it; a wrong key and an unknown model are its own exceptions."""
    async with client(door, await door.caller()) as asker:
        listed = [model.id async for model in asker.models.list()]
        assert MODEL in listed
        assert (await asker.models.retrieve(MODEL)).owned_by == "pixeldojo"
        with pytest.raises(openai.NotFoundError) as missing:
            await asker.models.retrieve("dall-e-3")
        assert missing.value.code == "model_not_found"
    async with client(door, {"Authorization": "Bearer wrong"}) as stranger:
        with pytest.raises(openai.AuthenticationError) as refused:
            await stranger.models.list()
        assert refused.value.code == "invalid_api_key"


REFUSED: list[tuple[dict[str, Any], type[openai.APIStatusError], str, str | None]] = [
    ({"n": 9}, openai.BadRequestError, "invalid_parameter", "n"),
    ({"size": "huge"}, openai.BadRequestError, "invalid_parameter", "size"),
    ({"stream": True}, openai.BadRequestError, "invalid_parameter", "stream"),
    ({"background": "transparent"}, openai.BadRequestError, "invalid_parameter", "background"),
    ({"prompt": ""}, openai.BadRequestError, "invalid_parameter", "prompt"),
    ({"model": "dall-e-3"}, openai.NotFoundError, "model_not_found", None),
    ({"extra_body": {"colour": "red"}}, openai.BadRequestError, "unknown_parameter", "colour"),
]


async def test_a_refusal_is_the_clients_own_exception(door: Door) -> None:
    """What is wrong is raised as the client's exception for it, with our code and the field, and nothing is ordered."""
    async with client(door, await door.caller()) as asker:
        for wrong, kind, code, param in REFUSED:
            with pytest.raises(kind) as refused:
                await asker.images.generate(**{"model": MODEL, "prompt": PROMPT, **wrong})
            assert refused.value.code == code
            assert param is None or refused.value.param == param
    async with client(door, await door.caller("readers", Scope.READ)) as reader:
        with pytest.raises(openai.PermissionDeniedError):
            await reader.images.generate(model=MODEL, prompt=PROMPT)
    assert not await door.rows(tables.jobs)


async def test_limits_and_budgets_are_raised_too(door: Door) -> None:
    """A budget that is spent is a 402, a pace that is too quick a `RateLimitError` with its `Retry-After`."""
    team = await door.team("one")
    _, headers = await door.key(team)
    admin = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    async with client(door, headers) as patient, patient.with_options(max_retries=0) as asker:
        await door.client.put(f"/admin/v1/teams/{team.id}/budgets/total", headers=admin, json={"limit": 0})
        with pytest.raises(openai.APIStatusError) as spent:
            await asker.images.generate(model=MODEL, prompt=PROMPT)
        assert (spent.value.status_code, spent.value.code) == (402, "budget_exhausted")
        await door.client.put(f"/admin/v1/teams/{team.id}/budgets/total", headers=admin, json={"limit": 100})
        await door.client.patch(f"/admin/v1/teams/{team.id}", headers=admin, json={"rpm": 1})
        await door.run(headers)

        async def too_quick() -> openai.RateLimitError | None:
            try:
                await asyncio.wait_for(asker.images.generate(model=MODEL, prompt=PROMPT), 1)
            except openai.RateLimitError as limited:
                return limited
            except TimeoutError:
                return None
            raise AssertionError("the pace was kept")

        limited = await wait.until(too_quick, timeout_s=20, what="the pace is known")
    assert limited is not None
    assert 1 <= int(limited.response.headers["retry-after"]) <= 60


ENDS: Sequence[tuple[Failure, int]] = [
    (Failure.UPSTREAM_REJECTED, 400),
    (Failure.UPSTREAM_FAILED, 502),
    (Failure.QUEUE_TIMEOUT, 502),
    (Failure.CANCELLED, 502),
]


@pytest.mark.parametrize(("failure", "status"), ENDS)
async def test_a_job_that_failed_is_not_ordered_again(door: Door, failure: Failure, status: int) -> None:
    """The failure of the job is raised with its code, and the client, told not to repeat it, does not."""
    with Wire(door.port) as wire:
        async with client(door, await door.caller(), wire.port) as asker:
            asked = asyncio.create_task(asker.images.generate(model=MODEL, prompt=PROMPT))
            await seated(door, 1)
            job_id = (await unfinished(door))[0]
            now = datetime.now(UTC)
            await update(door, job_id, state=State.FAILED, error_code=failure, error_message="no", ended_at=now)
            with pytest.raises(openai.APIStatusError) as failed:
                await asked
    assert (failed.value.status_code, failed.value.code) == (status, failure)
    assert failed.value.response.headers["x-should-retry"] == "false"
    assert failed.value.request.headers["x-stainless-retry-count"] == "0"
    assert await debits(door) == 1


async def test_a_cut_connection_is_paid_once(any_door: Door) -> None:
    """A proxy that cuts each connection before the picture is there: the client's repeats wait on for the one job."""
    with Wire(any_door.port) as wire:
        async with client(any_door, await any_door.caller(), wire.port) as asker:
            asked = asyncio.create_task(asker.images.generate(model=MODEL, prompt=PROMPT))
            for accepted, orderly in ((1, False), (2, True)):
                await bumped(any_door, accepted, wire)
                wire.cut(reset=not orderly)
            await bumped(any_door, 3, wire)
            data = picture()
            await any_door.finish((await unfinished(any_door))[0], data)
            assert files(await asked) == [data]
    assert await debits(any_door) == 1


@pytest.mark.timeout(200)
async def test_a_proxy_that_cuts_after_five_seconds_costs_nothing(door: Door) -> None:
    """A job of 12 s behind a proxy that cuts each connection after 5 s: one debit, one picture, default retries."""
    data = picture()

    async def cut_when_old(wire: Wire) -> None:
        for number in itertools.count(1):
            there = functools.partial(lambda least: wire.accepted >= least, number)
            await wait.until(there, timeout_s=60, what="another connection")
            await asyncio.sleep(5)
            wire.cut()

    async def finish() -> None:
        job_id = (await unfinished(door))[0]
        await asyncio.sleep(12)
        await door.finish(job_id, data)

    with Wire(door.port) as wire:
        async with client(door, await door.caller(), wire.port) as asker:
            cutting, finishing = asyncio.create_task(cut_when_old(wire)), asyncio.create_task(finish())
            answer = await asker.images.generate(model=MODEL, prompt=PROMPT)
            cutting.cancel()
            await asyncio.gather(cutting, finishing, return_exceptions=True)
    assert files(answer) == [data]
    assert await debits(door) == 1


async def test_an_answer_cut_in_its_middle_is_given_again(door: Door) -> None:
    """An answer of which only a part arrived was not delivered: the repeat gets the same picture, and pays nothing."""
    data = picture(side=700)
    with Wire(door.port) as wire:
        async with client(door, await door.caller(), wire.port) as asker:
            asked = asyncio.create_task(asker.images.generate(model=MODEL, prompt=PROMPT))
            await bumped(door, 1, wire)
            wire.behave(cut_after_down=2000)
            job_id = (await unfinished(door))[0]
            await door.finish(job_id, data)
            await wait.until(lambda: wire.accepted == 2, timeout_s=20, what="the client has come back")
            wire.heal()
            assert files(await asked) == [data]
    assert await debits(door) == 1


async def test_as_many_jobs_as_callers(any_door: Door) -> None:
    """Two callers of one key ask for the same and are both cut: each gets a picture of its own, and there are two."""
    with Wire(any_door.port) as wire:
        headers = await any_door.caller()
        async with client(any_door, headers, wire.port) as one, client(any_door, headers, wire.port) as two:
            asked = [asyncio.create_task(asker.images.generate(model=MODEL, prompt=PROMPT)) for asker in (one, two)]
            await seated(any_door, 2)
            wire.cut()
            await wait.until(
                lambda: wire.accepted == 4 and any_door.waiting == 2, timeout_s=30, what="both have come back"
            )
            pictures = [picture(colour=colour) for colour in ("red", "blue")]
            for job_id, data in zip(await unfinished(any_door, 2), pictures, strict=True):
                await any_door.finish(job_id, data)
            got = [files(answer)[0] for answer in await asyncio.gather(*asked)]
    assert sorted(got) == sorted(pictures)
    assert await debits(any_door) == 2


async def test_a_picture_that_was_delivered_is_not_given_to_a_repeat(any_door: Door) -> None:
    """Once an answer was had, a repeat of the same body is for another request, whose order created nothing."""
    headers = await any_door.caller()
    async with client(any_door, headers) as asker:
        asked = asyncio.create_task(asker.images.generate(model=MODEL, prompt=PROMPT))
        await made(any_door, asked, picture())

        async def noted() -> bool:
            return [row["delivered_at"] for row in await any_door.rows(repeat_tables.unanswered)] != [None]

        await wait.until(noted, timeout_s=10, what="the delivery is noted")
        again = asyncio.create_task(
            asker.images.generate(model=MODEL, prompt=PROMPT, extra_headers={"X-Stainless-Retry-Count": "1"})
        )
        await made(any_door, again, picture(colour="blue"))
    assert await debits(any_door) == 2


async def test_a_claim_ends_with_its_quarter_of_an_hour(door: Door) -> None:
    """A job older than 15 minutes is nobody's repeat any more, and another body never is."""
    headers = await door.caller()
    repeated = {**headers, "X-Stainless-Retry-Count": "1"}
    body = {"model": MODEL, "prompt": PROMPT}
    for asked in (headers, repeated):
        await hung_up(door, asked, body)
    assert await debits(door) == 1
    await hung_up(door, repeated, {**body, "n": 2})
    assert await debits(door) == 2
    row = repeat_tables.unanswered
    async with door.database.write() as tx:
        await tx.execute(row.update().values(created_at=datetime.now(UTC) - timedelta(minutes=16)))
    await hung_up(door, repeated, body)
    assert await debits(door) == 3


async def hung_up(door: Door, headers: dict[str, str], body: dict[str, Any]) -> None:
    """Ask for pictures, and hang up once that is waited for; returns when the door has noticed."""
    async with httpx.AsyncClient(base_url=door.base_url, trust_env=False) as asker:
        asked = asyncio.create_task(asker.post("/v1/images/generations", headers=headers, json=body))
        await seated(door, 1)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
    await seated(door, 0)


async def test_an_idempotency_key_goes_before_the_count(door: Door) -> None:
    """Under an `Idempotency-Key` the same request is the same job, whatever the client counts."""
    headers = {**await door.caller(), "Idempotency-Key": "mine"}
    body = {"model": MODEL, "prompt": PROMPT}
    await hung_up(door, headers, body)
    await door.finish((await unfinished(door))[0], picture())
    again = await door.client.post("/v1/images/generations", headers=headers, json=body)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    other = await door.client.post("/v1/images/generations", headers=headers, json={**body, "n": 2})
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert await debits(door) == 1
    assert not await door.rows(repeat_tables.unanswered)


async def test_a_wait_that_is_too_long_goes_on_with_the_repeat(sqlite_url: str, redis_url: str, tmp_path: Path) -> None:
    """After `TORII_WAIT_MAX_S` the answer is a 503 to be repeated; the client does, and gets the one job's picture."""
    settings = environment(sqlite_url, redis_url, str(tmp_path / "archive"), ports.free_one())
    async with Door({**settings, "TORII_WAIT_MAX_S": "1"}) as door, client(door, await door.caller()) as asker:
        with pytest.raises(openai.InternalServerError) as late:
            await asker.with_options(max_retries=0).images.generate(model=MODEL, prompt=PROMPT)
        assert (late.value.code, late.value.response.headers["retry-after"]) == ("still_running", "1")
        asked = asyncio.create_task(
            asker.images.generate(model=MODEL, prompt=PROMPT, extra_headers={"X-Stainless-Retry-Count": "1"})
        )
        await seated(door, 1)
        await seated(door, 0)
        await door.finish((await unfinished(door))[0], picture())
        assert files(await asked) == [picture()]
        assert await debits(door) == 1


async def test_nothing_is_ordered_while_the_upstream_is_paused(any_door: Door) -> None:
    """Under a pause, and while the upstream refuses the account, `/v1` is a 503 that creates nothing."""
    headers = await any_door.caller()
    body = {"model": MODEL, "prompt": PROMPT}
    later = datetime.now(UTC) + timedelta(minutes=5)
    for statement in (
        tables.pauses.insert().values(scope=Pause.MODEL, subject=MODEL, since_at=datetime.now(UTC)),
        tables.upstream_account.update().values(paused_until=later, pause_reason="out_of_credits"),
    ):
        async with any_door.database.write() as tx:
            await tx.execute(tables.pauses.delete())
            await tx.execute(statement)
        answer = await any_door.client.post("/v1/images/generations", headers=headers, json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "upstream_paused")
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert await debits(any_door) == 0
    assert (await any_door.run(headers)).status_code == 202
