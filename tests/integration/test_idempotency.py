"""``Idempotency-Key``: one job for one key and body, at any concurrency, on both databases."""

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.jobs import accept, idempotency, sweep
from gateway.jobs.states import State
from gateway.ledger import budgets
from gateway.ledger.budgets import Budget, Window
from gateway.storage import tables
from tests.support.emulator import EmulatorProcess
from tests.support.rig import MODEL, Rig

BODY = {"prompt": "a torii gate", "seed": 4}


async def ordered(rig: Rig, key: str, body: dict[str, object] | None = None) -> accept.Accepted:
    """An order under a key."""
    return await accept.accept(rig.house.counter, rig.caller, MODEL, body or BODY, key)


async def test_the_same_key_and_body_are_the_same_job(rig: Rig, emulator: EmulatorProcess) -> None:
    """A repeat gives the first request's job in its present state, holds nothing more, and is never sent again."""
    first = await ordered(rig, "k-1")
    await rig.drive(first.job)
    again = await ordered(rig, '"k-1"', {"seed": 4, "prompt": "a torii gate"})
    assert (again.job.id, again.replayed, first.replayed) == (first.job.id, True, False)
    assert again.job.state is State.COMPLETED
    assert emulator.books()["totals"]["submitsReceived"] == 1


async def test_another_body_under_the_key_is_refused(rig: Rig) -> None:
    """The same key with another body is a mistake of the caller's, and creates nothing."""
    await ordered(rig, "k-2")
    before = await rig.balance()
    with pytest.raises(errors.KeyReused):
        await ordered(rig, "k-2", {**BODY, "seed": 5})
    assert await rig.balance() == before


async def test_many_at_once_make_one_job(rig: Rig) -> None:
    """Twenty concurrent requests with one key make one job and one hold; each gets it, or is told to ask again."""
    results = await asyncio.gather(*(ordered(rig, "k-3") for _ in range(20)), return_exceptions=True)
    found = {result.job.id for result in results if isinstance(result, accept.Accepted)}
    others = [result for result in results if not isinstance(result, accept.Accepted)]
    assert len(found) == 1
    assert all(isinstance(other, errors.RequestInFlight) for other in others)
    assert await rig.balance() == (2_000_000, 0)


async def test_a_key_is_the_teams_and_the_routes(rig: Rig) -> None:
    """The same key for another model is another request."""
    first = await ordered(rig, "k-4")
    other = await accept.accept(rig.house.counter, rig.caller, "flux-2-dev", BODY, "k-4")
    assert other.job.id != first.job.id


async def test_what_created_no_job_is_not_remembered(rig: Rig) -> None:
    """After a refused body the key is still free."""
    with pytest.raises(errors.InvalidParameter):
        await ordered(rig, "k-5", {**BODY, "seed": "abc"})
    assert not (await ordered(rig, "k-5")).replayed


async def test_a_key_lives_for_a_day(rig: Rig) -> None:
    """After 24 hours the key is free again, and the sweep deletes what is left of it."""
    first = await ordered(rig, "k-6")
    async with rig.house.database.write() as tx:
        old = rig.house.clock.now() - timedelta(hours=24, seconds=1)
        await tx.execute(tables.idempotency_keys.update().values(created_at=old))
    assert (await ordered(rig, "k-6")).job.id != first.job.id
    async with rig.house.database.write() as tx:
        await tx.execute(tables.idempotency_keys.update().values(created_at=old))
    await sweep.old_keys(rig.shop)
    async with rig.house.database.read() as connection:
        left = await connection.execute(sa.select(sa.func.count()).select_from(tables.idempotency_keys))
        assert left.scalar_one() == 0


@pytest.mark.parametrize("header", ["", '""', "a" * 256, "ümlaut", "a\x00b", "a\nb", '"unfinished', '"a"b"'])
def test_a_bad_key_is_refused_by_name(header: str) -> None:
    """A header that is no key is an error that names it."""
    with pytest.raises(errors.InvalidParameter, match="Idempotency-Key"):
        idempotency.ticket(header, "run/x", {})


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255))
def test_bare_and_quoted_are_one_key(text: str) -> None:
    """A key means the same bare and in quotes."""
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if not text.startswith('"'):
        assert idempotency.ticket(text, "r", {}) == idempotency.ticket(quoted, "r", {})


async def test_a_repeat_is_not_refused_for_what_the_first_took(rig: Rig) -> None:
    """With a budget for one, each of many requests with one key gets the one job, or is told to ask again."""
    async with rig.house.database.write() as tx:
        await budgets.put(tx, Budget(rig.caller.team_id, "", Window.TOTAL, 2_000_000))
    results = await asyncio.gather(*(ordered(rig, "k-9") for _ in range(20)), return_exceptions=True)
    found = {result.job.id for result in results if isinstance(result, accept.Accepted)}
    others = [result for result in results if not isinstance(result, accept.Accepted)]
    assert len(found) == 1
    assert all(isinstance(other, errors.RequestInFlight) for other in others), others
    with pytest.raises(errors.BudgetExhausted):
        await ordered(rig, "k-10")
