"""Usage is the ledger summed another way: whatever groups are asked for, they add up to its entries."""

import asyncio
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import errors
from gateway.ledger import book, entries, proof, statement, usage
from gateway.ledger.book import Correction, Hold
from gateway.ledger.entries import Payer
from gateway.ledger.usage import By, Span
from gateway.storage import database, schema, tables
from gateway.storage.database import Database
from gateway.storage.pages import Slice

START = datetime(2026, 11, 29, 12, tzinfo=UTC)
SUMS = ("jobs", "charged_micros", "refunded_micros", "adjusted_micros", "held_micros")

story = st.tuples(
    st.integers(0, 1),  # the team
    st.integers(0, 1),  # the key
    st.sampled_from(["flux-2-max", "flux-2-flex"]),
    st.integers(0, 8_000_000),  # the hold
    st.sampled_from(["held", "charged", "released", "refunded", "renewed"]),
    st.integers(-3_000_000, 3_000_000),  # an operator's adjustment
    st.integers(0, 72),  # hours after the start
)
Told = tuple[int, int, str, int, str, int, int]


async def prepared(url: str) -> Database:
    """A migrated database with two teams."""
    opened = database.open(url)
    await schema.migrate(opened)
    async with opened.write() as tx:
        for number in (0, 1):
            await tx.execute(tables.teams.insert().values(id=f"team_{number}", name=f"t{number}", created_at=START))
    return opened


async def tell(opened: Database, number: int, told: Told) -> tuple[dict[By, tuple[str, ...]], Counter[str]]:
    """One job's story in the book; the groups it belongs to, and what it adds to each of them."""
    team, key, model, amount, end, adjusted, hours = told
    at = START + timedelta(hours=hours)
    payer = Payer(f"team_{team}", f"key_{team}_{key}", model)
    held = Hold(payer, f"job_{number}", 1, amount, entries.windows(at))
    sums = Counter({"jobs": 1, "held_micros": amount if end in ("held", "renewed") else 0})
    async with opened.write() as tx:
        await book.hold(tx, held, at)
        later = at + timedelta(days=3)
        if end in ("charged", "refunded"):
            await book.charge(tx, held, amount, later)
            sums["charged_micros"] = amount
        if end == "refunded" and amount:
            await statement.refund(tx, Correction(payer, held.job_id, held.windows, f"r{number}", None), amount, later)
            sums["refunded_micros"] = amount
        if end == "released":
            await book.release(tx, held, later)
        if end == "renewed":
            await book.renew(tx, held, later)
        if adjusted:
            correction = Correction(payer, held.job_id, held.windows, f"a{number}", "by hand")
            await statement.adjust(tx, correction, adjusted, later)
            sums["adjusted_micros"] = adjusted
    groups = {
        By.TEAM: (payer.team_id,),
        By.KEY: (payer.team_id, payer.key_id),
        By.MODEL: (model,),
        By.DAY: (held.windows.day,),
    }
    return groups, sums


@given(st.lists(story, max_size=8))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_grouping_adds_up(stories: list[Told]) -> None:
    """After any stories each grouping says what a plain model says, and the book proves itself."""

    async def run(folder: Path) -> None:
        opened = await prepared(f"sqlite+aiosqlite:///{folder / 'usage.db'}")
        try:
            model: dict[By, dict[tuple[str, ...], Counter[str]]] = {by: {} for by in By}
            for number, told in enumerate(stories):
                groups, sums = await tell(opened, number, told)
                for by, group in groups.items():
                    model[by].setdefault(group, Counter()).update(sums)
            async with opened.read() as connection:
                assert await proof.differences(connection) == []
                for by in By:
                    found = await usage.summed(connection, by, Span())
                    assert {each.group: [getattr(each, name) for name in SUMS] for each in found} == {
                        group: [sums[name] for name in SUMS] for group, sums in model[by].items()
                    }
        finally:
            await opened.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


async def test_a_span_and_pictures(database_url: str) -> None:
    """A span takes the days of orders, its end not among them, and each picture counts with its job."""
    opened = await prepared(database_url)
    try:
        for number, hours in enumerate((0, 24, 48)):
            await tell(opened, number, (0, 0, "flux-2-max", 2_000_000, "charged", 0, hours))
        await tell(opened, 9, (1, 0, "flux-2-max", 2_000_000, "charged", 0, 24))
        async with opened.read() as connection:
            span = Span("team_0", since="2026-11-30", until="2026-12-01")
            (found,) = await usage.summed(connection, By.DAY, span)
            assert (found.group, found.jobs, found.pictures, found.spent_micros) == (("2026-11-30",), 1, 0, 2_000_000)
            everything = usage.total(await usage.summed(connection, By.TEAM, Span()))
            assert (everything.jobs, everything.charged_micros) == (4, 8_000_000)
    finally:
        await opened.close()


async def test_a_reference_is_used_once_by_any_number_at_once(database_url: str) -> None:
    """Of any number of equal corrections at once exactly one is booked, and the others are conflicts."""
    opened = await prepared(database_url)
    correction = Correction(Payer("team_0", "", ""), None, entries.windows(START), "ticket", None)

    async def adjust() -> bool:
        try:
            async with opened.write() as tx:
                await statement.adjust(tx, correction, 1_000_000, START)
        except errors.Conflict:
            return False
        return True

    try:
        assert sorted(await asyncio.gather(*(adjust() for _ in range(6)))) == [False] * 5 + [True]
        async with opened.read() as connection:
            assert await proof.differences(connection) == []
            (found,) = await usage.summed(connection, By.TEAM, Span())
            assert (found.adjusted_micros, found.jobs) == (1_000_000, 0)
    finally:
        await opened.close()


async def test_pages_are_whole_while_entries_are_added(database_url: str) -> None:
    """Entries of one moment are each told once over the pages, though new ones come meanwhile."""
    opened = await prepared(database_url)
    try:
        for number in range(7):
            await tell(opened, number, (0, 0, "flux-2-max", 1_000_000, "held", 0, 0))
        seen: list[str] = []
        cursor = None
        while True:
            async with opened.read() as connection:
                page = await statement.page(connection, statement.Filter(team_id="team_0"), Slice(3, cursor))
            seen += [row.job_id for row in page.rows]
            cursor = page.next_cursor
            if cursor is None:
                break
            await tell(opened, 100 + len(seen), (0, 0, "flux-2-max", 1_000_000, "held", 0, 72))
        assert sorted(seen) == [f"job_{number}" for number in range(7)]
    finally:
        await opened.close()


@pytest.mark.parametrize(
    "cursor", ["x", "W10", "WyJhIiwiYiJd", "bnVsbA", "\u00e9", "WyIyMDI2LTExLTIzVDEyOjAwOjAwIiwiYSJd"]
)
async def test_a_cursor_that_was_not_given_out_is_refused(sqlite_url: str, cursor: str) -> None:
    """A text that is no cursor of this list is refused by name, whatever it decodes to."""
    opened = await prepared(sqlite_url)
    try:
        async with opened.read() as connection:
            with pytest.raises(errors.InvalidParameter) as refused:
                await statement.page(connection, statement.Filter(), Slice(3, cursor))
        assert refused.value.param == "cursor"
    finally:
        await opened.close()
