"""Many uploads at once: who sends slowly holds up nobody, and how many a minute there may be."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx

from gateway.jobs.seats import AT_ONCE, AT_ONCE_OF_A_TEAM
from gateway.tenancy import keys, scopes
from tests.api.door import Door, error
from tests.api.test_limits import is_refused, refusals, told
from tests.support import ports, wait
from tests.support.editing import MODEL, picture
from tests.support.receiver import Receiver

UPLOADS = "/api/v1/uploads"


async def bring(door: Door, headers: Mapping[str, str], colour: str = "red", **more: str) -> httpx.Response:
    """Bring a picture as the body itself."""
    kind = {**headers, "Content-Type": "image/png", **more}
    return await door.client.post(UPLOADS, headers=kind, content=picture(colour))


@asynccontextmanager
async def slow_senders(
    door: Door, headers: Mapping[str, str], number: int
) -> AsyncIterator[list[asyncio.StreamReader]]:
    """So many who have sent the beginning of their files, and send no more."""
    head = f"POST {UPLOADS} HTTP/1.1\r\nHost: {ports.LOOPBACK}:{door.port}\r\nContent-Type: image/png\r\n"
    head += f"Authorization: {headers['Authorization']}\r\nContent-Length: 100000\r\n\r\n"
    opened = [await asyncio.open_connection(ports.LOOPBACK, door.port) for _ in range(number)]
    try:
        for _, writer in opened:
            writer.write(head.encode() + b"\x89PNG")
            await writer.drain()
        yield [reader for reader, _ in opened]
    finally:
        for _, writer in opened:
            writer.close()


async def test_slow_senders_hold_no_seat(editor: Door) -> None:
    """However many of a team's callers and of others' dawdle over their files, whoever sends one has it taken."""
    one, other = await editor.caller("one"), await editor.caller("other")
    async with slow_senders(editor, one, 2 * AT_ONCE), slow_senders(editor, other, 2 * AT_ONCE) as readers:
        for headers in (one, other, one):
            assert (await bring(editor, headers)).status_code == 201
        # They are told themselves in the end.
        answer = await asyncio.wait_for(readers[0].readline(), 20.0)
    assert b" 408 " in answer


async def test_slow_urls_hold_no_seat(editor: Door) -> None:
    """While a team's URLs are slow, it brings files as ever; one URL more is a 503 that says when to come back."""
    headers = await editor.caller()
    async with Receiver().listening() as receiver:
        receiver.free.clear()
        fetching = [
            asyncio.create_task(editor.client.post(UPLOADS, headers=headers, json={"url": receiver.url(f"/{number}")}))
            for number in range(AT_ONCE_OF_A_TEAM)
        ]
        await wait.until(lambda: len(receiver.messages) == len(fetching), timeout_s=10.0, what="all are fetched")
        refused = await editor.client.post(UPLOADS, headers=headers, json={"url": receiver.url("/more")})
        assert (error(refused)[:2], refused.headers["Retry-After"]) == ((503, "unavailable"), "1")
        assert (await bring(editor, headers)).status_code == 201
        receiver.free.set()
        assert {error(each)[0] for each in await asyncio.gather(*fetching)} == {400}


async def test_uploads_have_a_minute_of_their_own(editor: Door) -> None:
    """A key brings as many a minute as it may order, and is told so; what was brought before is not counted."""
    team = await editor.team("drawing")
    async with editor.database.write() as tx:
        _, text = await keys.create(
            tx, team.id, "own", scopes.DEFAULT, editor.keyring.api_keys, datetime.now(UTC), rpm=2
        )
    headers = {"Authorization": f"Bearer {text.reveal()}"}
    made = await bring(editor, headers, **{"Idempotency-Key": "one"})
    assert (made.status_code, told(made)[:2]) == (201, ("key", 1))
    for _ in range(3):
        again = await bring(editor, headers, **{"Idempotency-Key": "one"})
        assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert (await bring(editor, headers, "blue")).status_code == 201
    beyond = [
        await bring(editor, headers, "green"),
        await editor.client.post(UPLOADS, headers=headers, json={"url": "https://pictures.example/a.png"}),
    ]
    assert all(is_refused(each) for each in beyond)
    assert "bring 2 uploads a minute" in beyond[0].json()["detail"]
    assert (await refusals(editor))[(team.id, "key_rpm")] == 2
    order = {"prompt": "in snow", "images": [made.json()["uploadId"]]}
    assert [(await editor.run(headers, order, MODEL)).status_code for _ in range(3)] == [202, 202, 429]
