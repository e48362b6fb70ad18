"""Uploads by URL: what is fetched, and where Torii does not go."""

import hashlib
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from gateway.storage import upload_tables
from tests.api.door import Door, error
from tests.support.editing import picture
from tests.support.receiver import Receiver, answer

UPLOADS = "/api/v1/uploads"


async def fetched(door: Door, headers: Mapping[str, str], url: object) -> httpx.Response:
    """Have a URL fetched."""
    return await door.client.post(UPLOADS, headers=headers, json={"url": url})


async def test_a_url_is_fetched(editor: Door) -> None:
    """What a URL leads to is kept, over redirects, without a header of the caller's."""
    headers, data = await editor.caller(), picture(kind="WEBP")
    async with Receiver().listening() as receiver:
        found = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data)
        receiver.say(answer(302, "Location: /there?token=abc"), found)
        made = await fetched(editor, headers, receiver.url("/here"))
    assert (made.status_code, made.json()["sha256"]) == (201, hashlib.sha256(data).hexdigest())
    assert [message.path for message in receiver.messages] == ["/here", "/there?token=abc"]
    assert all("authorization" not in message.headers for message in receiver.messages)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ([answer(404)], "answers 404"),
        ([answer(302, "Location: http://169.254.169.254/latest/meta-data/")], "address is not one that pictures"),
        ([answer(302, "Location: http://[::1]:9/")], "pictures may be fetched from"),
        ([answer(302, "Location: file:///etc/passwd")], "https URL"),
        ([answer(302, "Location: /again")], "redirects more than 3 times"),
        ([b""], "broke off"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nshort"], "broke off"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhtml"], "not a whole picture"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], "empty"),
    ],
)
async def test_a_url_that_gives_no_picture(editor: Door, said: list[bytes], reason: str) -> None:
    """A URL that fails, or leads where Torii may not go, is a 400 that says so without the URL; nothing is kept."""
    async with Receiver().listening() as receiver:
        receiver.say(*said)
        refused = await fetched(editor, await editor.caller(), receiver.url("/here?token=s3cret"))
    assert error(refused) == (400, "invalid_parameter", "url")
    assert reason in refused.json()["detail"]
    assert "s3cret" not in refused.text
    assert len(receiver.messages) <= 4
    assert await editor.rows(upload_tables.uploads) == []


@pytest.mark.parametrize(
    "url", ["http://pictures.example/a.png", "https://10.0.0.1/a.png", "https://user:pw@pictures.example/", "x", ""]
)
async def test_a_url_that_may_not_be_called(door: Door, url: str) -> None:
    """Without networks that the operator has listed, plain http and what is not public are refused unasked."""
    refused = await fetched(door, await door.caller(), url)
    assert error(refused) == (400, "invalid_parameter", "url")
    assert "webhooks may be" not in refused.json()["detail"]


async def test_an_endless_url_ends(editor: Door) -> None:
    """A URL that never ceases to send is given up at 20 MiB."""
    async with Receiver().listening() as receiver:
        receiver.say(b"HTTP/1.1 200 OK\r\n\r\n")
        receiver.drip = bytes(1024 * 1024)
        refused = await fetched(editor, await editor.caller(), receiver.url())
    assert error(refused) == (400, "invalid_parameter", "url")


async def test_the_same_key_fetches_a_url_once(editor: Door) -> None:
    """A repeat under one key is answered without asking the URL again."""
    headers, data = {**await editor.caller(), "Idempotency-Key": '"quoted"'}, picture()
    async with Receiver().listening() as receiver:
        receiver.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data), answer(500))
        first, again = [await fetched(editor, headers, receiver.url()) for _ in range(2)]
        other = await fetched(editor, headers, receiver.url("/other"))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["uploadId"] == again.json()["uploadId"]
    assert other.status_code == 422
    assert len(receiver.messages) == 1


@pytest.mark.parametrize(
    "body", [{}, {"url": None}, {"url": 7}, {"url": "x", "name": "y"}, {"uri": "https://a.example"}]
)
async def test_a_wrong_wish_for_a_url_is_named(editor: Door, body: dict[str, Any]) -> None:
    """JSON that is not one URL is a 400 that names the field."""
    refused = await editor.client.post(UPLOADS, headers=await editor.caller(), json=body)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] in {"url", "name", "uri"}
