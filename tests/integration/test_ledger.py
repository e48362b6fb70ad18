"""The ledger against a model of it: whatever happens in whatever order, the balances are the sums of the entries."""

import asyncio
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.ledger import book, entries, proof
from gateway.ledger.book import Hold
from gateway.ledger.entries import Kind, Payer
from gateway.storage import database, schema, tables
from gateway.storage.database import Database

START = datetime(2026, 12, 30, 12, tzinfo=UTC)
DEEDS = ("charge", "release", "renew", "refund", "adjust")

story = st.tuples(
    st.integers(0, 1),  # the team
    st.integers(0, 8_000_000),  # the hold
    st.integers(0, 9_000_000),  # the cost
    st.lists(st.sampled_from(DEEDS), max_size=4),
    st.integers(0, 96),  # hours after the start: over days, a month's and a year's end
)


async def prepared(url: str) -> Database:
    """A migrated database with two teams."""
    opened = database.open(url)
    await schema.migrate(opened)
    async with opened.write() as tx:
        for number in (0, 1):
            await tx.execute(tables.teams.insert().values(id=f"team_{number}", name=f"t{number}", created_at=START))
    return opened


async def tell(opened: Database, number: int, told: tuple[int, int, int, list[str], int]) -> tuple[int, int]:
    """One job's story in the book; what it leaves held and spent."""
    team, amount, cost, deeds, hours = told
    at = START + timedelta(hours=hours)
    held = Hold(Payer(f"team_{team}", "key", "flux-2-max"), f"job_{number}", 1, amount, entries.windows(at))
    left, spent, done = amount, 0, Counter[str]()
    async with opened.write() as tx:
        await book.hold(tx, held, at)
        for deed in deeds:
            later = at + timedelta(days=3)
            if deed == "renew" and left and not done["charge"]:
                held = await book.renew(tx, held, later)
            elif deed == "charge" and left:
                await book.charge(tx, held, cost, later)
                left, spent = 0, spent + cost
            elif deed == "release" and left:
                await book.release(tx, held, later)
                left = 0
            elif deed == "refund" and done["charge"] and not done["refund"]:
                await book.refund(tx, held, cost // 2, later)
                spent -= cost // 2
            elif deed == "adjust" and done["charge"] and not done["adjust"]:
                await book.adjust(tx, held, -cost // 3, later, "late evidence")
                spent += -cost // 3
            else:
                continue
            done[deed] += 1
    return left, spent


@given(st.lists(story, max_size=8))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_balances_are_the_sums_of_the_entries(stories: list[tuple[int, int, int, list[str], int]]) -> None:
    """After any stories the book proves itself, and each team's total is what a plain model says."""

    async def run(folder: Path) -> None:
        opened = await prepared(f"sqlite+aiosqlite:///{folder / 'ledger.db'}")
        try:
            model: dict[str, list[int]] = {"team_0": [0, 0], "team_1": [0, 0]}
            for number, told in enumerate(stories):
                left, spent = await tell(opened, number, told)
                model[f"team_{told[0]}"][0] += left
                model[f"team_{told[0]}"][1] += spent
            balance = tables.balances
            async with opened.read() as connection:
                assert await proof.differences(connection) == []
                rows = await connection.execute(
                    sa.select(balance).where(balance.c.key_id == "", balance.c.period == "total")
                )
                for row in rows:
                    assert [row.held_micros, row.spent_micros] == model[row.team_id]
        finally:
            await opened.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


async def test_an_entry_is_posted_once(database_url: str) -> None:
    """The same deed for the same attempt fails loudly, and nothing of its transaction stays."""
    opened = await prepared(database_url)
    held = Hold(Payer("team_0", "key", "m"), "job", 1, 2_000_000, entries.windows(START))
    try:
        async with opened.write() as tx:
            await book.hold(tx, held, START)
        with pytest.raises(sa.exc.IntegrityError):
            async with opened.write() as tx:
                await book.hold(tx, held, START)
        async with opened.read() as connection:
            assert await proof.differences(connection) == []
    finally:
        await opened.close()


async def test_a_tampered_balance_is_found(database_url: str) -> None:
    """A balance that is not the sum of its entries is named by the proof, with both numbers."""
    opened = await prepared(database_url)
    held = Hold(Payer("team_0", "key", "m"), "job", 1, 2_000_000, entries.windows(START))
    try:
        async with opened.write() as tx:
            await book.hold(tx, held, START)
            await tx.execute(
                tables.balances.update()
                .where(tables.balances.c.period == "total", tables.balances.c.key_id == "")
                .values(held_micros=1)
            )
        async with opened.read() as connection:
            (found,) = await proof.differences(connection)
        assert (found.column, found.balance_micros, found.entries_micros) == ("held_micros", 1, 2_000_000)
    finally:
        await opened.close()


async def test_what_follows_is_posted_in_the_holds_windows(database_url: str) -> None:
    """A charge of January for a hold of December moves December's balances."""
    opened = await prepared(database_url)
    held = Hold(Payer("team_0", "key", "m"), "job", 1, 2_000_000, entries.windows(START))
    try:
        async with opened.write() as tx:
            await book.hold(tx, held, START)
            await book.charge(tx, await book.find(tx, "job", 1), 1_000_000, START + timedelta(days=5))
        balance = tables.balances
        async with opened.read() as connection:
            rows = await connection.execute(
                sa.select(balance.c.period, balance.c.held_micros, balance.c.spent_micros).where(balance.c.key_id == "")
            )
            found = {row.period: (row.held_micros, row.spent_micros) for row in rows}
        assert found == dict.fromkeys(("total", "2026-12", "2026-12-30"), (0, 1_000_000))
    finally:
        await opened.close()


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.ADJUST])
def test_only_corrections_may_be_negative(kind: Kind) -> None:
    """No hold, charge, release or refund has a negative amount."""
    with pytest.raises(ValueError, match="micro-credits"):
        entries.effect(kind, -1)
