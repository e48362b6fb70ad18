"""The shelf on a real Redis: a hit in one look, no purged answer after its purge, and SQL whenever Redis is silent."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from redis.asyncio import Redis

from gateway.clock import SystemClock
from gateway.reuse import hits, shelf
from gateway.reuse.answer import Answer, Picture
from gateway.reuse.entries import Purged
from gateway.reuse.places import Place
from gateway.reuse.shelf import LIFE_MS, Look, Shelf
from gateway.storage import keyspace, valkey
from tests.support.valkey import Valkey

PLACE = Place("team_a", "f" * 64)
AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ANSWER = Answer(
    version=5,
    team_id="team_a",
    key_id="k1",
    job_id="job_a",
    model="flux-2-max",
    cost_micros=2_000_000,
    ordered_at=AT,
    completed_at=AT,
    kept_at=AT,
    expires_at=None,
    checked_at=AT,
    pictures=(Picture("img_a", "pictures/a.png", "png", "image/png", 1024, 1024, 9, "00", 1),),
)
HIT = hits.field("team_a", "flux-2-max", AT)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client as the house opens one."""
    async with valkey.open(redis_url) as opened:
        yield opened


@pytest.fixture
def patient(redis: Redis) -> Shelf:
    """A shelf with time enough for a busy machine."""
    return Shelf(redis, SystemClock(), answer_within_s=20)


async def look(found: Shelf, hit: str = "") -> Look:
    """A look that Redis answers."""
    seen = await found.look(PLACE, hit)
    assert seen is not None
    return seen


def version(number: int) -> Answer:
    """The answer in that version."""
    return msgspec.structs.replace(ANSWER, version=number)


async def life_ms(redis: Redis) -> int:
    """For how long Redis keeps what stands in the place."""
    return int(await redis.pttl(keyspace.cached(PLACE.scope, PLACE.fingerprint)))


async def test_what_was_put_is_there_for_a_minute(patient: Shelf, redis: Redis) -> None:
    """An answer is found as it was put, for a minute from the look that went before it and no longer."""
    empty = await look(patient)
    assert (empty.answer, empty.left_ms) == (None, 0)
    assert await patient.put(PLACE, ANSWER, empty)
    found = await look(patient)
    assert found.answer == ANSWER
    assert 0 < found.left_ms <= await life_ms(redis) + 5_000 <= LIFE_MS + 5_000
    assert found.left_ms <= LIFE_MS


async def test_a_hit_is_counted_with_its_look(patient: Shelf, redis: Redis) -> None:
    """A look that is to be counted is, with what it saves, if it finds something, and never otherwise."""
    empty = await look(patient, HIT)
    await patient.put(PLACE, ANSWER, empty)
    await look(patient)
    for _ in range(3):
        await look(patient, HIT)
    assert await patient.count(HIT, 500_000)
    await hits.take(redis)
    (batch,) = await hits.waiting(redis)
    assert await hits.fetch(redis, batch) == [hits.Saved("team_a", "flux-2-max", "2026-11-23", 4, 6_500_000)]


async def test_the_minute_counts_from_the_look_and_from_the_archive(patient: Shelf, redis: Redis) -> None:
    """What was seen in the archive 50 seconds before the look is believed for ten more, after a minute not at all."""
    before = await look(patient)
    assert await patient.put(PLACE, ANSWER, before, checked_s_ago=50)
    assert await life_ms(redis) <= 10_000
    assert not await patient.put(PLACE, version(6), before, checked_s_ago=60)
    earlier = Look(None, before.at_ms - 5_000)
    assert await patient.put(PLACE, version(7), earlier)
    assert await life_ms(redis) <= LIFE_MS - 5_000


async def test_an_entry_is_not_believed_past_its_own_end(patient: Shelf, redis: Redis) -> None:
    """An entry with little life left is kept for no longer than that, and one without any not at all."""
    before = await look(patient)
    ends = datetime.fromtimestamp(before.at_ms / 1000, UTC) + timedelta(seconds=20)
    assert await patient.put(PLACE, msgspec.structs.replace(ANSWER, expires_at=ends), before)
    assert await life_ms(redis) <= 20_000
    over = msgspec.structs.replace(ANSWER, version=6, expires_at=AT - timedelta(days=9999))
    assert not await patient.put(PLACE, over, before)


async def test_who_took_too_long_puts_nothing(patient: Shelf) -> None:
    """An answer that was asked for long ago, or in a time that has not come, is not put."""
    now = await look(patient)
    for at_ms in (now.at_ms - shelf.PUT_WITHIN_MS - 1, now.at_ms + 3_600_000):
        assert not await patient.put(PLACE, ANSWER, Look(None, at_ms))
    assert (await look(patient)).answer is None


async def test_a_purged_answer_cannot_be_put_back(patient: Shelf) -> None:
    """A reader that asked SQL before the purge and comes after it is refused; a later answer is not."""
    reader = await look(patient)
    assert await patient.forget([Purged(PLACE, 5)])
    assert not await patient.put(PLACE, version(5), reader)
    assert not await patient.put(PLACE, version(4), reader)
    assert (await look(patient)).answer is None
    assert await patient.put(PLACE, version(6), reader)
    assert (await look(patient)).answer == version(6)


async def test_a_mark_outlives_every_reader(patient: Shelf, redis: Redis) -> None:
    """What a purge leaves behind stays for longer than a reader may take, and then goes by itself."""
    await patient.put(PLACE, ANSWER, await look(patient))
    await patient.forget([Purged(PLACE, 5)])
    assert (await look(patient)).answer is None
    assert 2 * shelf.PUT_WITHIN_MS < await life_ms(redis) <= shelf.MARK_MS


async def test_an_older_answer_takes_no_newer_ones_place(patient: Shelf) -> None:
    """Of two readers the slower one changes nothing, and a purge of the older answer leaves the newer one."""
    reader = await look(patient)
    await patient.put(PLACE, version(7), reader)
    assert not await patient.put(PLACE, version(6), reader)
    await patient.forget([Purged(PLACE, 6)])
    assert (await look(patient)).answer == version(7)
    await patient.forget([Purged(PLACE, 7)])
    assert (await look(patient)).answer is None


async def test_a_replaced_answer_makes_room(patient: Shelf) -> None:
    """Marking what lies below a new version takes the old copy away and lets the new one come."""
    reader = await look(patient)
    await patient.put(PLACE, version(7), reader)
    await patient.forget([Purged(PLACE, 8)])
    assert await patient.put(PLACE, version(9), reader)


async def test_a_purge_of_many_takes_them_all(patient: Shelf) -> None:
    """A purge of more than one script takes leaves none behind."""
    places = [Place("team_a", f"{number:064x}") for number in range(1_200)]
    before = await look(patient)
    for place in places[::100]:
        assert await patient.put(place, ANSWER, before)
    assert await patient.forget([Purged(place, 5) for place in places])
    for place in places[::100]:
        seen = await patient.look(place)
        assert seen is not None
        assert seen.answer is None


async def test_a_flush_loses_copies_and_nothing_else(patient: Shelf, valkey: Valkey) -> None:
    """After a flush the shelf is empty, takes its scripts anew, and is filled again."""
    await patient.put(PLACE, ANSWER, await look(patient))
    with valkey.client() as client:
        client.flushall()
        client.script_flush()
    empty = await look(patient)
    assert empty.answer is None
    assert await patient.put(PLACE, ANSWER, empty)
    assert (await look(patient)).answer == ANSWER


async def test_what_is_none_of_ours_is_no_answer(patient: Shelf, redis: Redis) -> None:
    """Bytes of another release are no answer, and a key of another kind is a silence: SQL is asked instead."""
    name = keyspace.cached(PLACE.scope, PLACE.fingerprint)
    async with redis.pipeline() as pipe:
        pipe.hset(name, mapping={"v": "1", "m": "1", "b": b"\xc1"})
        await pipe.execute()
    assert (await look(patient)).answer is None
    await redis.set(name, "text")
    assert await patient.look(PLACE) is None


async def test_a_silent_redis_costs_a_moment(valkey: Valkey, redis: Redis) -> None:
    """With Redis frozen or dead each look is answered at once with nothing, and no call raises; back, it is asked."""
    patient = Shelf(redis, SystemClock(), answer_within_s=20)
    before = await look(patient)
    await patient.put(PLACE, ANSWER, before)
    for break_it, mend_it in ((valkey.pause, valkey.resume), (valkey.kill, valkey.start)):
        hasty = Shelf(redis, SystemClock())
        break_it()
        begun = time.monotonic()
        assert await asyncio.gather(*(hasty.look(PLACE) for _ in range(50))) == [None] * 50
        assert not await hasty.put(PLACE, ANSWER, before)
        assert not await hasty.count(HIT, 1)
        assert not await hasty.forget([Purged(PLACE, 5)])
        assert time.monotonic() - begun < 2
        mend_it()
    assert (await look(Shelf(redis, SystemClock(), answer_within_s=20))).answer is None


class SlowClock(SystemClock):
    """A clock whose seconds the test turns on."""

    def __init__(self) -> None:
        self.at_s = 1000.0

    def monotonic(self) -> float:
        """The seconds the test has set."""
        return self.at_s


async def test_redis_rests_after_a_silence(redis: Redis) -> None:
    """After a silence looks do not ask for a second, a purge asks all the same, and then looks do again."""
    clock = SlowClock()
    kept = Shelf(redis, clock, answer_within_s=20)
    name = keyspace.cached(PLACE.scope, PLACE.fingerprint)
    await redis.set(name, "text")
    assert await kept.look(PLACE) is None
    await redis.delete(name)
    assert await kept.look(PLACE) is None
    assert await kept.forget([Purged(PLACE, 4)])
    clock.at_s += shelf.REST_S
    seen = await look(kept)
    assert seen.answer is None
    assert await kept.put(PLACE, ANSWER, seen)
