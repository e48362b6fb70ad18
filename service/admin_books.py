"""The books on the admin surface: the ledger and an operator's entries in it, usage, and the audit log."""

import csv
import io
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors, money
from gateway.jobs import admin
from gateway.jobs.report import Line, report
from gateway.ledger import book, entries, statement
from gateway.ledger.book import Correction
from gateway.ledger.entries import Kind, Payer
from gateway.ledger.usage import By, Span
from gateway.tenancy import audit, keys, teams
from gateway.tenancy.authority import Authority
from service import admin_shapes, admin_views
from service.admin_bodies import AdjustmentWanted, RefundWanted
from service.admin_deeds import PAGE, Ask, Csv, Deed, Office, choice, operation

_SINCE: Final = choice("since", "At this moment or later.", format="date-time")
_UNTIL: Final = choice("until", "Before this moment.", format="date-time")
_TEAM: Final = choice("team", "Of this team: its name or id.")
_SUMS: Final = ("jobs", "pictures", "charged", "refunded", "adjusted", "spent", "held", "reused", "saved")


async def _ledger(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    del given
    async with office.database.read() as connection:
        wanted = statement.Filter(
            team_id=await _team_id(connection, ask),
            key_id=ask.text("key"),
            job_id=ask.text("job"),
            model=ask.text("model"),
            kind=ask.word("kind", Kind),
            since=ask.moment("since"),
            until=ask.moment("until"),
        )
        found = await statement.page(connection, wanted, ask.slice)
        names = await teams.names(connection, {row.team_id for row in found.rows})
    rows = [admin_views.entry(row, names[row.team_id]) for row in found.rows]
    return admin_views.page("entries", rows, found.next_cursor)


async def _adjust(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    wanted = ask.read(AdjustmentWanted)
    amount_micros, now = admin_views.micros("credits", wanted.credits), office.clock.now()
    async with office.database.write() as tx:
        entered = await _entered(tx, office, wanted)
        await statement.adjust(tx, entered, amount_micros, now)
        return await _corrected(tx, office, given, entered, Kind.ADJUST, amount_micros)


async def _refund(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    wanted, now = ask.read(RefundWanted), office.clock.now()
    async with office.database.write() as tx:
        entered = await _entered(tx, office, wanted)
        if wanted.credits is not None:
            amount_micros = admin_views.micros("credits", wanted.credits)
        elif entered.job_id is not None:
            amount_micros = await statement.spent_micros(tx, entered.job_id)
        else:
            raise errors.MissingParameter("credits: say how much the team gets back", param="credits")
        await statement.refund(tx, entered, amount_micros, now)
        return await _corrected(tx, office, given, entered, Kind.REFUND, amount_micros)


async def _entered(tx: AsyncConnection, office: Office, wanted: AdjustmentWanted | RefundWanted) -> Correction:
    """Whom an operator's entry is for: a job, in its hold's windows, or a team alone, in today's."""
    if not wanted.reference.isprintable() or not (wanted.note or "").isprintable():
        raise errors.InvalidParameter("reference, note: use characters that can be printed", param="reference")
    match (wanted.job, wanted.team):
        case (str(job_id), None):
            job = await admin.lock(tx, job_id)
            held = await book.find(tx, job.id, job.attempt)
            return Correction(held.payer, job.id, held.windows, wanted.reference, wanted.note)
        case (None, str(name)):
            team = await teams.find(tx, name, deleted=True)
            windows = entries.windows(office.clock.now())
            return Correction(Payer(team.id, "", ""), None, windows, wanted.reference, wanted.note)
    raise errors.InvalidParameter("give either `job` or `team`", param="job")


async def _corrected(
    tx: AsyncConnection, office: Office, given: Authority, entered: Correction, kind: Kind, amount_micros: int
) -> Mapping[str, Any]:
    team_id = entered.payer.team_id
    await audit.note(
        tx,
        actor=given.actor,
        action=f"ledger.{kind}",
        subject=entered.job_id or team_id,
        team_id=team_id,
        after={"micros": amount_micros, "reference": entered.reference, "note": entered.note},
        at=office.clock.now(),
    )
    return {
        "kind": kind.value,
        "credits": money.credits(amount_micros),
        "teamId": team_id,
        "jobId": entered.job_id,
        "reference": entered.reference,
    }


async def _usage(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any] | Csv:
    del given
    by, form = ask.word("by", By) or By.TEAM, ask.text("format") or "json"
    if form not in ("json", "csv"):
        raise errors.InvalidParameter("format: use json or csv", param="format")
    async with office.database.read() as connection:
        span = Span(await _team_id(connection, ask), ask.day("since"), ask.day("until"))
        found = await report(connection, by, span)
        named = await _groups(connection, by, [line.used.group for line in found.lines])
        lines = [{**group, **_sums(line)} for group, line in zip(named, found.lines, strict=True)]
    if form == "csv":
        return Csv(_csv(by, lines))
    return {
        "by": by.value,
        "since": span.since,
        "until": span.until,
        "usage": lines,
        "total": _sums(found.total),
    }


async def _groups(connection: AsyncConnection, by: By, groups: Sequence[tuple[str, ...]]) -> list[dict[str, Any]]:
    """What each group is called."""
    if by in (By.MODEL, By.DAY):
        return [{by.value: group[0] or None} for group in groups]
    names = await teams.names(connection, {group[0] for group in groups})
    told = [{"team": names[group[0]], "teamId": group[0]} for group in groups]
    if by is By.TEAM:
        return told
    called = await keys.names(connection, {group[1] for group in groups})
    return [
        {**one, "keyId": group[1] or None, "key": called.get(group[1])} for one, group in zip(told, groups, strict=True)
    ]


def _sums(line: Line) -> dict[str, Any]:
    used, spared = line.used, line.spared
    return {
        "jobs": used.jobs,
        "pictures": used.pictures,
        "charged": money.credits(used.charged_micros),
        "refunded": money.credits(used.refunded_micros),
        "adjusted": money.credits(used.adjusted_micros),
        "spent": money.credits(used.spent_micros),
        "held": money.credits(used.held_micros),
        "reused": None if spared is None else spared.answers,
        "saved": None if spared is None else money.credits(spared.micros),
    }


def _csv(by: By, lines: Sequence[Mapping[str, Any]]) -> str:
    """RFC 4180 with a heading; no cell begins like a formula."""
    groups = {By.TEAM: ("team", "teamId"), By.KEY: ("team", "teamId", "keyId", "key")}.get(by, (by.value,))
    sheet = io.StringIO()
    writer = csv.writer(sheet)
    writer.writerow((*groups, *_SUMS))
    for line in lines:
        writer.writerow((*(_cell(line[name]) for name in groups), *(_number(line[name]) for name in _SUMS)))
    return sheet.getvalue()


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _number(value: int | Decimal | None) -> str:
    return "" if value is None else format(Decimal(value), "f")  # never with an exponent


async def _audit(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    del given
    async with office.database.read() as connection:
        wanted = audit.Filter(
            team_id=await _team_id(connection, ask),
            actor=ask.text("actor"),
            action=ask.text("action"),
            subject=ask.text("subject"),
            since=ask.moment("since"),
            until=ask.moment("until"),
        )
        found = await audit.page(connection, wanted, ask.slice)
    return admin_views.page("records", [admin_views.record(row) for row in found.rows], found.next_cursor)


async def _team_id(connection: AsyncConnection, ask: Ask) -> str | None:
    named = ask.text("team")
    return None if named is None else (await teams.find(connection, named, deleted=True)).id


LEDGER: Final = Deed(
    operation(
        "get",
        "/ledger",
        "ListLedger",
        "List the ledger's entries",
        ("Newest first.", admin_shapes.EntryList),
        parameters=(
            _TEAM,
            choice("key", "Of this key."),
            choice("job", "Of this job."),
            choice("model", "Of this model."),
            choice("kind", "Of this kind.", enum=[kind.value for kind in Kind]),
            _SINCE,
            _UNTIL,
            *PAGE,
        ),
        raises=(errors.TeamNotFound,),
    ),
    _ledger,
)
ADJUST: Final = Deed(
    operation(
        "post",
        "/ledger/adjust",
        "AdjustLedger",
        "Correct the ledger by hand",
        ("What was booked.", admin_shapes.Correction),
        description="For a job, in the windows of its hold, or for a team alone, in today's.",
        body=AdjustmentWanted,
        raises=(errors.JobNotFound, errors.TeamNotFound, errors.Conflict),
        status=201,
    ),
    _adjust,
)
REFUND: Final = Deed(
    operation(
        "post",
        "/ledger/refund",
        "RefundLedger",
        "Give credits back by hand",
        ("What was booked.", admin_shapes.Correction),
        description="Of a job no more than it has cost.",
        body=RefundWanted,
        raises=(errors.JobNotFound, errors.TeamNotFound, errors.Conflict),
        status=201,
    ),
    _refund,
)
USAGE: Final = Deed(
    operation(
        "get",
        "/usage",
        "GetUsage",
        "Where the credits went",
        ("Sums by group, of days in UTC.", admin_shapes.UsageReport),
        description=(
            "A job counts for the day of its order, an answer that cost nothing for its own. "
            "`Accept: text/csv` or `format=csv` gives a sheet."
        ),
        parameters=(
            choice("by", "Groups; teams, if nothing is said.", enum=[by.value for by in By]),
            _TEAM,
            choice("since", "From this day on, in UTC.", format="date"),
            choice("until", "Up to the day before this one.", format="date"),
            choice("format", "JSON, if nothing is said.", enum=["json", "csv"]),
        ),
        raises=(errors.TeamNotFound,),
        media_types=("application/json", "text/csv"),
    ),
    _usage,
)
AUDIT: Final = Deed(
    operation(
        "get",
        "/audit",
        "ListAudit",
        "List the audit log",
        ("Newest first.", admin_shapes.AuditList),
        parameters=(
            _TEAM,
            choice("actor", "By this one, such as `admin token`."),
            choice("action", "Of this kind, such as `key.create`."),
            choice("subject", "About this id."),
            _SINCE,
            _UNTIL,
            *PAGE,
        ),
        raises=(errors.TeamNotFound,),
    ),
    _audit,
)

DEEDS: Final = (LEDGER, ADJUST, REFUND, USAGE, AUDIT)
