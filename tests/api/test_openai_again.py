"""An order in OpenAI's dialect whose very bytes were answered from the cache before, over TCP."""

from typing import Any

import httpx

from gateway.storage import repeat_tables, tables
from tests.api.door import GOOD, Door
from tests.api.test_images import picture
from tests.api.test_run_cached import counted, keep, lose, run

ORDER = {"model": "flux-2-max", "response_format": "url", **GOOD, "seed": 7}


async def ask(door: Door, headers: dict[str, str], body: dict[str, Any] | None = None) -> httpx.Response:
    """Order by OpenAI's route."""
    return await door.client.post("/v1/images/generations", headers=headers, json=ORDER if body is None else body)


async def remembered(door: Door, headers: dict[str, str]) -> httpx.Response:
    """Have an order made, kept, and answered twice by this route; the second answer."""
    await keep(door, (await run(door, headers)).json()["jobId"])
    first, second = await ask(door, headers), await ask(door, headers)
    assert first.status_code == second.status_code == 200
    assert said(first) == said(second)
    return second


def said(answer: httpx.Response) -> tuple[dict[str, Any], dict[str, str], list[list[str]]]:
    """What an answer says, without what is each answer's own."""
    body = answer.json()
    forms = [sorted(each) for each in body.pop("data")]
    own = {"date", "x-request-id", "age"}
    return body, {name: value for name, value in answer.headers.items() if name not in own}, forms


async def test_the_same_bytes_are_answered_and_counted_alike(any_door: Door) -> None:
    """Each further answer says what the first said, leads to the picture, and is one hit; no job is made for it."""
    headers = await any_door.caller()
    answer = await remembered(any_door, headers)
    for _ in range(2):
        answer = await ask(any_door, headers)
    assert answer.headers["Cache-Status"] == "torii; hit"
    assert answer.json()["torii"]["cached"] is True
    assert (await any_door.client.get(answer.json()["data"][0]["url"])).content == picture()
    assert (await counted(any_door))["hit"] == 4
    assert len(await any_door.rows(tables.jobs)) == 1
    assert await any_door.rows(repeat_tables.unanswered) == []


async def test_files_are_read_from_the_archive_each_time(door: Door) -> None:
    """An order for files is a hit as well, and brings the whole picture however often it is asked."""
    headers = await door.caller()
    await remembered(door, headers)
    for _ in range(3):
        answer = await ask(door, headers, ORDER | {"response_format": "b64_json"})
        assert answer.headers["Cache-Status"] == "torii; hit"
        assert [sorted(each) for each in answer.json()["data"]] == [["b64_json"]]


async def test_the_bytes_of_the_other_dialect_are_another_order(door: Door) -> None:
    """Bytes that one dialect knows mean nothing to the other: its own rules refuse them."""
    headers = await door.caller()
    await remembered(door, headers)
    refused = await run(door, headers, body=ORDER)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] in {"model", "response_format"}
    bare = await ask(door, headers, GOOD | {"seed": 7})
    assert (bare.status_code, bare.json()["error"]["param"]) == (400, "model")


async def test_what_a_request_asks_for_beside_is_not_passed_over(door: Door) -> None:
    """An idempotency key binds known bytes too, and a repeat that says so is looked for among the unanswered first."""
    headers = await door.caller()
    await remembered(door, headers)
    keyed = {**headers, "Idempotency-Key": "once"}
    first, replay = await ask(door, keyed), await ask(door, keyed)
    assert "Idempotent-Replayed" not in first.headers
    assert replay.headers["Idempotent-Replayed"] == "true"
    assert (await ask(door, {**headers, "X-Stainless-Retry-Count": "1"})).json()["torii"]["cached"] is True


async def test_a_picture_that_is_gone_is_a_miss_for_known_bytes(door: Door) -> None:
    """Once its picture was found missing, the order is made anew however well it is known."""
    headers = await door.caller()
    answer = await remembered(door, headers)
    await lose(door)
    assert (await door.client.get(answer.json()["data"][0]["url"])).status_code == 404
    only = await ask(door, {**headers, "Cache-Control": "only-if-cached"})
    assert (only.status_code, len(await door.rows(tables.jobs))) == (504, 1)
