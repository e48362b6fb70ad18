"""How many jobs of a team may wait, counted in the SQL of record."""

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from gateway import errors
from gateway.admission import depth
from gateway.jobs.states import State
from gateway.storage import tables
from tests.support.rig import Rig


async def copies(rig: Rig, count: int, state: State) -> None:
    """Make that many more jobs of the team in a state, like the one it has."""
    now = datetime.now(UTC)
    async with rig.house.database.write() as tx:
        row = dict((await tx.execute(sa.select(tables.jobs).limit(1))).mappings().one())
        rows = [{**row, "id": f"job_{state}_{number}", "state": state, "created_at": now} for number in range(count)]
        await tx.execute(tables.jobs.insert(), rows)


async def test_a_full_line_refuses_and_says_when_to_come_back(rig: Rig) -> None:
    """As many jobs may wait as the team's limit says; jobs in other states and of other teams do not count."""
    await rig.order()
    await copies(rig, 3, State.QUEUED)
    await copies(rig, 5, State.COMPLETED)
    team_id = rig.caller.team_id
    async with rig.house.database.read() as connection:
        await depth.check(connection, team_id, State.QUEUED, 5)
        await depth.check(connection, "team_other", State.QUEUED, 1)
        with pytest.raises(errors.RateLimited) as refused:
            await depth.check(connection, team_id, State.QUEUED, 4)
    assert refused.value.retry_after_s == depth.RETRY_AFTER_S


async def test_the_count_stops_at_the_limit(rig: Rig) -> None:
    """A line far longer than its limit, which was lowered, is not counted to its end."""
    await rig.order()
    await copies(rig, 20, State.QUEUED)
    async with rig.house.database.read() as connection:
        assert await depth.waiting(connection, rig.caller.team_id, State.QUEUED, 7) == 7
        assert await depth.waiting(connection, rig.caller.team_id, State.QUEUED, 100) == 21
        assert await depth.waiting(connection, rig.caller.team_id, State.QUEUED, 0) == 0


@pytest.mark.parametrize(("waiting", "allowed", "room"), [(0, 1, True), (1, 1, False), (2, 1, False), (0, 0, False)])
def test_the_rule(waiting: int, allowed: int, room: bool) -> None:
    """There is room while fewer wait than may."""
    if room:
        depth.require_room(waiting, allowed)
        return
    with pytest.raises(errors.RateLimited):
        depth.require_room(waiting, allowed)
