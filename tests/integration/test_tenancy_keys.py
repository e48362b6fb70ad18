"""Keys in the store: their limits, rotation with grace, revocation, and pages of them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from gateway import errors
from gateway.settings import keyring
from gateway.storage import database, schema, tables
from gateway.storage.database import Database
from gateway.storage.pages import Slice
from gateway.tenancy import keys, teams
from gateway.tenancy.keys import Key
from gateway.tenancy.keytext import KeyText
from gateway.tenancy.scopes import Scope

RING = keyring.derive([SecretStr("a secret of the tests with thirty-two characters")]).api_keys
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
GRACE = timedelta(hours=24)
SOON = timedelta(seconds=1)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Database]:
    """A migrated database."""
    opened = database.open(database_url)
    await schema.migrate(opened)
    yield opened
    await opened.close()


async def made(store: Database, expires_at: datetime | None = None) -> tuple[Key, KeyText]:
    """A key with limits of its own, of a new team."""
    async with store.write() as tx:
        team = await teams.create(tx, "drawing", NOW)
        granted = frozenset({Scope.GENERATE})
        return await keys.create(tx, team.id, "ci", granted, RING, NOW, expires_at, rpm=7, concurrency=3)


async def rotated(store: Database, key: Key, grace: timedelta = GRACE, at: datetime = NOW) -> tuple[Key, KeyText]:
    """The key that takes the place of that one."""
    async with store.write() as tx:
        return await keys.rotate(tx, key.team_id, key.id, grace, RING, at)


async def works(store: Database, text: KeyText, at: datetime) -> bool:
    """Whether the key is known at that moment."""
    try:
        await keys.recognise(store, text.reveal(), RING, at)
    except errors.NotAuthenticated:
        return False
    return True


async def test_a_keys_own_limits_are_kept(store: Database) -> None:
    """The limits a key is made with are read with it, and one that cannot be is refused by name."""
    key, text = await made(store)
    assert (key.rpm, key.concurrency, key.successor) == (7, 3, None)
    assert await keys.recognise(store, text.reveal(), RING, NOW) == key
    async with store.write() as tx:
        for rpm, concurrency, param in ((0, 1, "rpm"), (keys.LIMIT_MAX + 1, 1, "rpm"), (1, 0, "concurrency")):
            with pytest.raises(errors.InvalidParameter) as refused:
                await keys.create(tx, key.team_id, "x", key.scopes, RING, NOW, rpm=rpm, concurrency=concurrency)
            assert refused.value.param == param


async def test_both_keys_work_in_the_grace_and_one_after_it(store: Database) -> None:
    """A rotated key works until its grace is over, and its successor with the same rights goes on."""
    key, text = await made(store)
    new, new_text = await rotated(store, key)
    assert (new.name, new.scopes, new.rpm, new.concurrency, new.expires_at) == ("ci", key.scopes, 7, 3, None)
    assert new.id != key.id
    for at in (NOW, NOW + GRACE - SOON):
        assert (await works(store, text, at), await works(store, new_text, at)) == (True, True)
    assert (await works(store, text, NOW + GRACE), await works(store, new_text, NOW + GRACE)) == (False, True)
    async with store.read() as connection:
        old = await keys.find(connection, key.team_id, key.id)
    assert (old.successor, old.expires_at) == (new.id, NOW + GRACE)


async def test_without_grace_the_old_key_is_over_at_once(store: Database) -> None:
    """A grace of nothing leaves the new key alone."""
    key, text = await made(store)
    _, new_text = await rotated(store, key, timedelta(0))
    assert (await works(store, text, NOW), await works(store, new_text, NOW)) == (False, True)


async def test_a_rotation_prolongs_nothing(store: Database) -> None:
    """A key's own expiry, if sooner than the grace, holds for it, and in any case for its successor."""
    expires_at = NOW + timedelta(hours=1)
    key, text = await made(store, expires_at)
    new, new_text = await rotated(store, key)
    assert new.expires_at == expires_at
    assert await works(store, text, expires_at - SOON)
    assert not await works(store, text, expires_at)
    assert not await works(store, new_text, expires_at)


async def test_a_rotation_hands_on_the_budgets(store: Database) -> None:
    """The successor of a key with budgets has the same budgets, and the key's own stay."""
    key, _ = await made(store)
    async with store.write() as tx:
        for key_id, window, limit in ((key.id, "day", 5), (key.id, "total", 9), ("", "day", 70)):
            await tx.execute(
                tables.budgets.insert().values(
                    team_id=key.team_id, key_id=key_id, window=window, limit_micros=limit, soft_micros=1
                )
            )
    new, _ = await rotated(store, key)
    async with store.read() as connection:
        rows = (await connection.execute(sa.select(tables.budgets))).all()
    found = {(row.key_id, row.window): (row.limit_micros, row.soft_micros) for row in rows}
    each = {(key_id, window): (limit, 1) for key_id in (key.id, new.id) for window, limit in (("day", 5), ("total", 9))}
    assert found == {("", "day"): (70, 1), **each}


async def test_a_key_is_rotated_once(store: Database) -> None:
    """Of many rotations at once one makes a successor, and all others are conflicts that make nothing."""
    key, _ = await made(store)
    done = await asyncio.gather(*(rotated(store, key) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(each, tuple) for each in done) == 1
    assert sum(isinstance(each, errors.Conflict) for each in done) == 9
    async with store.read() as connection:
        assert len(await keys.listing(connection, key.team_id)) == 2


async def test_what_is_over_cannot_be_rotated(store: Database) -> None:
    """A revoked, expired or foreign key is not rotated, nor one with a grace that cannot be."""
    key, _ = await made(store, NOW + timedelta(hours=1))
    with pytest.raises(errors.Conflict):
        await rotated(store, key, at=NOW + timedelta(hours=2))
    for grace in (timedelta(seconds=-1), keys.GRACE_MAX + SOON):
        with pytest.raises(errors.InvalidParameter) as refused:
            await rotated(store, key, grace)
        assert refused.value.param == "grace"
    async with store.write() as tx:
        with pytest.raises(errors.KeyNotFound):
            await keys.rotate(tx, "team_other", key.id, GRACE, RING, NOW)
        await keys.revoke(tx, key.team_id, key.id, NOW)
    with pytest.raises(errors.Conflict):
        await rotated(store, key)


async def test_revoking_a_rotated_key_leaves_its_successor(store: Database) -> None:
    """A rotated key that is revoked is over at once, and the one in its place is not."""
    key, text = await made(store)
    _, new_text = await rotated(store, key)
    async with store.write() as tx:
        await keys.revoke(tx, key.team_id, key.id, NOW)
    assert (await works(store, text, NOW), await works(store, new_text, NOW)) == (False, True)


async def test_all_keys_of_a_team_are_revoked_together(store: Database) -> None:
    """Every living key of the team is revoked, and no other team's."""
    key, text = await made(store)
    _, new_text = await rotated(store, key)
    async with store.write() as tx:
        other = await teams.create(tx, "other", NOW)
        _, other_text = await keys.create(tx, other.id, "x", key.scopes, RING, NOW)
        assert await keys.revoke_all(tx, key.team_id, NOW) == 2
        assert await keys.revoke_all(tx, key.team_id, NOW) == 0
    assert [await works(store, each, NOW) for each in (text, new_text, other_text)] == [False, False, True]


async def test_a_deleted_teams_keys_are_unknown_and_a_drained_ones_are_not(store: Database) -> None:
    """A team that takes no orders may still read; a team that is gone has no keys."""
    key, text = await made(store)
    async with store.write() as tx:
        await teams.drain(tx, key.team_id, NOW)
    assert await works(store, text, NOW)
    async with store.write() as tx:
        await teams.delete(tx, key.team_id, NOW)
    assert not await works(store, text, NOW)


async def test_keys_are_listed_in_pages(store: Database) -> None:
    """Pages follow each other without telling a key twice or leaving one out, and tell no other team's."""
    key, _ = await made(store)
    async with store.write() as tx:
        other = await teams.create(tx, "other", NOW)
        for number in range(6):
            owner = key.team_id if number < 4 else other.id
            await keys.create(tx, owner, str(number), key.scopes, RING, NOW)  # all in one moment
    told: list[str] = []
    cursor, pages = None, 0
    async with store.read() as connection:
        while pages == 0 or cursor:
            part, cursor = await keys.page(connection, key.team_id, Slice(2, cursor))
            told += [each.id for each in part]
            pages += 1
        whole = [each.id for each in await keys.listing(connection, key.team_id)]
    assert pages == 3
    assert told == whole
    assert len(set(told)) == 5
