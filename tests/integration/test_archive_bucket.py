"""The archive over a real folder and a real S3 server: what was put is there, a failing store is not an empty one."""

import asyncio
import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway import errors
from gateway.archive import aws, bucket, presence
from gateway.settings import values
from tests.support.s3 import RadosGateway
from tests.support.s3_bucket import Bucket

KEY = "pictures/team_1/2026/01/02/job_1/0.png"
PICTURE = os.urandom(100_000)


def open_s3(s3: Bucket, prefix: str = "prod/torii", deadline_s: float = bucket.DEADLINE_S) -> bucket.Bucket:
    """The archive in that bucket, opened as a process would open it."""
    environ = {**s3.environment(), "TORII_ARCHIVE_URL": s3.url(prefix)}
    settings = values.read(values.Purpose.UP, environ, env_file=None)
    return bucket.open(settings.archive_url, aws.access(settings), deadline_s)


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
async def archive(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[bucket.Bucket]:
    """An empty archive: the test runs once over a folder and once over S3."""
    if request.param == "folder":
        opened = bucket.open(str(tmp_path / "new" / "archive"))
    else:
        opened = open_s3(request.getfixturevalue("s3"))
    yield opened
    opened.close()


def files(root: Path) -> set[str]:
    """Every file below a folder, by its path there."""
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


async def refusals(archive: bucket.Bucket) -> list[errors.ArchiveUnavailable]:
    """The errors of every verb on an archive that is not to be had."""
    deeds = (
        archive.get(KEY),
        archive.stream(KEY),
        archive.exists(KEY),
        archive.put(KEY, PICTURE, "image/png"),
        archive.delete(KEY),
        archive.check(),
    )
    results = await asyncio.gather(*deeds, return_exceptions=True)
    refused = [result for result in results if isinstance(result, errors.ArchiveUnavailable)]
    assert len(refused) == len(deeds), results
    return refused


async def whole(archive: bucket.Bucket, key: str) -> tuple[int, list[bytes]]:
    """The size and all pieces of a streamed object."""
    size, pieces = await archive.stream(key)
    return size, [piece async for piece in pieces]


async def test_what_was_put_is_there(archive: bucket.Bucket) -> None:
    """A picture comes back as it was put, whole or in pieces; putting it again changes nothing; deleting removes it."""
    assert not await archive.exists(KEY)
    for _ in range(2):
        await archive.put(KEY, PICTURE, "image/png")
        assert await archive.exists(KEY)
        assert await archive.get(KEY) == PICTURE
        assert await whole(archive, KEY) == (len(PICTURE), [PICTURE])
    for _ in range(2):
        await archive.delete(KEY)
        assert not await archive.exists(KEY)


async def test_large_pictures_come_in_pieces(archive: bucket.Bucket) -> None:
    """A picture larger than a piece is never held whole by its reader; the pieces make up the picture."""
    data = os.urandom(bucket.CHUNK_BYTES) * 2 + b"end"
    await archive.put(KEY, data, "image/png")
    size, pieces = await whole(archive, KEY)
    assert size == len(data)
    assert [len(piece) for piece in pieces] == [bucket.CHUNK_BYTES, bucket.CHUNK_BYTES, 3]
    assert hashlib.sha256(b"".join(pieces)).digest() == hashlib.sha256(data).digest()


async def test_a_missing_picture_is_not_a_failure(archive: bucket.Bucket) -> None:
    """What was never put is not found, before the first piece; deleting it is fine."""
    with pytest.raises(errors.ImageNotFound):
        await archive.get(KEY)
    with pytest.raises(errors.ImageNotFound):
        await archive.stream(KEY)
    await archive.delete(KEY)


async def test_a_picture_deleted_under_its_reader(archive: bucket.Bucket) -> None:
    """A reader learns that the picture went away between two pieces."""
    await archive.put(KEY, b"x" * (bucket.CHUNK_BYTES + 1), "image/png")
    _, pieces = await archive.stream(KEY)
    await archive.delete(KEY)
    assert len(await anext(pieces)) == bucket.CHUNK_BYTES
    with pytest.raises(errors.ImageNotFound):
        await anext(pieces)


async def test_check_leaves_nothing(archive: bucket.Bucket, tmp_path: Path) -> None:
    """A check writes, reads and deletes, also when several run at once."""
    await asyncio.gather(*(archive.check() for _ in range(5)))
    assert not [name for name in files(tmp_path) if "checks" in name]


async def test_bad_keys_and_empty_pictures_are_refused(archive: bucket.Bucket, tmp_path: Path) -> None:
    """A key that could leave the archive reaches no store, and nothing empty is kept as a picture."""
    for key in ("../outside", "a/../../outside", "/outside", ".torii-archive", ""):
        with pytest.raises(ValueError, match="not a key"):
            await archive.put(key, b"x", "image/png")
        with pytest.raises(ValueError, match="not a key"):
            await archive.get(key)
        with pytest.raises(ValueError, match="not a key"):
            await archive.delete(key)
    with pytest.raises(ValueError, match="empty"):
        await archive.put(KEY, b"", "image/png")
    assert not [name for name in files(tmp_path) if "outside" in name]


async def test_concurrent_writers_of_one_key(archive: bucket.Bucket) -> None:
    """However many workers archive the same picture, each reader sees it whole."""
    await archive.put(KEY, PICTURE, "image/png")
    writers = [archive.put(KEY, PICTURE, "image/png") for _ in range(20)]
    readers = [archive.get(KEY) for _ in range(20)]
    results = await asyncio.gather(*writers, *readers)
    assert {result for result in results if result is not None} == {PICTURE}


async def test_a_closed_archive_is_unavailable(archive: bucket.Bucket) -> None:
    """After closing, every verb says that the archive is not to be had."""
    archive.close()
    await refusals(archive)


async def test_a_folder_holds_the_picture_and_nothing_else(tmp_path: Path) -> None:
    """A put leaves one file beside the archive's mark, and no drafts; another process finds it."""
    first = bucket.open(str(tmp_path))
    await first.put(KEY, PICTURE, "image/png")
    assert files(tmp_path) == {KEY, ".torii-archive"}
    second = bucket.open(str(tmp_path))
    assert await second.get(KEY) == PICTURE
    first.close()
    second.close()


@pytest.mark.skipif(sys.platform != "linux", reason="strace is Linux's")
def test_a_put_is_on_the_disk_when_it_returns(tmp_path: Path) -> None:
    """The file is synced before it gets its name, and the folder after: a power cut finds the old, the new, or none."""
    calls = tmp_path / "calls"
    script = (
        "import pathlib, sys; from gateway.archive import folder\n"
        "folder.Folder(pathlib.Path(sys.argv[1])).write('a/b', b'x')"
    )
    command = ["strace", "-f", "-y", "-o", str(calls), "-e", "trace=fsync,rename,mkdir", sys.executable, "-c", script]
    try:
        subprocess.run([*command, str(tmp_path / "archive")], check=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("strace is not installed")
    seen = [line.split(maxsplit=1)[1] for line in calls.read_text().splitlines() if str(tmp_path) in line]
    put = seen[next(number for number, line in enumerate(seen) if line.startswith("mkdir") and "archive/a" in line) :]
    assert [line.partition("(")[0] for line in put] == ["mkdir", "fsync", "fsync", "rename", "fsync"]
    assert f"<{tmp_path}/archive>" in put[1]
    assert f"<{tmp_path}/archive/a/.b." in put[2]
    assert f"<{tmp_path}/archive/a>" in put[4]


async def test_a_failed_put_keeps_the_old_picture(tmp_path: Path) -> None:
    """When the new bytes cannot be written, what was there stays and no draft is left behind."""
    archive = bucket.open(str(tmp_path))
    await archive.put("a/b", b"old", "image/png")
    with pytest.raises(errors.ArchiveUnavailable) as caught:
        await archive.put("a/b/c", b"new", "image/png")
    assert "FileExistsError" in caught.value.__notes__[0] or "NotADirectory" in caught.value.__notes__[0]
    assert await archive.get("a/b") == b"old"
    assert files(tmp_path) == {".torii-archive", "a/b"}
    archive.close()


async def test_an_unmounted_folder_is_not_an_empty_archive(tmp_path: Path) -> None:
    """When the archive's disk is gone, pictures are unavailable, not lost, and none is written to the mount point."""
    archive = bucket.open(str(tmp_path / "disk"))
    await archive.put(KEY, PICTURE, "image/png")
    (tmp_path / "disk").rename(tmp_path / "elsewhere")
    (tmp_path / "disk").mkdir()
    await refusals(archive)
    assert not list((tmp_path / "disk").iterdir())
    (tmp_path / "disk").rmdir()
    (tmp_path / "elsewhere").rename(tmp_path / "disk")
    assert await archive.get(KEY) == PICTURE
    archive.close()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A folder under a file is an archive that cannot be opened."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(errors.ArchiveUnavailable):
        bucket.open(str(tmp_path / "file" / "archive"))


def test_a_process_that_ends_at_once_ends_well(tmp_path: Path) -> None:
    """A command that ends right after a call exits with 0: obstore's asyncio bridge would abort one run in ten."""
    script = (
        "import asyncio, sys; from gateway.archive import bucket\n"
        "async def main():\n    await bucket.open(sys.argv[1]).check()\n"
        "asyncio.run(main())"
    )
    for _ in range(10):
        subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=60)


async def test_s3_keeps_type_and_prefix(s3: Bucket) -> None:
    """On S3 the key lies under the URL's prefix, with the content type for whoever is redirected to it."""
    archive = open_s3(s3, "prod/torii")
    await archive.put(KEY, PICTURE, "image/png")
    assert s3.request("HEAD", f"prod/torii/{KEY}")[0] == 200
    bare = open_s3(s3, "")
    assert await bare.get(f"prod/torii/{KEY}") == PICTURE
    archive.close()
    bare.close()


async def test_a_missing_bucket_is_not_an_empty_archive(s3: Bucket) -> None:
    """A bucket that is not there makes pictures unavailable, not lost."""
    archive = open_s3(dataclasses.replace(s3, bucket="nowhere-to-be-found"))
    for error in await refusals(archive):
        assert "NoSuchBucket" in error.__notes__[0]
    archive.close()


async def test_refused_keys_show_in_the_note_alone(s3: Bucket) -> None:
    """A wrong secret makes the archive unavailable; the caller is not told why, and the log not the secret."""
    archive = open_s3(dataclasses.replace(s3, secret_access_key="wrong-secret-access-key"))
    with pytest.raises(errors.ArchiveUnavailable) as caught:
        await archive.check()
    assert caught.value.message == "The picture archive does not answer at the moment."
    assert "SignatureDoesNotMatch" in caught.value.__notes__[0]
    assert "wrong-secret-access-key" not in "".join(caught.value.__notes__)
    assert caught.value.__cause__ is None
    assert "wrong-secret-access-key" not in repr(aws.Access(secret_access_key="wrong-secret-access-key"))
    archive.close()


async def test_a_stopped_s3_server_comes_back(s3_server: RadosGateway, s3: Bucket) -> None:
    """While the server is away every verb fails in a few seconds; when it is back the same archive goes on."""
    archive = open_s3(s3)
    await archive.put(KEY, PICTURE, "image/png")
    s3_server.stop()
    begun = time.monotonic()
    await refusals(archive)
    assert time.monotonic() - begun < 10
    s3_server.start()
    assert await archive.get(KEY) == PICTURE
    archive.close()


async def test_a_frozen_s3_server_hangs_nobody(s3_server: RadosGateway, s3: Bucket) -> None:
    """A server that takes connections and answers nothing costs a caller the deadline, not more."""
    archive = open_s3(s3, deadline_s=0.5)
    s3_server.pause()
    begun = time.monotonic()
    for error in await refusals(archive):
        assert error.__notes__ == ["TimeoutError: no answer within 0.5 s"]
    assert time.monotonic() - begun < 3
    s3_server.resume()
    archive.close()


class Hands:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        """The time of day, which nobody here asks for."""
        return datetime(2026, 1, 2, tzinfo=UTC)

    def monotonic(self) -> float:
        """What the test says."""
        return self.seconds


async def test_presence_is_asked_once_a_minute(archive: bucket.Bucket) -> None:
    """Within a minute of being seen an object counts as there; what was missed is asked for anew each time."""
    clock = Hands()
    seen = presence.Presence(archive, clock)
    for _ in range(2):
        with pytest.raises(errors.ImageNotFound):
            await seen.require(KEY)
    await archive.put(KEY, PICTURE, "image/png")
    await seen.require(KEY)
    await archive.delete(KEY)
    clock.seconds = presence.GOOD_FOR_S - 0.1
    await seen.require(KEY)
    clock.seconds = presence.GOOD_FOR_S
    with pytest.raises(errors.ImageNotFound):
        await seen.require(KEY)
    clock.seconds = 0.0
    with pytest.raises(errors.ImageNotFound):
        await seen.require(KEY)


async def test_presence_remembers_within_bounds(tmp_path: Path) -> None:
    """Of very many objects the first ones are forgotten, and asked for again."""
    archive = bucket.open(str(tmp_path / "archive"))
    seen = presence.Presence(archive, Hands())
    files = [f"pictures/{number}.png" for number in range(presence.REMEMBERED_MAX + 1)]
    (tmp_path / "archive" / "pictures").mkdir()
    for name in files:
        (tmp_path / "archive" / name).write_bytes(b"p")
        await seen.require(name)
    shutil.rmtree(tmp_path / "archive" / "pictures")
    await seen.require(files[-1])
    await seen.require(files[1])
    with pytest.raises(errors.ImageNotFound):
        await seen.require(files[0])
    archive.close()


async def test_a_folder_has_no_addresses(tmp_path: Path) -> None:
    """Of a folder no address is made, and of a bucket none that lives too long or is for no key of ours."""
    folder = bucket.open(str(tmp_path / "archive"))
    bare = bucket.open("s3://pictures", aws.Access("id", "secret", endpoint_url="http://127.0.0.1:9"))
    with pytest.raises(ValueError, match="no such address"):
        await folder.url(KEY, 60)
    for life_s in (0, -1, bucket.URL_LIFE_S_MAX + 1):
        with pytest.raises(ValueError, match="no such address"):
            await bare.url(KEY, life_s)
    with pytest.raises(ValueError, match="not a key"):
        await bare.url("../other/0.png", 60)
    assert (await bare.url(KEY, 60)).startswith(f"http://127.0.0.1:9/pictures/{KEY}?X-Amz-Algorithm=AWS4-HMAC-SHA256&")
    folder.close()
    bare.close()
