"""An order whose very bytes were answered from the cache before: as sure as the first time, whatever has changed."""

from datetime import UTC, datetime
from typing import Any

import httpx
from redis.asyncio import Redis

from gateway.clock import SystemClock
from gateway.reuse import hits
from gateway.storage import tables
from gateway.tenancy import keys, teams
from gateway.tenancy.scopes import Scope
from tests.api.door import Door
from tests.api.test_images import picture
from tests.api.test_run_cached import counted, keep, lose, run
from tests.support import wait

OWN = {"date", "x-request-id", "age"}


def shown(answer: httpx.Response) -> tuple[int, dict[str, str], dict[str, Any]]:
    """What an answer says, without its links and what is each answer's own."""
    body = {name: value for name, value in answer.json().items() if name not in ("expiresAt", "output", "assets")}
    return answer.status_code, {name: value for name, value in answer.headers.items() if name not in OWN}, body


async def remembered(door: Door, headers: dict[str, str]) -> httpx.Response:
    """Have an order made, kept and answered twice; the second answer, which nobody read the order for again."""
    await keep(door, (await run(door, headers)).json()["jobId"])
    first, second = await run(door, headers), await run(door, headers)
    assert shown(first) == shown(second)
    assert second.headers["Cache-Status"] == "torii; hit"
    return second


async def test_the_same_bytes_are_answered_and_counted_alike(any_door: Door) -> None:
    """Each further answer says what the first said, has links that work, and is one hit in the metric and the sums."""
    door = any_door
    headers = await door.caller()
    again = await remembered(door, headers)
    for _ in range(3):
        again = await run(door, headers)
    assert (await door.client.get(again.json()["output"]["images"][0])).content == picture()
    assert (await counted(door))["hit"] == 5
    async with Redis.from_url(door.settings.reveal("redis_url")) as redis:
        await hits.take_over(redis, door.database, SystemClock())
    async with door.database.read() as connection:
        assert list((await hits.sums(connection)).values()) == [(5, 10_000_000)]
    assert len(await door.rows(tables.jobs)) == 1


async def test_what_a_request_asks_for_beside_is_not_passed_over(door: Door) -> None:
    """A wish about the cache, a key to find it by, a preference to wait: each counts for bytes that are known."""
    headers = await door.caller()
    again = await remembered(door, headers)
    waited = await run(door, {**headers, "Prefer": "wait=5"})
    assert (waited.status_code, waited.headers["Preference-Applied"]) == (200, "wait=5")
    kept = await run(door, {**headers, "Idempotency-Key": "once"})
    assert (kept.status_code, kept.headers["Cache-Status"]) == (200, "torii; hit")
    assert kept.json()["jobId"] != again.json()["jobId"]
    stale = await run(door, headers, "max-age=0, only-if-cached")
    assert stale.status_code in {200, 504}
    anew = await run(door, headers, "no-cache")
    assert (anew.status_code, anew.headers["Cache-Status"]) == (202, "torii; fwd=request")


async def test_a_team_that_may_not_any_more_is_refused(door: Door) -> None:
    """A policy, the end of new orders and the end of a key hold for known bytes within a second."""
    team = await door.team("caller")
    key, headers = await door.key(team)
    await remembered(door, headers)

    async def answered(status: int) -> None:
        async def so() -> bool:
            return (await run(door, headers)).status_code == status

        await wait.until(so, timeout_s=1.0, what=f"the order is answered with {status}")

    async with door.database.write() as tx:
        await teams.set_policy(tx, team.id, {"models": ["flux-2-flex"]})
    await answered(403)
    async with door.database.write() as tx:
        await teams.set_policy(tx, team.id, None)
    await answered(200)
    async with door.database.write() as tx:
        await teams.drain(tx, team.id, datetime.now(UTC))
    await answered(403)
    async with door.database.write() as tx:
        await keys.revoke(tx, key.team_id, key.id, datetime.now(UTC))
    await answered(401)


async def test_a_key_that_reads_its_own_jobs_alone_gets_one_of_its_own(door: Door) -> None:
    """Known bytes of the team lead a key without ``read`` to a job of its own; whose job it is is answered by it."""
    team = await door.team("caller")
    _, headers = await door.key(team, frozenset({Scope.GENERATE}))
    own = await remembered(door, headers)
    _, other = await door.key(team, frozenset({Scope.GENERATE}))
    given = await run(door, other)
    assert (given.status_code, given.headers["Cache-Status"]) == (200, "torii; hit")
    assert given.json()["jobId"] != own.json()["jobId"]
    assert (await run(door, headers)).json()["jobId"] == own.json()["jobId"]


async def test_a_picture_that_is_gone_is_a_miss_for_known_bytes(door: Door) -> None:
    """Once its picture was found missing, an order is not answered with it however well it is known."""
    headers = await door.caller()
    again = await remembered(door, headers)
    await lose(door)
    assert (await door.client.get(again.json()["output"]["images"][0])).status_code == 404
    assert (await run(door, headers)).headers["Cache-Status"] == "torii; fwd=miss"


async def test_other_teams_know_nothing_of_it(door: Door) -> None:
    """The same bytes of another team are another order, and what is no JSON is refused as ever."""
    await remembered(door, await door.caller())
    stranger = await door.caller("stranger")
    assert (await run(door, stranger)).headers["Cache-Status"] == "torii; fwd=miss"
    broken = await door.client.post(
        "/api/v1/models/flux-2-max/run", headers={**stranger, "Content-Type": "application/json"}, content=b'{"prompt":'
    )
    assert broken.status_code == 400
