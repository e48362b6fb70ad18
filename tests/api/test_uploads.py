"""Uploads over HTTP: what is taken and what is not, who sees them, and that nothing of a refused one is left."""

import asyncio
import hashlib
import struct
import zlib
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from gateway.jobs.intake import MAX_BYTES
from gateway.storage import erasure_tables, tables, upload_tables
from gateway.tenancy.scopes import Scope
from tests.api.door import Door, error
from tests.support import editing
from tests.support.editing import picture

UPLOADS = "/api/v1/uploads"


async def bring(
    door: Door, headers: Mapping[str, str], data: bytes = b"", kind: str = "image/png", **more: str
) -> httpx.Response:
    """Bring a picture as the body itself."""
    return await door.client.post(UPLOADS, headers={**headers, "Content-Type": kind, **more}, content=data or picture())


def objects(door: Door) -> list[Path]:
    """What lies in the archive of uploads."""
    folder = Path(door.settings.archive_url) / "uploads"
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(("kind", "media_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")])
async def test_a_picture_is_kept(editor: Door, kind: str, media_type: str) -> None:
    """A file of a form is kept with what its bytes say, and its link gives those bytes without a header."""
    headers, data = await editor.caller(), picture(kind=kind)
    made = await editor.client.post(UPLOADS, headers=headers, files={"file": ("a.bin", data, "text/plain")})
    assert made.status_code == 201
    body = made.json()
    assert (body["contentType"], body["width"], body["height"], body["bytes"]) == (media_type, 64, 64, len(data))
    assert body["sha256"] == hashlib.sha256(data).hexdigest()
    life = datetime.fromisoformat(body["expiresAt"]) - datetime.fromisoformat(body["createdAt"])
    assert life == timedelta(seconds=editor.settings.upload_ttl_s)
    assert made.headers["Location"] == f"{editor.base_url}{UPLOADS}/{body['uploadId']}"
    file = await editor.client.get(body["url"])
    assert (file.status_code, file.content, file.headers["Content-Type"]) == (200, data, media_type)
    assert "sandbox" in file.headers["Content-Security-Policy"]
    head = await editor.client.head(body["url"])
    assert (head.content, head.headers["Content-Length"]) == (b"", str(len(data)))
    tag = {"If-None-Match": file.headers["ETag"]}
    assert (await editor.client.get(body["url"], headers=tag)).status_code == 304
    read = (await editor.client.get(f"{UPLOADS}/{body['uploadId']}", headers=headers)).json()
    assert {**read, "url": ""} == {**body, "url": ""}


async def test_the_body_may_be_the_picture(editor: Door) -> None:
    """A body that says to be an image is the picture; its type is what its bytes say, whatever it calls itself."""
    made = await bring(editor, await editor.caller(), picture(kind="JPEG"), "image/png")
    assert (made.status_code, made.json()["contentType"]) == (201, "image/jpeg")


def bomb(width: int, height: int) -> bytes:
    """A PNG of few bytes that says to have very many pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 4_000_000, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "data",
    [
        b"<html>no picture</html>",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        picture()[:-20],
        picture(kind="GIF"),
        b"\x89PNG\r\n\x1a\n",
        bomb(30_000, 30_000),
    ],
    ids=["html", "svg", "truncated", "gif", "head", "bomb"],
)
async def test_what_is_no_picture_is_refused(editor: Door, data: bytes) -> None:
    """What is not a whole PNG, JPEG or WebP of a sane size is a 400 that names the field, and nothing is kept."""
    headers = await editor.caller()
    assert error(await bring(editor, headers, data)) == (400, "invalid_parameter", "body")
    form = await editor.client.post(UPLOADS, headers=headers, files={"file": data})
    assert error(form) == (400, "invalid_parameter", "file")
    assert await editor.rows(upload_tables.uploads) == []
    assert await editor.rows(erasure_tables.erasures) == []
    assert objects(editor) == []


async def test_a_form_has_one_file(editor: Door) -> None:
    """A form without a file, with two, or with another field is a 400 that names it."""
    headers, data = await editor.caller(), picture()

    async def sent(files: Any) -> tuple[int, str, str | None]:
        return error(await editor.client.post(UPLOADS, headers=headers, files=files))

    assert await sent([("file", data), ("file", data)]) == (400, "invalid_parameter", "file")
    assert await sent({"image": data}) == (400, "unknown_parameter", "image")
    assert await sent([(f"f{number}", b"") for number in range(20)]) == (400, "malformed_body", None)
    kind = "multipart/form-data; boundary=x"
    assert error(await bring(editor, headers, b"--x--\r\n", kind)) == (400, "missing_parameter", "file")
    assert error(await bring(editor, headers, b"no form", kind)) == (400, "malformed_body", None)
    assert error(await bring(editor, headers, b"no form", "multipart/form-data")) == (400, "malformed_body", None)
    cut = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + data
    assert error(await bring(editor, headers, cut, kind)) == (400, "malformed_body", None)


async def test_other_bodies_are_refused(editor: Door) -> None:
    """A media type that is none of those is a 415 that lists them, and so is a content encoding."""
    headers = await editor.caller()
    for kind in ("text/plain", "image/svg+xml", "application/octet-stream"):
        refused = await bring(editor, headers, picture(), kind)
        assert error(refused) == (415, "unsupported_media_type", None)
        assert "multipart/form-data" in refused.json()["detail"]
    packed = await bring(editor, headers, picture(), "image/png", **{"Content-Encoding": "gzip"})
    assert packed.status_code == 415


async def test_a_file_may_have_20_mib_and_no_more(editor: Door) -> None:
    """The largest file is taken as a form too; one byte more is a 413, whatever its length says."""
    headers = await editor.caller()
    data = picture() + bytes(MAX_BYTES - len(picture()))
    assert (await editor.client.post(UPLOADS, headers=headers, files={"file": data})).status_code == 201
    assert (await editor.client.post(UPLOADS, headers=headers, files={"file": data + b"x"})).status_code == 413
    assert (await bring(editor, headers, data + b"x")).status_code == 413

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(400):
            yield bytes(64 * 1024)

    kind = {**headers, "Content-Type": "image/png"}
    assert (await editor.client.post(UPLOADS, headers=kind, content=endless())).status_code == 413
    assert len(objects(editor)) == 1


async def test_a_team_has_so_much_room(editor: Door) -> None:
    """What would be more than the team's room is refused, also when several come at once; deleting makes room."""
    headers, large = await editor.caller(), picture() + bytes(9 * 1024 * 1024)
    answers = await asyncio.gather(*(bring(editor, headers, large + bytes([number])) for number in range(4)))
    made = [each.json()["uploadId"] for each in answers if each.status_code == 201]
    refused = [each for each in answers if each.status_code != 201]
    assert len(made) == 2
    assert {error(each) for each in refused} == {(403, "uploads_full", None)}
    assert (await bring(editor, await editor.caller("another"), large)).status_code == 201
    assert (await editor.client.delete(f"{UPLOADS}/{made[0]}", headers=headers)).status_code == 204
    assert (await bring(editor, headers, large)).status_code == 201


async def test_twice_the_same_is_two_uploads_of_one_object(editor: Door) -> None:
    """A picture brought twice has two ids and lies in the archive once, until the second is deleted too."""
    headers = await editor.caller("caller", Scope.GENERATE)
    first, second = [(await bring(editor, headers)).json() for _ in range(2)]
    assert first["uploadId"] != second["uploadId"]
    assert len(objects(editor)) == 1
    assert (await editor.client.delete(f"{UPLOADS}/{first['uploadId']}", headers=headers)).status_code == 204
    assert (await editor.client.get(first["url"])).status_code == 404
    assert await editor.rows(erasure_tables.erasures) == []
    assert (await editor.client.get(second["url"])).content == picture()
    assert (await editor.client.delete(f"{UPLOADS}/{second['uploadId']}", headers=headers)).status_code == 204
    (row,) = await editor.rows(erasure_tables.erasures)
    assert (row["kind"], row["team_id"]) == ("upload", (await editor.rows(tables.teams))[0]["id"])
    again = await editor.client.delete(f"{UPLOADS}/{second['uploadId']}", headers=headers)
    assert error(again) == (404, "upload_not_found", "uploadId")


async def test_another_team_has_an_object_of_its_own(editor: Door) -> None:
    """Nobody learns that another team has the same picture, and nobody's deletion is another's loss."""
    for name in ("one", "other"):
        assert (await bring(editor, await editor.caller(name))).status_code == 201
    assert len(objects(editor)) == 2


async def test_a_picture_that_the_archive_lost_is_put_again(editor: Door) -> None:
    """An upload of bytes whose object is gone is not built on what is not there."""
    headers = await editor.caller()
    await bring(editor, headers)
    for path in objects(editor):
        path.unlink()
    made = (await bring(editor, headers)).json()
    assert (await editor.client.get(made["url"])).content == picture()


async def test_the_same_key_is_the_same_upload(editor: Door) -> None:
    """Under one Idempotency-Key the same file is the same upload, at once too, and another file a 422."""
    headers = {**await editor.caller(), "Idempotency-Key": "one"}
    answers = await asyncio.gather(*(bring(editor, headers) for _ in range(4)))
    assert {each.status_code for each in answers} == {201}
    assert len({each.json()["uploadId"] for each in answers}) == 1
    replayed = [each.headers.get("Idempotent-Replayed") for each in answers]
    assert sorted(replayed, key=str) == [None, "true", "true", "true"]
    assert error(await bring(editor, headers, picture("blue"))) == (422, "idempotency_key_reused", "Idempotency-Key")
    day_ago = datetime.now(UTC) - timedelta(hours=25)
    async with editor.database.write() as tx:
        await tx.execute(upload_tables.uploads.update().values(created_at=day_ago))
    assert (await bring(editor, headers, picture("blue"))).status_code == 201


async def test_who_sees_what(editor: Door) -> None:
    """With `read` a key sees its team's uploads, with `generate` its own; it deletes its own, with `manage` any."""
    team = await editor.team("one")
    _, own = await editor.key(team, frozenset({Scope.GENERATE}))
    _, other = await editor.key(team, frozenset({Scope.GENERATE}))
    _, reader = await editor.key(team, frozenset({Scope.READ}))
    _, manager = await editor.key(team, frozenset({Scope.MANAGE}))
    stranger = await editor.caller("two", *Scope)
    made = (await bring(editor, own)).json()["uploadId"]
    place = f"{UPLOADS}/{made}"
    statuses = [(await editor.client.get(place, headers=each)).status_code for each in (own, other, reader, stranger)]
    assert statuses == [200, 404, 200, 404]
    lists = [
        (await editor.client.get(UPLOADS, headers=each)).json()["uploads"] for each in (own, other, reader, stranger)
    ]
    assert [len(each) for each in lists] == [1, 0, 1, 0]
    assert error(await bring(editor, reader)) == (403, "missing_scope", None)
    for each in (other, stranger):
        assert error(await editor.client.delete(place, headers=each)) == (404, "upload_not_found", "uploadId")
    assert (await editor.client.delete(place, headers=manager)).status_code == 204
    (noted,) = [row for row in await editor.rows(tables.audit) if row["action"] == "upload.delete"]
    assert noted["subject"] == made
    assert (await editor.client.get(f"{UPLOADS}/upload_%00", headers=own)).status_code == 404


async def test_a_list_in_pages(editor: Door) -> None:
    """Uploads are listed newest first, in pages that overlap nowhere; what is over its time is not among them."""
    headers = await editor.caller()
    made = [(await bring(editor, headers, picture(side=number + 1))).json()["uploadId"] for number in range(5)]
    async with editor.database.write() as tx:
        over = upload_tables.uploads.c.id == made[0]
        await tx.execute(upload_tables.uploads.update().where(over).values(expires_at=datetime.now(UTC)))
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (
            await editor.client.get(
                UPLOADS, headers=headers, params={"limit": 2, "cursor": cursor} if cursor else {"limit": 2}
            )
        ).json()
        seen += [each["uploadId"] for each in page["uploads"]]
        cursor = page["nextCursor"]
    assert seen == made[:0:-1]
    assert error(await editor.client.get(f"{UPLOADS}/{made[0]}", headers=headers))[0] == 404
    assert error(await editor.client.get(UPLOADS, headers=headers, params={"order": "up"})) == (
        400,
        "unknown_parameter",
        "order",
    )


async def test_a_forged_link(editor: Door) -> None:
    """A link of another upload's, of a picture's, or over its time is a 403."""
    headers = await editor.caller()
    first, second = [(await bring(editor, headers, picture(colour))).json()["url"] for colour in ("red", "blue")]
    swapped = first.partition("?")[0] + "?" + second.partition("?")[2]
    as_picture = first.replace("/uploads/", "/images/")
    assert error(await editor.client.get(swapped)) == (403, "bad_link", None)
    assert (await editor.client.get(first.partition("?")[0])).status_code == 403
    assert (await editor.client.get(as_picture)).status_code == 403


async def test_an_archive_that_is_away(editor: Door) -> None:
    """While the archive does not take a picture there is no upload, and the way is open as soon as it does."""
    headers, archive = await editor.caller(), Path(editor.settings.archive_url)
    away = editing.unmount(archive)
    assert error(await bring(editor, headers)) == (503, "archive_unavailable", None)
    assert await editor.rows(upload_tables.uploads) == []
    editing.mount(away, archive)
    assert (await bring(editor, headers)).status_code == 201


async def test_nothing_is_left_of_who_died_in_between(editor: Door) -> None:
    """Until its row is there, an object is named by a row that lets it be deleted; the upload takes that away."""
    headers = await editor.caller()
    assert (await bring(editor, headers)).status_code == 201
    assert await editor.rows(erasure_tables.erasures) == []
    async with editor.database.read() as connection:
        count = sa.select(sa.func.count()).select_from(upload_tables.uploads)
        assert (await connection.execute(count)).scalar_one() == 1
