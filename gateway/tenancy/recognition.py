"""Who shows a key, for one process of the front door: asked of the store, and remembered for less than a second.

A revocation is in force everywhere within a second, since nothing older than that is believed. "No such key" is said
only when the store said so. What is remembered is bounded, whatever keys and addresses the world tries; who tries wrong
ones is slowed by address, never by key, and nobody with a good key ever is.
"""

import asyncio
import hashlib
import hmac
import ipaddress
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.clock import Clock
from gateway.settings.keyring import DerivedKey
from gateway.storage import reuse_tables, tables
from gateway.storage.database import Database
from gateway.tenancy import keys, keytext
from gateway.tenancy.choices import Choices
from gateway.tenancy.keys import Key
from gateway.tenancy.keytext import KeyText
from gateway.tenancy.scopes import Scope

#: Half of the second within which a revocation is in force everywhere: the other half is for a busy machine.
KNOWN_FOR_S: Final = 0.5
#: Who asks for a key that was read this long ago has it read anew, and does not wait for that.
RENEWED_AFTER_S: Final = 0.35
#: A key that is made after somebody asked for it has to wait this long; nobody guesses an id before it is made.
UNKNOWN_FOR_S: Final = 1.0
KNOWN_MAX: Final = 10_000
UNKNOWN_MAX: Final = 4_096
ADDRESSES_MAX: Final = 4_096
#: Wrong keys of one address within a minute that are answered at once; each further one waits a little longer.
FREE_GUESSES: Final = 20
GUESSES_WINDOW_S: Final = 60.0
SLOWER_BY_S: Final = 0.1
SLOWEST_S: Final = 1.0
#: More wrong keys than this do not wait at once: the rest is told to come back.
WAITING_MAX: Final = 256
#: Notes of use that are still being written when the process ends are given this long.
LAST_NOTES_S: Final = 2.0

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True)
class TeamLimits:
    """What an order of the team is held to; read with the key, in the same row."""

    id: str
    rpm: int
    concurrency: int | None
    queue_depth: int
    max_queue_s: int
    #: As the column has it; ``gateway.admission.policy`` reads it.
    policy: Mapping[str, Any] | None
    #: It takes no new orders.
    drained: bool
    #: It is told of each job's end at an address of its own.
    told: bool = False
    #: What it has chosen about the reuse of its pictures.
    reuse: Choices = Choices()  # noqa: RUF009  frozen


@dataclass(frozen=True)
class Caller:
    """Who asks: a living key, and what its team is held to."""

    key: Key
    team: TeamLimits

    @property
    def scopes(self) -> frozenset[Scope]:
        """What the key may do."""
        return self.key.scopes


@dataclass
class _Found:
    """A key's row as it was at a moment."""

    asked_s: float
    caller: Caller
    digest: bytes
    digest_key: str
    #: Its use is being noted, was, or need not be.
    noted: bool = False
    #: The hash of the text that was found to be its.
    proof: bytes = b""


@dataclass
class _Guesses:
    """Wrong keys of one address since a moment."""

    since_s: float
    count: int = 0


class _Shelf(Generic[K, V]):
    """Things remembered for a while. Full, it forgets the oldest."""

    def __init__(self, capacity: int, life_s: float) -> None:
        self._capacity = capacity
        self._life_s = life_s
        self._things: dict[K, tuple[float, V]] = {}

    def __len__(self) -> int:
        return len(self._things)

    def get(self, name: K, now_s: float) -> V | None:
        """What was put there, if it is not too old."""
        found = self._things.get(name)
        if found is None:
            return None
        if now_s - found[0] >= self._life_s:
            del self._things[name]
            return None
        return found[1]

    def drop(self, name: K) -> None:
        """Forget it."""
        self._things.pop(name, None)

    def put(self, name: K, thing: V, at_s: float) -> None:
        """Remember it as it was at that moment."""
        self._things.pop(name, None)
        while len(self._things) >= self._capacity:
            del self._things[next(iter(self._things))]
        self._things[name] = (at_s, thing)


class Recogniser:
    """Recognises keys; one for each process, closed before the database is."""

    def __init__(self, database: Database, ring: tuple[DerivedKey, ...], clock: Clock) -> None:
        self._database = database
        self._ring = ring
        self._clock = clock
        self._known: _Shelf[str, _Found] = _Shelf(KNOWN_MAX, KNOWN_FOR_S)
        self._unknown: _Shelf[str, bool] = _Shelf(UNKNOWN_MAX, UNKNOWN_FOR_S)
        self._guesses: _Shelf[str, _Guesses] = _Shelf(ADDRESSES_MAX, GUESSES_WINDOW_S)
        self._asking: dict[str, asyncio.Task[_Found | None]] = {}
        self._notes: set[asyncio.Task[None]] = set()
        self._waiting = 0

    @property
    def remembered(self) -> int:
        """How many keys and addresses are in memory; never more than the maxima together."""
        return len(self._known) + len(self._unknown) + len(self._guesses)

    async def recognise(self, text: str, address: str) -> Caller:
        """Who shows that text from that address.

        Raises ``NotAuthenticated`` when there is no such living key (after a while, to who tries many), ``RateLimited``
        when too many such answers are waiting already, and ``StoreUnavailable`` when the store could not be asked.
        A text that is no key's, by its checksum, is refused without asking or counting: it guesses nothing.
        """
        proof = hashlib.sha256(text.encode()).digest()
        proven = self._proven(text, proof)
        if proven is not None:
            return proven
        shown = keytext.parse(text)
        if shown is None:
            raise errors.NotAuthenticated
        found = await self._find(shown.id)
        if found is None or not self._good(shown, found):
            await self._slow(address)
            raise errors.NotAuthenticated
        found.proof = proof
        self._note(shown, found)
        return found.caller

    async def recall(self, key_id: str) -> Caller:
        """Who has the key of that id, which was shown and recognised before, such as at a sign-in.

        Raises ``NotAuthenticated`` once the key is over, and ``StoreUnavailable`` when the store could not be asked.
        """
        found = await self._find(key_id)
        if found is None or not found.caller.key.alive(self._clock.now()):
            raise errors.NotAuthenticated
        return found.caller

    async def hold_back(self, address: str) -> None:
        """Make who showed something wrong from that address wait, as for a wrong key; raises ``RateLimited``."""
        await self._slow(address)

    async def close(self) -> None:
        """Let the last notes of use be written, but not for long; nobody waits for what is being asked."""
        asking = list(self._asking.values())
        for question in asking:
            question.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        if self._notes:
            _, late = await asyncio.wait(self._notes, timeout=LAST_NOTES_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _good(self, shown: KeyText, found: _Found) -> bool:
        proven = keys.proves(self._ring, shown, found.digest, found.digest_key)
        return proven and found.caller.key.alive(self._clock.now())

    def _proven(self, text: str, proof: bytes) -> Caller | None:
        """Who shows that text, where the very same was proven to be a key's since the key was read."""
        found = self._remembered(keytext.named(text), self._clock.monotonic())
        if found is None or not found.noted or not hmac.compare_digest(found.proof, proof):
            return None
        return found.caller if found.caller.key.alive(self._clock.now()) else None

    def _remembered(self, key_id: str, now_s: float) -> _Found | None:
        """The key as it was a moment ago; read anew in time, so that nobody waits for a key that is in use."""
        found = self._known.get(key_id, now_s)
        if found is not None and now_s - found.asked_s >= RENEWED_AFTER_S:
            self._question(key_id)
        return found

    async def _find(self, key_id: str) -> _Found | None:
        now_s = self._clock.monotonic()
        found = self._remembered(key_id, now_s)
        if found is not None or self._unknown.get(key_id, now_s):
            return found
        # Whoever asks for the same key meanwhile gets the same answer, be it that the store gave none. A question that
        # was long under way when they came may tell what is too old to be believed; the next one does not.
        found = await asyncio.shield(self._question(key_id))
        if found is not None and now_s - found.asked_s >= KNOWN_FOR_S:
            found = await asyncio.shield(self._question(key_id))
        return found

    def _question(self, key_id: str) -> "asyncio.Task[_Found | None]":
        task = self._asking.get(key_id)
        if task is None:
            task = asyncio.create_task(self._ask(key_id))
            self._asking[key_id] = task
            task.add_done_callback(lambda done: self._asked(key_id, done))
        return task

    async def _ask(self, key_id: str) -> _Found | None:
        # The answer is as old as the question: what is changed after that may be missing from it.
        asked_s = self._clock.monotonic()
        async with self._database.read() as connection:
            found = await _look_up(connection, key_id, asked_s)
        if found is None:
            self._known.drop(key_id)
            self._unknown.put(key_id, True, asked_s)
        else:
            self._known.put(key_id, found, asked_s)
        return found

    def _asked(self, key_id: str, task: asyncio.Task[_Found | None]) -> None:
        del self._asking[key_id]
        if not task.cancelled():
            task.exception()  # those who waited were told; if all of them left, nobody needs to be

    def _note(self, shown: KeyText, found: _Found) -> None:
        """Have the use of the key noted, behind the caller's back: a note is not worth its time."""
        if found.noted:
            return
        found.noted, now = True, self._clock.now()
        if not keys.stale(found.caller.key, found.digest_key, self._ring[0], now):
            return
        task = asyncio.create_task(keys.mark_used(self._database, shown, self._ring[0], now))
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _slow(self, address: str) -> None:
        """Make who tries many wrong keys wait; a few at once, the rest is sent away."""
        now_s, place = self._clock.monotonic(), _place(address)
        guesses = self._guesses.get(place, now_s)
        if guesses is None:
            guesses = _Guesses(now_s)
            self._guesses.put(place, guesses, now_s)
        guesses.count += 1
        if guesses.count <= FREE_GUESSES:
            return
        if self._waiting >= WAITING_MAX:
            raise errors.RateLimited(
                "too many wrong keys; wait and try again with a good one",
                retry_after_s=1,
                limit=errors.Limit.WRONG_KEYS,
            )
        self._waiting += 1
        try:
            await asyncio.sleep(min((guesses.count - FREE_GUESSES) * SLOWER_BY_S, SLOWEST_S))
        finally:
            self._waiting -= 1


async def _look_up(connection: AsyncConnection, key_id: str, asked_s: float) -> _Found | None:
    key, team, choice = tables.api_keys, tables.teams, reuse_tables.reuse_choices
    limits = ("rpm", "concurrency", "queue_depth", "max_queue_s", "policy", "drained_at", "webhook_url")
    question = (
        sa.select(
            key,
            *(team.c[name].label(f"team_{name}") for name in limits),
            *(choice.c[name].label(f"reuse_{name}") for name in ("ttl_s", "unseeded", "pool")),
        )
        .join_from(key, team, team.c.id == key.c.team_id)
        .outerjoin(choice, choice.c.team_id == team.c.id)
        .where(key.c.id == key_id, team.c.deleted_at.is_(None))
    )
    row = (await connection.execute(question)).first()
    if row is None:
        return None
    held_to = TeamLimits(
        id=row.team_id,
        rpm=row.team_rpm,
        concurrency=row.team_concurrency,
        queue_depth=row.team_queue_depth,
        max_queue_s=row.team_max_queue_s,
        policy=row.team_policy,
        drained=row.team_drained_at is not None,
        told=row.team_webhook_url is not None,
        # A team without a row of choices has chosen nothing.
        reuse=Choices(row.reuse_ttl_s, bool(row.reuse_unseeded), bool(row.reuse_pool)),
    )
    return _Found(asked_s, Caller(keys.read(row), held_to), row.digest, row.digest_key)


def _place(address: str) -> str:
    """What counts as one address: of IPv6 the network of 64 bits, of which any one host has all."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address) or parsed.ipv4_mapped is not None:
        return address
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
