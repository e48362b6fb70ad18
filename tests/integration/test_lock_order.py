"""In which order the answers to POSTs lock rows: one that all keep, or two of them wait for each other."""

import asyncio

import pytest
import sqlalchemy as sa

from gateway.jobs import attempts, booking, claims
from gateway.jobs.states import State
from gateway.storage import schema, tables
from gateway.upstream import answers
from gateway.upstream.answers import Refusal
from tests.support import wait
from tests.support.rig import Rig

CREDIT = 1_000_000


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """SQLite has one writer at a time, and no rows to lock."""
    return postgres_url


@pytest.mark.parametrize(
    "answer",
    [
        answers.Accepted("job_u", 202, 2 * CREDIT, 90 * CREDIT),
        answers.Rejected(400, "no"),
        answers.Refused(Refusal.OUT_OF_CREDITS, 402),
        answers.Refused(Refusal.NOT_CONNECTED),
        answers.Refused(Refusal.HOOK_REFUSED, 400),
    ],
    ids=["accepted", "rejected", "out_of_credits", "not_connected", "hook_refused"],
)
async def test_an_answer_locks_the_balances_before_the_account(rig: Rig, answer: answers.Submission) -> None:
    """While a team's balances are another's, an answer waits for them and keeps nobody from the account."""
    job = await rig.order()
    claimed = await claims.take_queued(rig.shop, rig.house.clock.now())
    assert claimed is not None
    await attempts.open(rig.shop, claimed, rig.house.clock.now())
    blocked = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )

    async def waiting() -> bool:
        async with rig.house.database.read() as connection:
            return bool((await connection.execute(blocked)).scalar_one())

    async with rig.house.database.write() as tx:
        mine = sa.select(tables.balances.c.period).where(tables.balances.c.team_id == rig.caller.team_id)
        await tx.execute(mine.with_for_update())
        booked = asyncio.create_task(booking.book(rig.shop, job.id, 1, answer, claimed.claim))
        await wait.until(waiting, timeout_s=2.0, what="the answer waits for the balances", every_s=0.02)
        async with rig.house.database.write() as other:
            # A row that somebody else has is waited for, and after a time this raises.
            await other.execute(sa.text("SET LOCAL lock_timeout = '300ms'"))
            assert await schema.lock_account(other) is not None
    await booked
    assert (await rig.job(job.id)).state in (State.RUNNING, State.FAILED, State.QUEUED)
