"""Where callers wait for their jobs, in one process of the front door: thousands of them, and one question to SQL.

A seat is taken before the job is read, so that no change falls between the two. All waited jobs are read in one
statement every 2 s, and at once those that a message says have changed: a message that is lost costs 2 s. Messages
come over Redis, best effort, from whoever committed the change (``Queue``); without Redis the room goes on by SQL.

Knows versions and states alone: what a caller is shown is read by whoever sat. Keeps nothing of a job's content, so a
seat is small, and a caller who leaves costs nothing and cancels nothing.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import msgspec
import sqlalchemy as sa
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.clock import Clock
from gateway.jobs.states import ENDED, State
from gateway.storage import keyspace, tables
from gateway.storage.database import Database

#: Between two readings of all waited jobs; what a lost message costs.
ROUND_S: Final = 2.0
#: Waiters of one key in one process.
MOST_OF_A_KEY: Final = 500
#: A first look at those who came in meanwhile, together.
_GATHER_S: Final = 0.01
#: So many who were rung read their jobs at once; the others stand in line, not in the pool's time limit.
_READERS: Final = 8
_AGAIN_S: Final = 1.0
#: A quiet channel is listened to in turns of this length.
_LISTEN_S: Final = 5.0

_job = tables.jobs
_leader = tables.jobs.alias("leader")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was seen of a job at a moment; another sighting means that it looks different to its caller."""

    version: int
    state: State
    #: The job whose state it shows, if it follows one, and how that one stands.
    leader: str | None = None
    leader_version: int | None = None
    leader_state: State | None = None
    #: Its submission has been unknown for so long that its caller is told.
    told: bool = False

    @property
    def done(self) -> bool:
        """Whether its caller has something to be told."""
        return self.told or self.state in ENDED


class Seat:
    """One waiter. Rung when the job changed, when the caller left, and when the room closes."""

    __slots__ = ("_bell", "_room", "job_id", "key_id", "left", "sighting")

    def __init__(self, room: "WaitingRoom", job_id: str, key_id: str) -> None:
        self.job_id = job_id
        self.key_id = key_id
        self.sighting: Sighting | None = None
        #: The caller is not there any more.
        self.left = False
        self._room = room
        self._bell = asyncio.Event()

    @property
    def over(self) -> bool:
        """Whether there is nothing to wait for: nobody listens, or the process is about to end."""
        return self.left or self._room.closed

    async def changed(self, since: Sighting | None, within_s: float) -> bool:
        """Wait until the job is seen to be otherwise than ``since``; false after that time, or when it is ``over``.

        ``since`` none waits for the first sighting.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(max(within_s, 0)):
                while self.sighting == since and not self.over:
                    self._bell.clear()
                    await self._bell.wait()
        return self.sighting != since and not self.over

    def leave(self) -> None:
        """Say that the caller has gone."""
        self.left = True
        self._bell.set()

    def ring(self) -> None:
        """Have whoever sits here look up."""
        self._bell.set()


class WaitingRoom:
    """The seats of one process; works only while somebody sits. To be closed before the database is."""

    def __init__(self, database: Database, redis: Redis, clock: Clock, unknown_wait_s: int) -> None:
        self._database = database
        self._redis = redis
        self._clock = clock
        self._unknown_wait = timedelta(seconds=unknown_wait_s)
        self._seats: dict[str, set[Seat]] = {}
        self._followed: dict[str, set[str]] = {}
        self._of_key: Counter[str] = Counter()
        self._fresh: set[str] = set()
        self._stir = asyncio.Event()
        self._readers = asyncio.Semaphore(_READERS)
        self._tasks: list[asyncio.Task[None]] = []
        self.closed = False

    @property
    def seated(self) -> int:
        """How many wait."""
        return self._of_key.total()

    def full(self, key_id: str) -> bool:
        """Whether so many of that key wait that no other may."""
        return self._of_key[key_id] >= MOST_OF_A_KEY

    def require_seat(self, key_id: str) -> None:
        """Return if one more of the key may wait; else ``RateLimited``."""
        if self.full(key_id):
            raise errors.RateLimited(
                f"{MOST_OF_A_KEY} requests of this key wait already", retry_after_s=1, limit=errors.Limit.WAITERS
            )

    @contextmanager
    def seat(self, job_id: str, key_id: str) -> Iterator[Seat]:
        """Sit down to wait for a job; ``RateLimited`` when too many of the key do already."""
        self.require_seat(key_id)
        taken = Seat(self, job_id, key_id)
        self._seats.setdefault(job_id, set()).add(taken)
        self._of_key[key_id] += 1
        self._fresh.add(job_id)
        self._open()
        self._stir.set()
        try:
            yield taken
        finally:
            self._leave(taken)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Stand in line to read: who is rung together must not fill the pool of connections together."""
        async with self._readers:
            yield

    def dismiss(self) -> None:
        """Let nobody wait from now on: the process is about to end. Everyone is answered with what there is."""
        self.closed = True
        for seats in self._seats.values():
            for seat in seats:
                seat.ring()

    async def close(self) -> None:
        """Dismiss everyone and stop listening."""
        self.dismiss()
        await self._end()

    def _open(self) -> None:
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._listen())]

    def _leave(self, seat: Seat) -> None:
        seats = self._seats[seat.job_id]
        seats.discard(seat)
        self._of_key[seat.key_id] -= 1
        if not self._of_key[seat.key_id]:
            del self._of_key[seat.key_id]
        if not seats:
            del self._seats[seat.job_id]
            self._fresh.discard(seat.job_id)
            self._unfollow(seat.job_id, seat.sighting)

    async def _end(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self) -> None:
        """Read what is fresh at once, and everything every ``ROUND_S``."""
        due_s = self._clock.monotonic()
        while True:
            left_s = due_s - self._clock.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(left_s, 0)):
                    await self._stir.wait()
            # Whoever came in the same moment is seen to together.
            await asyncio.sleep(_GATHER_S)
            self._stir.clear()
            fresh, self._fresh = self._fresh, set()
            if self._clock.monotonic() >= due_s:
                due_s = self._clock.monotonic() + ROUND_S
                fresh = set(self._seats)
            try:
                await self._look(fresh & self._seats.keys())
            except (errors.StoreUnavailable, sa.exc.SQLAlchemyError) as error:
                # All of them are read again in the next round.
                log.warning("waiters_not_read", waiting=self.seated, reason=type(error).__name__)
            except Exception:
                # Such as a state of the next release: one row that cannot be read must not silence all others for good.
                log.exception("waiters_not_read", waiting=self.seated)

    async def _look(self, job_ids: set[str]) -> None:
        if not job_ids:
            return
        now = self._clock.now()
        async with self._database.read() as connection:
            rows = (await connection.execute(_question(connection.dialect.name), _asked(connection, job_ids))).all()
        for row in rows:
            seen = self._sighting(row, now)
            for seat in self._seats.get(row.id, ()):
                if seat.sighting != seen:
                    self._unfollow(row.id, seat.sighting)
                    seat.sighting = seen
                    seat.ring()
            if seen.leader is not None and row.id in self._seats:
                self._followed.setdefault(seen.leader, set()).add(row.id)

    def _sighting(self, row: sa.Row[Any], now: datetime) -> Sighting:
        follows = row.leader_state is not None and State(row.state) not in ENDED
        shown, since = (row.leader_state, row.leader_submitted_at) if follows else (row.state, row.submitted_at)
        unknown = State(shown) is State.SUBMISSION_UNKNOWN and since is not None
        told = unknown and now - since >= self._unknown_wait
        if not follows:
            return Sighting(row.version, State(row.state), told=told)
        return Sighting(row.version, State(row.state), row.follows, row.leader_version, State(row.leader_state), told)

    def _unfollow(self, job_id: str, seen: Sighting | None) -> None:
        if seen is None or seen.leader is None or seen.leader not in self._followed:
            return
        followers = self._followed[seen.leader]
        followers.discard(job_id)
        if not followers:
            del self._followed[seen.leader]

    def heard(self, job_ids: Iterable[str]) -> None:
        """Have these read soon, if somebody waits for them or for one that follows them."""
        for job_id in job_ids:
            concerned = {job_id, *self._followed.get(job_id, ())} & self._seats.keys()
            if concerned:
                self._fresh |= concerned
                self._stir.set()

    async def _listen(self) -> None:
        """Hear of changes; whatever Redis does, the rounds go on."""
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
                    await channel.subscribe(keyspace.CHANGED)
                    # What was said before is found by reading once more.
                    self._fresh |= self._seats.keys()
                    self._stir.set()
                    while True:
                        message = await channel.get_message(timeout=_LISTEN_S)
                        if message is not None:
                            self.heard([message["data"].decode(errors="replace")])
            except (RedisError, OSError) as error:
                log.warning("changes_not_heard", reason=type(error).__name__)
                await asyncio.sleep(_AGAIN_S)


@lru_cache
def _question(dialect: str) -> sa.Select[Any]:
    """The sightings of many jobs by one parameter, whatever their number."""
    if dialect == "postgresql":
        wanted: sa.ColumnElement[Any] = sa.func.any(sa.bindparam("ids", type_=sa.ARRAY(sa.Text)))
        chosen = _job.c.id == wanted
    else:
        given = sa.func.json_each(sa.bindparam("ids", type_=sa.Text)).table_valued("value")
        chosen = _job.c.id.in_(sa.select(given.c.value))
    return (
        sa.select(
            _job.c.id,
            _job.c.version,
            _job.c.state,
            _job.c.submitted_at,
            _job.c.follows,
            _leader.c.version.label("leader_version"),
            _leader.c.state.label("leader_state"),
            _leader.c.submitted_at.label("leader_submitted_at"),
        )
        .select_from(_job.outerjoin(_leader, _leader.c.id == _job.c.follows))
        .where(chosen)
    )


def _asked(connection: AsyncConnection, job_ids: set[str]) -> dict[str, object]:
    if connection.dialect.name == "postgresql":
        return {"ids": sorted(job_ids)}
    return {"ids": msgspec.json.encode(sorted(job_ids)).decode()}
