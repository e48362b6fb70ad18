"""Recognising keys at the front door: what is remembered, for how long, how much of it, and who is slowed."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from gateway import errors
from gateway.clock import SystemClock
from gateway.reuse import choices
from gateway.settings import keyring
from gateway.storage import database, schema, tables
from gateway.storage.database import Database
from gateway.tenancy import keys, keytext, recognition, scopes, teams
from gateway.tenancy.choices import Choices
from gateway.tenancy.keys import Key
from gateway.tenancy.keytext import KeyText
from gateway.tenancy.recognition import Recogniser
from gateway.tenancy.teams import Team
from tests.api.door import Door, environment
from tests.support import ports, wait
from tests.support.postgres import Postgres

SECRET, OTHER = (SecretStr(letter * 40) for letter in "ab")
RING = keyring.derive([SECRET]).api_keys
HERE = "192.0.2.1"


class SetClock:
    """A clock whose monotonic time stands where the test puts it."""

    def __init__(self) -> None:
        self.at_s = 1_000.0
        self.later = timedelta(0)

    def now(self) -> datetime:
        """The time of day, moved by what the test says."""
        return datetime.now(UTC) + self.later

    def monotonic(self) -> float:
        """Where the test put it."""
        return self.at_s


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Database]:
    """A migrated database."""
    opened = database.open(database_url)
    await schema.migrate(opened)
    yield opened
    await opened.close()


@pytest.fixture
async def sqlite(sqlite_url: str) -> AsyncIterator[Database]:
    """A migrated SQLite database, for what does not depend on the database."""
    opened = database.open(sqlite_url)
    await schema.migrate(opened)
    yield opened
    await opened.close()


@asynccontextmanager
async def recogniser(
    store: Database, clock: SetClock | SystemClock | None = None, secrets: tuple[SecretStr, ...] = (SECRET,)
) -> AsyncIterator[Recogniser]:
    """One process's recogniser."""
    opened = Recogniser(store, keyring.derive(secrets).api_keys, clock or SystemClock())
    try:
        yield opened
    finally:
        await opened.close()


async def made(store: Database, name: str = "drawing", expires_at: datetime | None = None) -> tuple[Team, Key, KeyText]:
    """A team with a key."""
    now = datetime.now(UTC)
    async with store.write() as tx:
        team = await teams.create(tx, name, now)
        key, text = await keys.create(tx, team.id, "ci", scopes.DEFAULT, RING, now, expires_at, rpm=7)
    return team, key, text


async def known(by: Recogniser, text: KeyText, address: str = HERE) -> bool:
    """Whether the key is let in."""
    try:
        await by.recognise(text.reveal(), address)
    except errors.NotAuthenticated:
        return False
    return True


async def test_a_caller_comes_with_its_teams_limits(store: Database) -> None:
    """One look at the store gives the key, and all that an order of its team is held to."""
    team, key, text = await made(store)
    async with store.write() as tx:
        await teams.limit(tx, team.id, {"rpm": 9, "concurrency": 4, "queue_depth": 11, "max_queue_s": 60})
        await teams.set_policy(tx, team.id, {"maxResolution": "1 MP"})
        await teams.drain(tx, team.id, datetime.now(UTC))
    async with recogniser(store) as one:
        caller = await one.recognise(text.reveal(), HERE)
    assert caller.key == key
    assert caller.scopes == scopes.DEFAULT
    assert caller.team == recognition.TeamLimits(team.id, 9, 4, 11, 60, {"maxResolution": "1 MP"}, drained=True)


async def test_a_caller_comes_with_what_its_team_chose_about_reuse(store: Database) -> None:
    """The same look gives the team's choices; a team that chose nothing has the defaults."""
    team, _, text = await made(store)
    async with recogniser(store) as one:
        assert (await one.recognise(text.reveal(), HERE)).team.reuse == Choices()
    async with store.write() as tx:
        await choices.put(tx, team.id, Choices(ttl_s=60, unseeded=True))
    async with recogniser(store) as one:
        assert (await one.recognise(text.reveal(), HERE)).team.reuse == Choices(ttl_s=60, unseeded=True)
    async with store.write() as tx:
        await choices.put(tx, team.id, Choices(pool=True))
    async with recogniser(store) as one:
        assert (await one.recognise(text.reveal(), HERE)).team.reuse == Choices(pool=True)


async def test_no_policy_is_none(store: Database) -> None:
    """A team that never had a policy, and one whose policy was taken away, come without one."""
    team, _, text = await made(store)
    async with recogniser(store) as one:
        assert (await one.recognise(text.reveal(), HERE)).team.policy is None
    async with store.write() as tx:
        await teams.set_policy(tx, team.id, {})
        await teams.set_policy(tx, team.id, None)
    async with recogniser(store) as one:
        assert (await one.recognise(text.reveal(), HERE)).team.policy is None


async def test_a_revoked_key_is_refused_everywhere_within_a_second(store: Database) -> None:
    """Two processes that just let a key in refuse it within a second of its revocation."""
    _, key, text = await made(store)
    async with recogniser(store) as one, recogniser(store) as two:
        assert await known(one, text)
        assert await known(two, text)
        async with store.write() as tx:
            await keys.revoke(tx, key.team_id, key.id, datetime.now(UTC))
        await asyncio.gather(*(_refused_within_a_second(each, text) for each in (one, two)))


async def _refused_within_a_second(by: Recogniser, text: KeyText) -> None:
    async def refused() -> bool:
        return not await known(by, text)

    await wait.until(refused, timeout_s=1.0, what="the key is refused")


@pytest.mark.parametrize("end", ["delete", "revoke_all"])
async def test_the_keys_of_a_team_that_ended_are_refused(sqlite: Database, end: str) -> None:
    """When a team is deleted, or its keys are revoked together, what was remembered of them ends as soon."""
    team, _, text = await made(sqlite)
    clock = SetClock()
    async with recogniser(sqlite, clock) as one:
        assert await known(one, text)
        async with sqlite.write() as tx:
            await (teams.delete if end == "delete" else keys.revoke_all)(tx, team.id, datetime.now(UTC))
        clock.at_s += recognition.KNOWN_FOR_S
        assert not await known(one, text)


async def test_an_expiry_is_kept_to_the_moment(sqlite: Database) -> None:
    """A key that is remembered is refused from its expiry on, not only when it is forgotten."""
    _, _, text = await made(sqlite, expires_at=datetime.now(UTC) + timedelta(hours=1))
    clock = SetClock()
    async with recogniser(sqlite, clock) as one:
        assert await known(one, text)
        clock.later = timedelta(hours=1)
        assert not await known(one, text)


async def test_both_keys_of_a_rotation_are_known_in_its_grace(sqlite: Database) -> None:
    """In the grace of a rotation both keys are let in, after it the successor alone."""
    _, key, text = await made(sqlite)
    clock = SetClock()
    async with recogniser(sqlite, clock) as one:
        assert await known(one, text)
        async with sqlite.write() as tx:
            _, new_text = await keys.rotate(tx, key.team_id, key.id, timedelta(hours=1), RING, clock.now())
        clock.at_s += recognition.KNOWN_FOR_S
        assert (await known(one, text), await known(one, new_text)) == (True, True)
        clock.later = timedelta(hours=1)
        assert (await known(one, text), await known(one, new_text)) == (False, True)


async def test_an_unknown_key_is_remembered_as_unknown_for_a_moment(sqlite: Database) -> None:
    """What the store did not know it is not asked for again at once, and is asked for again soon."""
    _, key, _ = await made(sqlite)
    clock, text = SetClock(), keytext.mint()
    async with recogniser(sqlite, clock) as one:
        assert not await known(one, text)
        async with sqlite.write() as tx:
            await tx.execute(
                tables.api_keys.insert().values(
                    id=text.id,
                    team_id=key.team_id,
                    name="late",
                    digest=keytext.digest(RING[0].key, text),
                    digest_key=RING[0].id,
                    scopes="read",
                    created_at=clock.now(),
                )
            )
        assert not await known(one, text)
        clock.at_s += recognition.UNKNOWN_FOR_S
        assert await known(one, text)


async def test_a_wrong_secret_is_refused_with_and_without_memory(sqlite: Database) -> None:
    """A real key's id with another secret is refused whether the key is remembered or not, and hurts the key not."""
    _, _, text = await made(sqlite)
    forged = KeyText(text.id, keytext.mint().secret)
    async with recogniser(sqlite) as one:
        assert not await known(one, forged)
        assert await known(one, text)
        assert not await known(one, forged)
        assert await known(one, text)


async def test_a_key_made_under_an_older_secret_moves_to_the_current_one(store: Database) -> None:
    """While the secret rotates an older key is let in, and its use makes its digest anew."""
    _, key, text = await made(store)
    async with recogniser(store, secrets=(OTHER, SECRET)) as one:
        assert await known(one, text)
    async with recogniser(store, secrets=(OTHER,)) as two:
        assert await known(two, text)
    async with store.read() as connection:
        found = await keys.find(connection, key.team_id, key.id)
    assert found.last_used_at is not None


@pytest.mark.postgres
async def test_a_store_that_does_not_answer_is_never_an_unknown_key(postgres: Postgres, postgres_url: str) -> None:
    """With the database gone, many at once read `store_unavailable`, and nothing is remembered of that."""
    store = database.open(postgres_url)
    await schema.migrate(store)
    _, _, text = await made(store)
    clock = SetClock()
    try:
        async with recogniser(store, clock) as one:
            assert await known(one, text)
            postgres.kill()
            assert await known(one, text)
            clock.at_s += recognition.KNOWN_FOR_S
            begun = time.monotonic()
            answers = await asyncio.gather(*(known(one, text) for _ in range(50)), return_exceptions=True)
            assert [type(answer) for answer in answers] == [errors.StoreUnavailable] * 50
            assert time.monotonic() - begun < 5
            postgres.start()
            assert await known(one, text)
    finally:
        postgres.ensure()
        await store.close()


async def test_those_who_ask_at_once_ask_once(sqlite: Database) -> None:
    """When what was remembered is over, a crowd with one key asks the store one question."""
    _, _, text = await made(sqlite)
    with questions() as asked:
        async with recogniser(sqlite) as one:
            assert all(await asyncio.gather(*(known(one, text) for _ in range(200))))
    assert len(asked) == 1


@contextmanager
def questions() -> Iterator[list[str]]:
    """The questions for keys that any database is asked meanwhile."""
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "FROM api_keys" in statement:
            asked.append(statement)

    sa.event.listen(sa.engine.Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        sa.event.remove(sa.engine.Engine, "before_cursor_execute", note)


async def test_one_who_leaves_does_not_spoil_it_for_the_others(sqlite: Database) -> None:
    """A caller that disconnects while the store is asked leaves the answer to those who wait with it."""
    _, _, text = await made(sqlite)
    async with recogniser(sqlite) as one:
        first = asyncio.create_task(known(one, text))
        await asyncio.sleep(0)
        others = [asyncio.create_task(known(one, text)) for _ in range(5)]
        await asyncio.sleep(0)
        first.cancel()
        assert await asyncio.gather(*others) == [True] * 5


async def test_memory_is_bounded_whatever_is_tried(sqlite: Database) -> None:
    """Ten thousand random keys from as many addresses leave no more in memory than the maxima, and good keys known."""
    _, _, text = await made(sqlite)
    async with recogniser(sqlite, SetClock()) as one:
        assert await known(one, text)
        for begin in range(0, 10_000, 100):
            tried = (known(one, keytext.mint(), f"10.{n >> 8}.{n & 255}.1") for n in range(begin, begin + 100))
            assert not any(await asyncio.gather(*tried))
        assert one.remembered == 1 + recognition.UNKNOWN_MAX + recognition.ADDRESSES_MAX
        assert await known(one, text)


async def test_random_keys_add_no_series_and_hold_up_nobody(sqlite_url: str, redis_url: str, tmp_path: Path) -> None:
    """At the front door many unknown keys all read 401, some after a while, add no series, and slow no good key."""
    async with Door(environment(sqlite_url, redis_url, str(tmp_path / "archive"), ports.free_one())) as door:
        good = await door.caller()

        async def asked(headers: dict[str, str]) -> int:
            return (await door.client.get("/api/v1/account", headers=headers)).status_code

        async def series() -> set[str]:
            text = (await door.client.get("/metrics")).text
            return {line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")}

        assert [await asked(good), await asked({"Authorization": "Bearer x"})] == [200, 401]
        await series()
        before = await series()
        tried = [{"Authorization": f"Bearer {keytext.mint().reveal()}"} for _ in range(80)]
        crowd = asyncio.gather(*(asked(headers) for headers in tried))
        begun = time.monotonic()
        assert await asked(good) == 200
        took_s = time.monotonic() - begun
        assert set(await crowd) == {401}
        assert took_s < time.monotonic() - begun
        assert await series() == before


async def test_a_typo_asks_nobody_and_counts_as_no_guess(sqlite: Database) -> None:
    """A text whose checksum is wrong is refused without a question, a memory or a wait."""
    async with recogniser(sqlite) as one:
        typo = keytext.mint().reveal()[:-1] + "~"
        begun = time.monotonic()
        for _ in range(1_000):
            with pytest.raises(errors.NotAuthenticated):
                await one.recognise(typo, HERE)
        assert one.remembered == 0
        assert time.monotonic() - begun < 5


async def test_who_tries_many_keys_is_slowed_and_nobody_else(sqlite: Database) -> None:
    """Wrong keys of one address wait longer and longer up to a second; other addresses and good keys do not."""
    _, _, text = await made(sqlite)
    forged = KeyText(text.id, keytext.mint().secret)

    async def took_s(tried: KeyText, address: str) -> float:
        begun = time.monotonic()
        await known(one, tried, address)
        return time.monotonic() - begun

    async with recogniser(sqlite, SetClock()) as one:
        for _ in range(recognition.FREE_GUESSES):
            await known(one, forged, "2001:db8::1")
        slowed = await asyncio.gather(*(took_s(forged, f"2001:db8::{n}") for n in range(2, 22)))
        assert min(slowed) >= recognition.SLOWER_BY_S
        assert max(slowed) >= recognition.SLOWEST_S
        assert sum(slowed[:5]) < sum(slowed[-5:])
        good, elsewhere = await took_s(text, "2001:db8::1"), await took_s(forged, "2001:db8:0:1::1")
        assert max(good, elsewhere) < recognition.SLOWEST_S


async def test_no_more_wait_than_may(sqlite: Database) -> None:
    """Beyond a number of slowed answers at once, the rest is `rate_limited`, and a minute later all is forgotten."""
    _, _, text = await made(sqlite)
    clock, forged = SetClock(), KeyText(text.id, keytext.mint().secret)
    crowd = recognition.FREE_GUESSES + recognition.WAITING_MAX + 50
    async with recogniser(sqlite, clock) as one:
        answers = await asyncio.gather(*(known(one, forged) for _ in range(crowd)), return_exceptions=True)
        sent_away = [answer for answer in answers if isinstance(answer, errors.RateLimited)]
        assert len(sent_away) == 50
        assert sent_away[0].retry_after_s == 1
        assert await known(one, text)
        clock.at_s += recognition.GUESSES_WINDOW_S
        begun = time.monotonic()
        assert not await known(one, forged)
        assert time.monotonic() - begun < recognition.SLOWEST_S
