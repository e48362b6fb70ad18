"""A key that is in use: read anew in time without anybody waiting for it, and let in by its own text alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.storage.database import Database
from gateway.tenancy import keys, recognition
from tests.integration.test_tenancy_recognition import HERE, SetClock, known, made, recogniser, sqlite, store
from tests.support import wait

__all__ = ("sqlite", "store")


async def test_a_key_in_use_is_read_anew_behind_its_callers_back(store: Database) -> None:
    """Who shows a key that was read a while ago is let in at once, and what has changed holds from the reading on."""
    _, key, text = await made(store)
    clock = SetClock()
    async with recogniser(store, clock) as one:
        assert await known(one, text)
        async with store.write() as tx:
            await keys.revoke(tx, key.team_id, key.id, datetime.now(UTC))
        clock.at_s += recognition.RENEWED_AFTER_S
        assert await known(one, text)

        async def refused() -> bool:
            return not await known(one, text)

        # Its own time stands still: only the reading can have told.
        await wait.until(refused, timeout_s=5.0, what="the key was read anew")


class Slow(Database):
    """A database whose first answer is long on its way."""

    def __init__(self, inner: Database) -> None:
        self._inner = inner
        self.answered = asyncio.Event()
        self.may_arrive = asyncio.Event()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """As the inner one; the answer is given when the test says so."""
        async with self._inner.read() as connection:
            yield connection
        self.answered.set()
        await self.may_arrive.wait()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """As the inner one."""
        async with self._inner.write() as tx:
            yield tx


async def test_an_answer_that_was_long_on_its_way_lets_in_nobody_who_came_later(store: Database) -> None:
    """Who comes while a question hangs is not let in by what the store said before a revocation."""
    _, key, text = await made(store)
    clock, slow = SetClock(), Slow(store)
    async with recogniser(slow, clock) as one:
        first = asyncio.create_task(known(one, text))
        await slow.answered.wait()
        async with store.write() as tx:
            await keys.revoke(tx, key.team_id, key.id, datetime.now(UTC))
        clock.at_s += 5.0
        late = [asyncio.create_task(known(one, text)) for _ in range(3)]
        await asyncio.sleep(0)
        slow.may_arrive.set()
        async with asyncio.timeout(5):
            assert await first
            assert await asyncio.gather(*late) == [False] * 3


async def test_a_proven_text_alone_is_let_in_by_memory(sqlite: Database) -> None:
    """After a key was let in, its id with any other ending is refused, be it of the right length or not."""
    _, _, text = await made(sqlite)
    async with recogniser(sqlite) as one:
        shown = text.reveal()
        assert (await one.recognise(shown, HERE)).key.id == text.id
        for wrong in (shown[:-1], shown[:-1] + ("a" if shown[-1] != "a" else "b"), shown + "0", f"x{shown[1:]}"):
            with pytest.raises(errors.NotAuthenticated):
                await one.recognise(wrong, HERE)
        assert (await one.recognise(shown, HERE)).key.id == text.id
