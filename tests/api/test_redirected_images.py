"""Pictures handed out by the object store itself: how long, to whom, as what, and what when they are gone."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from gateway.archive import aws, bucket, links
from gateway.storage import database, schema, tables
from tests.api.door import Door, environment
from tests.api.test_cache import keep, kept
from tests.api.test_images import finished, picture
from tests.support import ports, wait
from tests.support.process import StartProcess
from tests.support.s3 import RadosGateway
from tests.support.s3_bucket import Bucket


@pytest.fixture
def environ(sqlite_url: str, redis_url: str, s3: Bucket) -> dict[str, str]:
    """Give what a service needs to be told whose pictures come from the object store."""
    told = {**environment(sqlite_url, redis_url, s3.url("torii"), ports.free_one()), **s3.environment()}
    return {**told, "TORII_IMAGE_DELIVERY": "redirect"}


@pytest.fixture
async def sending(environ: dict[str, str]) -> AsyncIterator[Door]:
    """Give a front door that sends callers to the object store."""
    async with Door(environ) as door:
        yield door


async def fetched(url: str, method: str = "GET") -> httpx.Response:
    """What the object store answers."""
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.request(method, url)


def life_s(location: str) -> int:
    """How long the object store's address is good for, in seconds."""
    return int(parse_qs(urlsplit(location).query)["X-Amz-Expires"][0])


@pytest.mark.parametrize(("name", "media_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")])
async def test_the_store_gives_the_very_bytes(sending: Door, s3: Bucket, name: str, media_type: str) -> None:
    """A link leads to the store, which gives the bytes, their type and a name to save them under, for GET and HEAD."""
    data = picture(name)
    url = await finished(sending, await sending.caller(), data)
    assert url.startswith(sending.base_url)
    for method, content in (("GET", data), ("HEAD", b"")):
        answer = await sending.client.request(method, url)
        assert (answer.status_code, answer.content) == (307, b"")
        location = answer.headers["Location"]
        assert location.startswith(f"{s3.endpoint_url}/{s3.bucket}/torii/pictures/")
        assert life_s(location) == bucket.URL_LIFE_S_MAX
        assert answer.headers["Cache-Control"] == f"private, max-age={bucket.URL_LIFE_S_MAX // 2}"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        given = await fetched(location, method)
        assert (given.status_code, given.content) == (200, content)
        assert given.headers["Content-Type"] == media_type
        assert given.headers["Content-Length"] == str(len(data))
        (image,) = await sending.rows(tables.images)
        assert given.headers["Content-Disposition"] == f'inline; filename="{image["job_id"]}-0.{image["extension"]}"'
        assert given.headers["Cache-Control"] == f"private, max-age={bucket.URL_LIFE_S_MAX}, immutable"


async def test_an_address_is_good_for_one_object_and_one_method(sending: Door) -> None:
    """The store refuses the address for another method, another object, and a longer life."""
    location = (await sending.client.get(await finished(sending, await sending.caller(), picture()))).headers[
        "Location"
    ]
    assert (await fetched(location)).status_code == 200
    longer = location.replace(f"X-Amz-Expires={bucket.URL_LIFE_S_MAX}", "X-Amz-Expires=86400")
    other = location.replace("/0.png?", "/1.png?")
    assert len({location, longer, other}) == 3
    for method, url in (("PUT", location), ("DELETE", location), ("GET", longer), ("GET", other)):
        assert (await fetched(url, method)).status_code == 403


async def test_no_address_outlives_its_link(sending: Door) -> None:
    """Of a link that ends soon the store's address ends no later, and is kept for half of that."""
    await finished(sending, await sending.caller(), picture())
    (image,) = await sending.rows(tables.images)
    for rest_s in (1, 2, 100, bucket.URL_LIFE_S_MAX - 1, bucket.URL_LIFE_S_MAX + 100):
        url, ends_at = links.sign(
            sending.base_url, sending.keyring.image_links[0], image["id"], "png", datetime.now(UTC), rest_s
        )
        answer = await sending.client.get(url)
        assert answer.status_code == 307
        given = parse_qs(urlsplit(answer.headers["Location"]).query)
        signed_at = datetime.strptime(given["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        life = life_s(answer.headers["Location"])
        assert 1 <= life <= bucket.URL_LIFE_S_MAX
        # Both are whole seconds, taken one after the other.
        assert signed_at + timedelta(seconds=life) <= ends_at + timedelta(seconds=1)
        assert answer.headers["Cache-Control"] == f"private, max-age={life // 2}"


async def test_a_link_is_still_checked_first(sending: Door) -> None:
    """A forged or ended link leads nowhere, and a client that has the picture is told so without a redirect."""
    url = await finished(sending, await sending.caller(), picture())
    assert (await sending.client.get(url[:-2] + ("AA" if url[-2:] != "AA" else "BB"))).status_code == 403
    (image,) = await sending.rows(tables.images)
    past = datetime.now(UTC) - timedelta(seconds=100)
    ended, _ = links.sign(sending.base_url, sending.keyring.image_links[0], image["id"], "png", past, 90)
    assert (await sending.client.get(ended)).status_code == 403
    has_it = await sending.client.get(url, headers={"If-None-Match": f'"{image["sha256"]}"'})
    assert (has_it.status_code, "Location" in has_it.headers) == (304, False)


async def test_a_missing_picture_is_not_handed_out_again(sending: Door, s3: Bucket) -> None:
    """A picture that is not in the bucket is a 404, not a way to nowhere, and the cache gives it to nobody any more."""
    headers = await sending.caller()
    url = await finished(sending, headers, picture())
    (image,) = await sending.rows(tables.images)
    await keep(sending, image["job_id"])
    assert len(await kept(sending)) == 1
    assert s3.request("DELETE", f"torii/{image['object_key']}")[0] == 204
    for method in ("HEAD", "GET"):
        answer = await sending.client.request(method, url)
        assert answer.status_code == 404
        assert "Location" not in answer.headers
        assert await kept(sending) == set()


async def test_a_silent_store_purges_nothing(sending: Door, s3_server: RadosGateway) -> None:
    """Of a store that does not answer nothing is believed: 503; who was seen within the minute is still led there."""
    headers = await sending.caller()
    first, second = [await finished(sending, headers, picture(colour=colour)) for colour in ("red", "blue")]
    (image, _) = await sending.rows(tables.images)
    await keep(sending, image["job_id"])
    assert (await sending.client.get(first)).status_code == 307
    await asyncio.to_thread(s3_server.stop)
    try:
        assert (await sending.client.get(first)).status_code == 307
        answer = await sending.client.get(second)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "archive_unavailable")
    finally:
        await asyncio.to_thread(s3_server.start)
    assert len(await kept(sending)) == 1


async def test_who_sees_pictures_elsewhere_is_not_sent_away(sending: Door) -> None:
    """The console's pages show pictures from our own origin, which is all that their policy allows."""
    team = await sending.team("looking")
    _, headers = await sending.key(team)
    data = picture()
    await finished(sending, headers, data)
    (image,) = await sending.rows(tables.images)
    form = {"credential": headers["Authorization"].removeprefix("Bearer ")}
    begun = await sending.client.post("/console/sign-in", data=form, headers={"Sec-Fetch-Site": "same-origin"})
    assert begun.status_code == 303
    shown = await sending.client.get(f"/console/pictures/{image['id']}")
    assert (shown.status_code, shown.content) == (200, data)
    small = await sending.client.get(f"/console/thumbnails/{image['id']}")
    assert (small.status_code, small.headers["Content-Type"]) == (200, "image/webp")


async def test_no_address_is_logged(start_process: StartProcess, environ: dict[str, str]) -> None:
    """What the process writes has neither the store's address nor its signature, be the picture there or not."""
    opened = database.open(environ["TORII_DATABASE_URL"])
    await schema.migrate(opened)
    await opened.close()
    minting = Door(environ)
    process = start_process((sys.executable, "-m", "service"), environ)
    process.wait_ready(f"{minting.base_url}/health/ready")
    url = await finished(minting, await minting.caller(), picture())
    location = (await minting.client.get(url)).headers["Location"]
    archive = bucket.open(environ["TORII_ARCHIVE_URL"], aws.access(minting.settings))
    (image,) = await minting.rows(tables.images)
    other = await finished(minting, await minting.caller("other"), picture())
    (lost,) = [row for row in await minting.rows(tables.images) if row["id"] != image["id"]]
    await archive.delete(lost["object_key"])
    archive.close()
    assert (await minting.client.get(other)).status_code == 404

    def statuses() -> list[int]:
        lines = [json.loads(line) for line in process.output().splitlines() if line.startswith("{")]
        return [line["status"] for line in lines if line.get("route") == "/images/{name}"]

    await wait.until(lambda: statuses() == [307, 404], timeout_s=5, what="both requests are logged")
    signature = parse_qs(urlsplit(location).query)["X-Amz-Signature"][0]
    for secret in (signature, "X-Amz", urlsplit(url).query, minting.settings.reveal("aws_secret_access_key")):
        assert secret not in process.output()
    await minting.client.aclose()
    await minting.database.close()
