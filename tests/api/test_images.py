"""Pictures by signed links: what is served, to whom it is not, and what happens when the archive fails."""

import hashlib
import io
import shutil
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image

from gateway.archive import links
from tests.api.door import Door


def picture(name: str = "PNG", colour: str = "red", side: int = 64) -> bytes:
    """A picture's bytes."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(buffer, name)
    return buffer.getvalue()


async def finished(door: Door, headers: dict[str, str], data: bytes) -> str:
    """Order, finish, and read the link."""
    job_id = (await door.run(headers)).json()["jobId"]
    await door.finish(job_id, data)
    body = (await door.client.get(f"/api/v1/jobs/{job_id}", headers=headers)).json()
    assert body["output"]["images"] == [asset["url"] for asset in body["assets"]]
    return str(body["assets"][0]["url"])


@pytest.mark.parametrize(("name", "media_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")])
async def test_a_link_works_without_a_header(any_door: Door, name: str, media_type: str) -> None:
    """A completed job's link gives the very bytes, with what a browser needs to show and keep them."""
    data = picture(name)
    url = await finished(any_door, await any_door.caller(), data)
    answer = await any_door.client.get(url)
    assert (answer.status_code, answer.content) == (200, data)
    assert answer.headers["Content-Type"] == media_type
    assert answer.headers["Content-Length"] == str(len(data))
    assert answer.headers["ETag"] == f'"{hashlib.sha256(data).hexdigest()}"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Disposition"].startswith('inline; filename="img_')
    directives = answer.headers["Cache-Control"].split(", ")
    assert directives[0] == "private"
    assert directives[2] == "immutable"
    assert 86_000 < int(directives[1].removeprefix("max-age=")) <= 86_401
    head = await any_door.client.head(url)
    assert (head.status_code, head.content, head.headers["Content-Length"]) == (200, b"", str(len(data)))


async def test_a_large_picture_comes_whole(door: Door) -> None:
    """A picture of several pieces is streamed whole."""
    side = 1500
    noise = bytes(byte for at in range(side * side * 3 // 32) for byte in hashlib.sha256(str(at).encode()).digest())
    buffer = io.BytesIO()
    Image.frombytes("RGB", (side, side), noise.ljust(side * side * 3, b"\0")).save(buffer, "PNG", compress_level=0)
    data = buffer.getvalue()
    assert len(data) > 4 * 1024 * 1024
    assert (await door.client.get(await finished(door, await door.caller(), data))).content == data


async def test_a_client_that_has_it_is_told_so(door: Door) -> None:
    """`If-None-Match` with the picture's tag, a list that holds it, a weak one or `*` is a 304; another is a 200."""
    url = await finished(door, await door.caller(), picture())
    tag = (await door.client.head(url)).headers["ETag"]
    for tags in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        answer = await door.client.get(url, headers={"If-None-Match": tags})
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", tag)
    assert (await door.client.get(url, headers={"If-None-Match": '"other"'})).status_code == 200


async def test_a_forged_link_is_refused(door: Door) -> None:
    """A changed, missing or borrowed signature, expiry, id or extension is a 403 that does not say which."""
    headers = await door.caller()
    mine, other = (
        urlsplit(await finished(door, headers, picture())),
        urlsplit(await finished(door, headers, picture(colour="blue"))),
    )
    query = {name: texts[0] for name, texts in parse_qs(mine.query).items()}
    flipped = query["sig"][:-2] + ("AA" if query["sig"][-2:] != "AA" else "BB")
    forged = [
        (mine.path, {}),
        (mine.path, {"exp": query["exp"]}),
        (mine.path, {**query, "sig": ""}),
        (mine.path, {**query, "sig": flipped}),
        (mine.path, {**query, "sig": query["sig"] + "="}),
        (mine.path, {**query, "sig": "ä€\0"}),
        (mine.path, {**query, "exp": str(int(query["exp"]) + 1)}),
        (mine.path, {**query, "exp": "0" + query["exp"]}),
        (mine.path, {**query, "exp": "9" * 4000}),
        (mine.path, {**query, "exp": "never"}),
        (mine.path.replace(".png", ".jpg"), query),
        (mine.path.replace(".png", ""), query),
        (mine.path + ".png", query),
        (other.path, query),
        ("/images/.png", query),
        ("/images/%00.png", query),
    ]
    for path, params in forged:
        answer = await door.client.get(path, params=params)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "bad_link"), (path, params)


async def test_an_expired_link_is_refused(door: Door) -> None:
    """A link that was good is a 403 once its time is over."""
    image_id = (urlsplit(await finished(door, await door.caller(), picture())).path).split("/")[-1].removesuffix(".png")
    past = datetime.now(UTC) - timedelta(seconds=100)
    for ttl_s, status in ((90, 403), (200, 200)):
        url, _ = links.sign(door.base_url, door.keyring.image_links[0], image_id, "png", past, ttl_s)
        assert (await door.client.get(url)).status_code == status


async def test_a_good_signature_for_no_picture_is_gone(door: Door) -> None:
    """A link that we alone could have signed, to a picture of which nothing is known any more, is a 410."""
    url, _ = links.sign(door.base_url, door.keyring.image_links[0], "img_gone", "png", datetime.now(UTC), 60)
    answer = await door.client.get(url)
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "image_gone")


async def test_a_picture_gone_from_the_archive_is_not_found(door: Door) -> None:
    """A picture whose object is missing is a 404, not a promise to wait for."""
    url = await finished(door, await door.caller(), picture())
    shutil.rmtree(f"{door.settings.archive_url}/pictures")
    answer = await door.client.get(url)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "image_not_found")


async def test_a_missing_archive_asks_to_wait(door: Door) -> None:
    """With the archive gone a picture is a 503 with `Retry-After`, and jobs are read all the same."""
    headers = await door.caller()
    url = await finished(door, headers, picture())
    shutil.rmtree(door.settings.archive_url)
    answer = await door.client.get(url)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "archive_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert (await door.run(headers)).status_code == 202
