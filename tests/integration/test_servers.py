"""The real servers that tests talk to start, answer, fail as told and stop."""

import asyncio
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg  # type: ignore[import-untyped,unused-ignore]
import obstore
import pytest
import redis.asyncio
from obstore.exceptions import AlreadyExistsError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.support import ports, wait
from tests.support.emulator import EmulatorProcess
from tests.support.postgres import Postgres
from tests.support.s3 import RadosGateway
from tests.support.s3_bucket import Bucket
from tests.support.valkey import Valkey

SMALL_SHARE = 8


def open_store(bucket: Bucket, *, secret: str | None = None) -> S3Store:
    """Open a bucket as the archive would, with its own secret or another."""
    return S3Store(
        bucket.bucket,
        endpoint=bucket.endpoint_url,
        region=bucket.region,
        access_key_id=bucket.access_key_id,
        secret_access_key=secret or bucket.secret_access_key,
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )


async def answer_of(url: str) -> int:
    """Ask a database for one number."""
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            return int((await connection.execute(text("SELECT 42"))).scalar_one())
    finally:
        await engine.dispose()


async def test_redis_url_is_an_empty_server(valkey: Valkey, redis_url: str) -> None:
    """Each test finds its Valkey empty."""
    assert redis_url == valkey.url
    async with valkey.async_client() as client:
        assert await client.dbsize() == 0
        await client.set("left", "behind")


async def test_redis_url_is_empty_again(valkey: Valkey, redis_url: str) -> None:
    """What an earlier test wrote to Valkey is gone."""
    assert redis_url == valkey.url
    async with valkey.async_client() as client:
        assert await client.dbsize() == 0


@pytest.mark.usefixtures("redis_url")
async def test_paused_valkey_makes_clients_time_out(valkey: Valkey) -> None:
    """A paused Valkey answers nothing, and answers again when resumed."""
    async with valkey.async_client(timeout_s=0.2) as client:
        await client.ping()
        valkey.pause()
        with pytest.raises(redis.asyncio.TimeoutError):
            await client.ping()
        valkey.resume()
        await client.ping()


@pytest.mark.usefixtures("redis_url")
async def test_valkey_keeps_its_port_over_a_restart(valkey: Valkey) -> None:
    """A stopped Valkey refuses connections and comes back at the same address."""
    valkey.stop()
    assert not ports.answers(valkey.port)
    valkey.start()
    async with valkey.async_client() as client:
        assert await client.ping()


async def test_appendonly_valkey_keeps_what_it_had() -> None:
    """With appendonly, a crash of Valkey loses nothing that it acknowledged."""
    with Valkey(appendonly=True) as server:
        async with server.async_client() as client:
            await client.set("kept", "yes")
        server.kill()
        server.start()
        async with server.async_client() as client:
            assert await client.get("kept") == b"yes"


async def test_database_url_answers(database_url: str) -> None:
    """A test that asks for a database gets one on SQLite and one on PostgreSQL."""
    assert await answer_of(database_url) == 42


async def test_each_test_has_its_own_database(postgres: Postgres, postgres_url: str) -> None:
    """What is written to one PostgreSQL database is not in the next one, unless that copies it."""
    first = postgres_url.rsplit("/", 1)[1]
    postgres.run("CREATE TABLE here (n int)", database=first)
    second, third = postgres.create(), postgres.create(template=first)
    try:
        assert postgres.run("SELECT to_regclass('here')", database=second) == ""
        assert postgres.run("SELECT to_regclass('here')", database=third) == "here"
    finally:
        postgres.drop(second)
        postgres.drop(third)


@pytest.mark.parametrize("way", ["stop", "kill"])
async def test_postgres_comes_back(postgres: Postgres, postgres_url: str, way: str) -> None:
    """A stopped or crashed PostgreSQL drops its clients, and returns with its data at the same address."""
    plain = postgres_url.replace("+asyncpg", "")
    connection = await asyncpg.connect(plain)
    await connection.execute("CREATE TABLE kept (n int)")
    getattr(postgres, way)()
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await connection.fetchval("SELECT 1")
    connection.terminate()
    assert not ports.answers(postgres.port)
    postgres.start()
    again = await asyncpg.connect(plain)
    assert await again.fetchval("SELECT count(*) FROM kept") == 0
    await again.close()


async def test_right_s3_key_works(s3: Bucket) -> None:
    """What is put with the right key is read back as it was."""
    store = open_store(s3)
    await obstore.put_async(store, "a/picture.png", b"bytes")
    answer = await obstore.get_async(store, "a/picture.png")
    assert bytes(await answer.bytes_async()) == b"bytes"
    assert s3.request("HEAD", "a/picture.png")[0] == 200


async def test_wrong_s3_secret_is_refused(s3: Bucket) -> None:
    """The S3 server checks signatures: a wrong secret is refused."""
    with pytest.raises((PermissionDeniedError, UnauthenticatedError)):
        await obstore.put_async(open_store(s3, secret="not-the-secret"), "a", b"bytes")


async def test_create_only_put_has_one_winner(s3: Bucket) -> None:
    """Of many create-only puts of one name, one wins and the others are told so."""
    store = open_store(s3)

    async def put(content: bytes) -> bool:
        try:
            await obstore.put_async(store, "one", content, mode="create")
        except AlreadyExistsError:
            return False
        return True

    won = await asyncio.gather(*(put(f"writer {n}".encode()) for n in range(SMALL_SHARE)))
    assert sum(won) == 1
    answer = await obstore.get_async(store, "one")
    assert bytes(await answer.bytes_async()) == f"writer {won.index(True)}".encode()


async def test_s3_gateway_comes_back_with_its_objects(s3_server: RadosGateway, s3: Bucket) -> None:
    """A stopped S3 gateway refuses connections, and returns with what it stored."""
    await obstore.put_async(open_store(s3), "kept", b"bytes")
    s3_server.stop()
    assert not ports.answers(s3_server.port)
    s3_server.start()
    assert s3.request("HEAD", "kept")[0] == 200


def is_connected(port: int) -> bool:
    """Whether anybody's connection to that port of this machine is open."""
    _, *lines = Path("/proc/net/tcp").read_text().splitlines()
    rows = (line.split() for line in lines)
    return any(row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def test_an_s3_gateway_that_crashes_while_it_is_asked_is_started_and_asked_again(s3_server: RadosGateway) -> None:
    """A gateway that dies under a request for a bucket is started again, gives the bucket, and is said to have died."""
    s3_server.pause()
    with ThreadPoolExecutor(1) as asking:
        bucket = asking.submit(s3_server.create)
        wait.until_sync(lambda: is_connected(s3_server.port), timeout_s=10, what="a request that waits")
        s3_server.process.kill()
        assert bucket.result(60).request("HEAD")[0] == 200
    assert [broken.partition(", ")[2] for broken in s3_server.breaks[-1:]] == ["it ended with -9"]
    s3_server.breaks.pop()
    # Nor does it end with the thread that started it.
    assert s3_server.process.running
    assert s3_server.create().request("HEAD")[0] == 200
    assert s3_server.breaks == []


def test_each_test_has_its_own_bucket(s3_server: RadosGateway, s3: Bucket) -> None:
    """Two buckets of the server are two."""
    assert s3_server.create().bucket != s3.bucket


def test_emulator_is_reset(emulator: EmulatorProcess) -> None:
    """Each test finds an emulator without jobs."""
    assert emulator.books()["jobs"] == []


def test_no_server_outlives_its_removal() -> None:
    """When a server is removed, its process is gone and so is its folder."""
    server = Valkey()
    with server:
        pid, folder = server.process.pid, server.folder
    wait.until_sync(lambda: not folder.exists(), timeout_s=5, what="the folder gone")
    listed = subprocess.run(["ps", "-p", str(pid)], capture_output=True, check=False)
    assert listed.returncode != 0
