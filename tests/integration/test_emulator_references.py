"""The stand-in PixelDojo and reference images: what it fetches, what it says it got, and what it refuses."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.support.editing import picture
from tests.support.emulator import EmulatorProcess
from tests.support.receiver import Receiver, answer

RUN = "/models/p-image-edit/run"


@pytest.fixture
def edits(emulator: EmulatorProcess) -> EmulatorProcess:
    """Give the emulator, whose jobs end at once."""
    emulator.switch(duration_s=0)
    return emulator


@pytest.fixture
async def client(edits: EmulatorProcess) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client with a key."""
    headers = {"Authorization": "Bearer pd_any"}
    async with httpx.AsyncClient(base_url=edits.api_base, headers=headers, trust_env=False, timeout=30) as opened:
        yield opened


def served(data: bytes) -> bytes:
    """An answer with those bytes."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data)


async def ordered(client: httpx.AsyncClient, *urls: str) -> httpx.Response:
    """Order an edit of those pictures."""
    return await client.post(RUN, json={"prompt": "snow", "images": list(urls), "seed": 7})


async def test_the_books_say_what_was_fetched(edits: EmulatorProcess, client: httpx.AsyncClient) -> None:
    """Each URL is fetched without a key before the submit is answered, and the books say what came."""
    async with Receiver().listening() as receiver:
        receiver.say(served(picture()))
        assert (await ordered(client, receiver.url("/a"), receiver.url("/b"))).status_code == 202
    assert [message.path for message in receiver.messages] == ["/a", "/b"]
    assert all("authorization" not in message.headers for message in receiver.messages)
    (job,) = edits.books()["jobs"]
    assert [row["field"] for row in job["references"]] == ["images[0]", "images[1]"]
    first: dict[str, Any] = job["references"][0]
    assert (first["sha256"], first["width"]) == (hashlib.sha256(picture()).hexdigest(), 64)
    assert job["parameters"]["images"] == [receiver.url("/a"), receiver.url("/b")]


async def test_the_same_pictures_make_the_same_picture(edits: EmulatorProcess, client: httpx.AsyncClient) -> None:
    """Where a picture was fetched does not count, what it is does."""
    async with Receiver().listening() as receiver:
        for data, path in ((picture(), "/a"), (picture(), "/b"), (picture("blue"), "/a")):
            receiver.say(served(data))
            assert (await ordered(client, receiver.url(path))).status_code == 202
        made = []
        for job in edits.books()["jobs"]:
            shown = (await client.get(f"/jobs/{job['jobId']}")).json()
            made.append((await client.get(shown["output"]["images"][0])).content)
    assert made[0] == made[1] != made[2]


@pytest.mark.parametrize("said", [answer(404), b"", served(b"no picture"), answer(302, "Location: /b")])
async def test_what_cannot_be_fetched_is_refused(
    edits: EmulatorProcess, client: httpx.AsyncClient, said: bytes
) -> None:
    """A URL that gives no picture is a 400 that names its place, and costs nothing."""
    async with Receiver().listening() as receiver:
        receiver.say(said)
        refused = await ordered(client, receiver.url())
    assert refused.status_code == 400
    assert "images[0]" in refused.json()["error"]["message"]
    assert edits.books()["totals"]["debited"] == 0


async def test_nothing_is_fetched_where_nobody_shall(edits: EmulatorProcess, client: httpx.AsyncClient) -> None:
    """With the switch off URLs are taken as they stand."""
    edits.switch(fetch_references=False)
    assert (await ordered(client, "https://pictures.example/a.png")).status_code == 202
    assert edits.books()["jobs"][0]["references"] == []
