"""One generation for all who ask at once: joining, leaving, handing on, and every end that its leader can have."""

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa

from gateway import errors
from gateway.admission.rate import OutOfPace, Standing
from gateway.jobs import accept, deeds, desk, endings, erasing, gate, pauses, settlement, sweep, verdicts, view
from gateway.jobs.accept import Accepted
from gateway.jobs.outcomes import Evidence
from gateway.jobs.record import Job
from gateway.jobs.states import Failure, State
from gateway.ledger import book, budgets
from gateway.ledger.budgets import Budget, Window
from gateway.reuse.directives import Handling
from gateway.storage import outbox, reuse_tables, tables
from gateway.upstream import answers
from tests.support import crowd, wait
from tests.support.emulator import EmulatorProcess
from tests.support.rig import MODEL, Rig

CREDIT = 1_000_000
HOOK = {"webhook_url": "https://example.com/hook"}
_job = tables.jobs


async def together(rig: Rig, followers: int = 2) -> list[Accepted]:
    """A leader and who follows it, the oldest first."""
    found = [await crowd.ask(rig)]
    for _ in range(followers):
        found.append(await crowd.ask(rig))
        assert found[-1].job.follows == found[0].job.id
        assert found[-1].handling is Handling.COLLAPSED
    return found


async def states(rig: Rig, asked: list[Accepted]) -> list[State]:
    """Where each of them is."""
    return [(await rig.job(each.job.id)).state for each in asked]


def retry_safe(rig: Rig, job: Job) -> bool:
    """What a failed job's caller is told."""
    shown = view.render(job, [], None, rig.house.frame, rig.house.clock.now())
    safe: bool = shown["error"]["retrySafe"]
    return safe


async def test_a_crowd_makes_one_submit(rig: Rig, emulator: EmulatorProcess) -> None:
    """Forty callers of two processes at once: one POST, one charge, one hit saved for each other, each its own rows."""
    doors = [rig.house.counter, await crowd.another_process(rig)]
    asked = await asyncio.gather(
        *(crowd.ask(rig, counter=doors[number % 2], body=crowd.BODY | HOOK) for number in range(40))
    )
    assert len({each.job.id for each in asked}) == 40
    (leader,) = [each.job for each in asked if each.job.follows is None]
    assert {each.job.follows for each in asked} == {None, leader.id}
    assert await rig.balance() == (2 * CREDIT, 0)
    await rig.drive(leader)
    assert set(await states(rig, list(asked))) == {State.COMPLETED}
    assert emulator.books()["totals"]["submitsReceived"] == 1
    assert await rig.balance() == (0, 2 * CREDIT)
    images = await crowd.rows(rig, tables.images)
    assert (len(images), len({row.id for row in images}), len({row.object_key for row in images})) == (40, 40, 1)
    (saved,) = await crowd.rows(rig, reuse_tables.savings)
    assert (saved.hits, saved.saved_micros) == (39, 39 * 2 * CREDIT)
    (counted,) = await crowd.rows(rig, tables.outcomes)
    assert counted.jobs == 40
    assert len({row.job_id for row in await crowd.rows(rig, outbox.deliveries)}) == 40
    assert await crowd.open_flights(rig) == []
    (entry,) = await crowd.rows(rig, reuse_tables.cache_entries)
    assert entry.job_id == leader.id


async def test_a_follower_shows_its_leaders_state_and_may_leave_until_its_end(rig: Rig) -> None:
    """Its version never falls, its cost is 0, no operator nudges it, and it is taken back whatever its leader does."""
    leader, leaver, stayer = await together(rig)
    seen = []
    job = leader.job
    for until in (State.RUNNING, State.ARCHIVING):
        job = await rig.drive(job, until)
        follower = await crowd.shown(rig, stayer.job.id)
        assert (follower.state, follower.cost_micros) == (job.state, 0)
        seen.append(follower.version)
    async with rig.house.database.write() as tx:
        with pytest.raises(errors.Conflict, match="follows"):
            await deeds.requeue(tx, "operator", leaver.job.id, rig.house.clock.now())
    left = await desk.cancel(rig.house.counter, rig.caller, leaver.job.id, whole_team=True)
    assert (left.state, left.cost_micros) == (State.CANCELLED, 0)
    with pytest.raises(errors.Conflict):
        await desk.cancel(rig.house.counter, rig.caller, leader.job.id, whole_team=True)
    await rig.drive(job)
    seen.append((await crowd.shown(rig, stayer.job.id)).version)
    assert seen == sorted(set(seen))
    assert await states(rig, [leader, leaver, stayer]) == [State.COMPLETED, State.CANCELLED, State.COMPLETED]
    with pytest.raises(errors.Conflict):
        await desk.cancel(rig.house.counter, rig.caller, stayer.job.id, whole_team=True)
    assert await rig.entries(stayer.job.id) == []


async def test_the_oldest_follower_inherits_the_lead_and_the_hold(rig: Rig, emulator: EmulatorProcess) -> None:
    """A leader taken back in the queue hands both on; the last one to leave gives the hold back."""
    leader, heir, other = await together(rig)
    await desk.cancel(rig.house.counter, rig.caller, leader.job.id, whole_team=True)
    assert await rig.entries(leader.job.id) == [(1, "hold", 2 * CREDIT), (1, "release", 2 * CREDIT)]
    assert await rig.entries(heir.job.id) == [(1, "hold", 2 * CREDIT)]
    assert await crowd.open_flights(rig) == [heir.job.id]
    assert (await rig.job(other.job.id)).follows == heir.job.id
    leads = await rig.job(heir.job.id)
    assert (leads.follows, leads.claim, leads.hold_micros, leads.cost_micros) == (None, None, 2 * CREDIT, None)
    assert leads.version > (await rig.job(leader.job.id)).version
    joined = await crowd.ask(rig)
    assert joined.job.follows == heir.job.id
    await rig.drive(leads)
    assert await states(rig, [heir, other, joined]) == [State.COMPLETED] * 3
    assert emulator.books()["totals"]["submitsReceived"] == 1
    assert await rig.balance() == (0, 2 * CREDIT)
    body = crowd.BODY | {"seed": 8}
    alone = [await crowd.ask(rig, body=body), await crowd.ask(rig, body=body)]
    for each in alone:
        await desk.cancel(rig.house.counter, rig.caller, each.job.id, whole_team=True)
    assert await rig.balance() == (0, 2 * CREDIT)
    assert await crowd.open_flights(rig) == []


async def test_another_purse_takes_a_hold_of_its_own_or_fails(rig: Rig) -> None:
    """A hold moves neither to another team nor to a key with a budget: each asks its own, and who cannot pay fails."""
    poor, rich = await crowd.team(rig, "poor", crowd.SHARES), await crowd.team(rig, "rich", crowd.SHARES)
    async with rig.house.database.write() as tx:
        await budgets.put(tx, Budget(poor.team_id, "", Window.TOTAL, CREDIT))
    leader = await crowd.ask(rig, chosen=crowd.SHARES)
    follows = [await crowd.ask(rig, who, chosen=crowd.SHARES) for who in (poor, rich)]
    await desk.cancel(rig.house.counter, rig.caller, leader.job.id, whole_team=True)
    failed = await rig.job(follows[0].job.id)
    assert (failed.state, failed.error_code) == (State.FAILED, Failure.BUDGET_EXHAUSTED)
    assert retry_safe(rig, failed)
    assert await crowd.open_flights(rig) == [follows[1].job.id]
    assert [await crowd.held_by(rig, who) for who in (rig.caller, poor, rich)] == [0, 0, 2 * CREDIT]
    assert (await rig.drive(await rig.job(follows[1].job.id))).cost_micros == 2 * CREDIT
    assert await rig.balance() == (0, 0)
    # A key of the same team with a budget that does not cover it.
    body = crowd.BODY | {"seed": 9}
    narrow = await crowd.colleague(rig)
    async with rig.house.database.write() as tx:
        await budgets.put(tx, Budget(narrow.team_id, narrow.key_id, Window.TOTAL, CREDIT))
    first = await crowd.ask(rig, body=body)
    second = await crowd.ask(rig, narrow, body=body)
    await desk.cancel(rig.house.counter, rig.caller, first.job.id, whole_team=True)
    assert (await rig.job(second.job.id)).error_code == Failure.BUDGET_EXHAUSTED
    assert await rig.balance() == (0, 0)
    assert await crowd.open_flights(rig) == []


async def test_each_waits_no_longer_than_it_said(rig: Rig) -> None:
    """A late leader hands on; a late follower fails alone, but not once its leader was sent, and no pause counts."""
    patient = crowd.BODY | {"torii": {"startWithinS": 3000}}
    brief = crowd.BODY | {"torii": {"startWithinS": 100}}
    leader = await crowd.ask(rig, body=brief)
    late, stays = await crowd.ask(rig, body=brief), await crowd.ask(rig, body=patient)
    async with rig.house.database.write() as tx:
        await pauses.pause(tx, pauses.Scope.ALL, "", rig.house.clock.now() - timedelta(seconds=200))
    back = timedelta(seconds=200)
    await rig.hurry(queue_deadline_at=back, follows_until=back, created_at=back)
    await sweep.queue_deadlines(rig.shop)
    assert await states(rig, [leader, late, stays]) == [State.QUEUED] * 3
    until = (await rig.job(late.job.id)).follows_until
    async with rig.house.database.write() as tx:
        await pauses.resume(tx, pauses.Scope.ALL, "", rig.house.clock.now())
    pushed = await rig.job(late.job.id)
    assert until is not None
    assert pushed.follows_until is not None
    assert pushed.follows_until > until + timedelta(seconds=190)
    assert pushed.queue_deadline_at.year > 8000
    await rig.hurry(queue_deadline_at=back, follows_until=back, created_at=back)
    await sweep.queue_deadlines(rig.shop)
    # The leader's end comes first in one sweep: its heir, late itself, is found by the next.
    await sweep.queue_deadlines(rig.shop)
    await sweep.queue_deadlines(rig.shop)
    assert await states(rig, [leader, late, stays]) == [State.FAILED, State.FAILED, State.QUEUED]
    assert {(await rig.job(each.job.id)).error_code for each in (leader, late)} == {Failure.QUEUE_TIMEOUT}
    assert await crowd.open_flights(rig) == [stays.job.id]
    assert await rig.balance() == (2 * CREDIT, 0)
    last = await crowd.ask(rig, body=brief)
    await rig.drive(await rig.job(stays.job.id), State.RUNNING)
    await rig.hurry(follows_until=back)
    await sweep.queue_deadlines(rig.shop)
    await rig.drive(await rig.job(stays.job.id))
    assert await states(rig, [stays, last]) == [State.COMPLETED] * 2


async def test_a_leader_and_who_follows_it_leave_at_once(rig: Rig) -> None:
    """Neither waits for the other in a ring: what is counted is locked last, after followers and credits."""
    leader, follower = await together(rig, 1)
    async with rig.house.database.write() as tx:
        await tx.execute(sa.select(_job.c.id).where(_job.c.id == follower.job.id).with_for_update())
        leaving = asyncio.create_task(desk.cancel(rig.house.counter, rig.caller, leader.job.id, whole_team=True))
        await wait.until(lambda: crowd.somebody_waits(rig), timeout_s=5, what="the leader waits for its follower")
        await desk.cancel_in(tx, follower.job, rig.house.clock.now())
    assert (await leaving).state is State.CANCELLED
    assert await states(rig, [leader, follower]) == [State.CANCELLED] * 2
    assert (await crowd.open_flights(rig), await rig.balance()) == ([], (0, 0))
    (counted,) = await crowd.rows(rig, tables.outcomes)
    assert (counted.outcome, counted.jobs) == ("cancelled", 2)
    with crowd.statements() as asked:
        alone = await rig.order()
        asked.clear()
        await desk.cancel(rig.house.counter, rig.caller, alone.id, whole_team=True)
    written = [
        next(name for name in ("balances", "outcomes") if f"INTO {name} " in each) for each in asked if _sums(each)
    ]
    assert written == ["balances", "outcomes"]


def _sums(statement: str) -> bool:
    return any(f"INTO {name} " in statement for name in ("balances", "outcomes"))


async def test_a_leader_that_fails_takes_all_along(rig: Rig, emulator: EmulatorProcess) -> None:
    """Each fails for the same reason; the leader's team paid, the others did not, and the next one orders anew."""
    emulator.switch(outcome="failed")
    asked = await together(rig)
    failed = await rig.drive(asked[0].job)
    assert failed.error_code == Failure.UPSTREAM_FAILED
    assert await states(rig, asked) == [State.FAILED] * 3
    others = [await rig.job(each.job.id) for each in asked[1:]]
    assert [(each.error_code, each.error_message, each.cost_micros) for each in others] == [
        (failed.error_code, failed.error_message, 0)
    ] * 2
    assert [retry_safe(rig, each) for each in (failed, *others)] == [False, True, True]
    (counted,) = await crowd.rows(rig, tables.outcomes)
    assert (counted.outcome, counted.jobs) == ("upstream_failed", 3)
    assert await crowd.rows(rig, reuse_tables.savings) == []
    assert (await crowd.ask(rig)).handling is Handling.MISS


async def test_an_unknown_leader_keeps_its_flight(rig: Rig, emulator: EmulatorProcess) -> None:
    """Whoever asks follows the doubt, or orders anew; settled, all fail, and found after all, all are completed."""
    emulator.switch(job_list=False, submit_fault={"kind": "cut_after", "times": 1})
    leader, follower = await together(rig, 1)
    await rig.drive(leader.job, State.SUBMISSION_UNKNOWN)
    late = await crowd.ask(rig)
    assert late.job.follows == leader.job.id
    assert (await crowd.shown(rig, late.job.id)).state is State.SUBMISSION_UNKNOWN
    anew = await crowd.ask(rig, header="no-cache")
    assert anew.job.follows is None
    await rig.hurry(quiet_at=timedelta(hours=25), opened_at=timedelta(hours=25))
    await sweep.unknowns(rig.shop)
    assert await states(rig, [leader, follower, late]) == [State.FAILED] * 3
    lost = await rig.job(late.job.id)
    assert (lost.error_code, lost.cost_micros) == (Failure.SUBMISSION_UNKNOWN, 0)
    assert not retry_safe(rig, lost)
    assert await crowd.open_flights(rig) == []
    await _found(rig, leader.job.id, emulator.books()["jobs"][0]["jobId"])
    await rig.drive(await rig.job(leader.job.id), State.COMPLETED)
    assert await states(rig, [leader, follower, late]) == [State.COMPLETED] * 3
    assert len(await crowd.pictures(rig, await rig.job(late.job.id))) == 1
    assert (await rig.job(late.job.id)).error_code is None
    assert (await rig.job(late.job.id)).version > lost.version
    assert (await crowd.ask(rig)).handling is Handling.HIT


async def test_what_a_follower_had_erased_stays_erased(rig: Rig, emulator: EmulatorProcess) -> None:
    """A follower that failed with its leader and was erased gets no picture when the leader is found after all."""
    emulator.switch(job_list=False, submit_fault={"kind": "cut_after", "times": 1})
    leader, follower, other = await together(rig)
    await rig.drive(leader.job, State.SUBMISSION_UNKNOWN)
    await rig.hurry(quiet_at=timedelta(hours=25), opened_at=timedelta(hours=25))
    await sweep.unknowns(rig.shop)
    await erasing.erase(rig.house.counter, "somebody", follower.job.team_id, follower.job.id)
    await _found(rig, leader.job.id, emulator.books()["jobs"][0]["jobId"])
    await rig.drive(await rig.job(leader.job.id), State.COMPLETED)
    assert await states(rig, [leader, follower, other]) == [State.COMPLETED, State.FAILED, State.COMPLETED]
    assert await crowd.pictures(rig, follower.job) == []
    assert len(await crowd.pictures(rig, other.job)) == 1


async def _found(rig: Rig, job_id: str, upstream_job_id: str) -> None:
    """Late evidence about a job that was settled already."""
    from_upstream = answers.Accepted(upstream_job_id, 0, None, None)
    async with rig.house.database.write() as tx:
        case = await verdicts.lock(tx, job_id, 1, rig.house.clock.now())
        assert case is not None
        await settlement.discovered(tx, case, from_upstream, Evidence.JOB_LIST)


async def test_the_release_before_ends_a_leader_and_a_sweep_the_rest(rig: Rig) -> None:
    """It knows of no flight: the sweep ends who followed, or hands the lead on with a hold of its own."""
    leader, follower = await together(rig, 1)
    done = await rig.drive(leader.job, State.ARCHIVING)
    async with rig.house.database.write() as tx:
        # As that release ends it: the row, and nothing else.
        await tx.execute(
            _job.update().where(_job.c.id == done.id).values(state=State.COMPLETED, ended_at=rig.house.clock.now())
        )
    assert await crowd.open_flights(rig) == [leader.job.id]
    await sweep.stranded_flights(rig.shop)
    await sweep.stranded_flights(rig.shop)
    assert (await rig.job(follower.job.id)).state is State.COMPLETED
    assert await crowd.open_flights(rig) == []
    body = crowd.BODY | {"seed": 8}
    cancelled, heir = await crowd.ask(rig, body=body), await crowd.ask(rig, body=body)
    async with rig.house.database.write() as tx:
        now = rig.house.clock.now()
        gone = {"state": State.CANCELLED, "ended_at": now, "error_code": "cancelled"}
        await tx.execute(_job.update().where(_job.c.id == cancelled.job.id).values(**gone))
        await book.release(tx, await book.find(tx, cancelled.job.id, 1), now)
    await sweep.stranded_flights(rig.shop)
    assert await crowd.open_flights(rig) == [heir.job.id]
    assert await rig.balance() == (2 * CREDIT, 2 * CREDIT)
    assert (await rig.drive(await rig.job(heir.job.id))).state is State.COMPLETED


async def test_an_end_is_all_or_nothing(rig: Rig) -> None:
    """Whoever dies before the commit has ended nobody: the entry, the flight and all who follow are one transaction."""
    leader, follower = await together(rig, 1)
    row = await rig.drive(leader.job, State.ARCHIVING)

    async def die() -> None:
        async with rig.house.database.write() as tx:
            assert await endings.complete(tx, row, kept=1, lost=0, now=rig.house.clock.now())
            raise errors.InternalError

    with pytest.raises(errors.InternalError):
        await die()
    assert await states(rig, [leader, follower]) == [State.ARCHIVING, State.QUEUED]
    assert await crowd.rows(rig, reuse_tables.cache_entries) == []
    assert await crowd.rows(rig, reuse_tables.savings) == []
    assert await crowd.open_flights(rig) == [leader.job.id]
    await rig.drive(row)
    assert await states(rig, [leader, follower]) == [State.COMPLETED] * 2


class Exhausted(gate.Anyone):
    """A gate whose pace is used up."""

    async def pace(self) -> Standing | None:
        """Refuse."""
        raise OutOfPace(Standing(False, "team", 1, 0, 30))


async def test_joining_is_no_new_generation(rig: Rig) -> None:
    """It needs neither pace, nor a place in the line, nor a budget; and a repeat under its key finds it again."""
    leader = await crowd.ask(rig)
    async with rig.house.database.write() as tx:
        await tx.execute(tables.teams.update().values(queue_depth=1))
        await budgets.put(tx, Budget(rig.caller.team_id, "", Window.TOTAL, 2 * CREDIT))

    async def hurried(body: dict[str, object]) -> Accepted:
        wanted = crowd.wish(rig.caller)
        return await accept.accept(rig.house.counter, rig.caller, MODEL, body, admit=Exhausted(), wish=wanted)

    assert (await hurried(dict(crowd.BODY))).job.follows == leader.job.id
    with pytest.raises(OutOfPace):
        await hurried(crowd.BODY | {"seed": 8})
    keyed = await crowd.ask(rig, key="k-1")
    assert (await crowd.ask(rig, key="k-1")).job.id == keyed.job.id
    with pytest.raises(errors.RateLimited):
        await crowd.ask(rig, body=crowd.BODY | {"seed": 8})
    await rig.drive(leader.job)
    again = await crowd.ask(rig, key="k-1")
    assert (again.job.id, again.replayed, again.job.state) == (keyed.job.id, True, State.COMPLETED)


async def test_a_flush_in_flight_loses_nothing(rig: Rig, emulator: EmulatorProcess) -> None:
    """Flights are rows: who asks after the flush joins what is under way."""
    leader = await crowd.ask(rig)
    await rig.drive(leader.job, State.RUNNING)
    await rig.house.redis.flushall()
    late = await crowd.ask(rig)
    assert late.job.follows == leader.job.id
    await rig.drive(await rig.job(leader.job.id))
    assert (await rig.job(late.job.id)).state is State.COMPLETED
    assert emulator.books()["totals"]["submitsReceived"] == 1
