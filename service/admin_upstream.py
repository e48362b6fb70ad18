"""The upstream on the admin surface: its account, pauses of everything, a team or a model, and operators' prices."""

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa
from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors, money
from gateway.images.model import Model
from gateway.jobs import account, admin, pauses, pricing
from gateway.jobs.pauses import Scope
from gateway.storage import schema
from gateway.tenancy import audit, teams
from gateway.tenancy.authority import Authority
from gateway.upstream.pacer import Pacer
from service import admin_jobs, admin_shapes, admin_views
from service.admin_bodies import PauseWanted, PriceWanted, TopupWanted
from service.admin_deeds import Ask, Deed, Office, operation, place

#: What the audit log calls the account: there is one.
_ACCOUNT: Final = "upstream"


async def _status(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    del given, ask
    async with office.database.read() as connection:
        found = await admin.account(connection)
    return await _shown(office, found)


async def _shown(office: Office, row: sa.Row[Any]) -> dict[str, Any]:
    """The account, and how fast it is asked."""
    allowed = office.settings.upstream_rpm
    present = None if office.redis is None else await _present_rpm(Pacer(office.redis, allowed))
    return {**_account(row), "requestsPerMinute": present, "requestsPerMinuteAllowed": allowed}


async def _present_rpm(pacer: Pacer) -> float | None:
    """How many requests a minute the budget allows now, 0 while nobody asks; none without Redis' word."""
    try:
        standing = await pacer.standing()
    except (RedisError, OSError, TimeoutError):
        return None
    return 0.0 if standing.halted_s else round(standing.rpm, 1)


async def _resume_upstream(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    del ask
    async with office.database.write() as tx:
        before = _account(await schema.lock_account(tx))
        await account.resume(tx)
        after = await admin.account(tx)
        rested = {"pausedUntil": before["pausedUntil"], "breakerUntil": before["breakerUntil"]}
        await _note(tx, office, given, "upstream.resume", _ACCOUNT, before=rested)
    await admin_jobs.nudge(office)
    return await _shown(office, after)


async def _topup(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    wanted = ask.read(TopupWanted)
    amount_micros = admin_views.micros("credits", wanted.credits)
    if amount_micros == 0:
        raise errors.InvalidParameter("credits: a topup is more than nothing", param="credits")
    if not (wanted.reference or "").isprintable():
        raise errors.InvalidParameter("reference: use characters that can be printed", param="reference")
    try:
        async with office.database.write() as tx:
            await account.topup(tx, amount_micros, office.clock.now(), wanted.reference)
            told = {"micros": amount_micros, "reference": wanted.reference}
            await _note(tx, office, given, "upstream.topup", _ACCOUNT, after=told)
            found = await admin.account(tx)
    except sa.exc.IntegrityError:
        raise errors.Conflict("reference: there is a topup of that name already", param="reference") from None
    await admin_jobs.nudge(office)
    return await _shown(office, found)


def _account(row: sa.Row[Any]) -> dict[str, Any]:
    return {
        "balance": _credits(row.remaining_micros),
        "seenAt": admin_views.moment(row.remaining_seen_at),
        "expected": _credits(row.expected_micros),
        "drift": money.credits(row.drift_micros),
        "pausedUntil": admin_views.moment(row.paused_until),
        "pauseReason": row.pause_reason,
        "breakerUntil": admin_views.moment(row.breaker_until),
        "breakerFailures": row.breaker_failures,
    }


def _credits(micros: int | None) -> Any:  # noqa: ANN401  an integer or a decimal
    return None if micros is None else money.credits(micros)


async def _list_pauses(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    del given, ask
    async with office.database.read() as connection:
        found = await pauses.listing(connection)
    return {
        "pauses": [
            {"scope": each.scope.value, "subject": each.subject or None, "since": admin_views.moment(each.since_at)}
            for each in found
        ]
    }


async def _pause(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    return await _paused(office, given, ask.read(PauseWanted), paused=True)


async def _resume(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    answer = await _paused(office, given, ask.read(PauseWanted), paused=False)
    await admin_jobs.nudge(office)
    return answer


async def _paused(office: Office, given: Authority, wanted: PauseWanted, *, paused: bool) -> Mapping[str, Any]:
    now = office.clock.now()
    async with office.database.write() as tx:
        scope, subject = await _subject(tx, office, wanted)
        change = pauses.pause if paused else pauses.resume
        changed = await change(tx, scope, subject, now)
        await _note(
            tx,
            office,
            given,
            "pause.begin" if paused else "pause.end",
            subject[:40] or scope.value,
            team_id=subject if scope is Scope.TEAM else None,
            after={"scope": scope.value, "changed": changed},
        )
    return {"scope": scope.value, "subject": subject or None, "changed": changed}


async def _subject(tx: AsyncConnection, office: Office, wanted: PauseWanted) -> tuple[Scope, str]:
    match (wanted.all, wanted.team, wanted.model):
        case (True, None, None):
            return Scope.ALL, ""
        case (False, str(name), None):
            return Scope.TEAM, (await teams.find(tx, name, deleted=True)).id
        case (False, None, str(name)):
            return Scope.MODEL, office.catalogue.model(name).api_id
    raise errors.InvalidParameter("give one of `team`, `model` and `all`", param="all")


async def _models(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    del given, ask
    async with office.database.read() as connection:
        prices = await admin.prices(connection)
    return {"models": [_model(model, prices) for model in office.catalogue]}


async def _put_price(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    wanted = ask.read(PriceWanted)
    model, resolution = office.catalogue.model(ask.named("model")), ask.named("resolution")
    amount_micros = admin_views.micros("credits", wanted.credits)
    async with office.database.write() as tx:
        row = (await admin.prices(tx, lock=True)).get((model.api_id, resolution))
        await pricing.put(tx, model, resolution, amount_micros)
        await _note(
            tx,
            office,
            given,
            "model.price",
            model.api_id[:40],
            before={"resolution": resolution, "micros": None if row is None else row.micros},
            after={"resolution": resolution, "micros": amount_micros},
        )
        prices = await admin.prices(tx)
    await admin_jobs.nudge(office)
    return _model(model, prices)


def _model(model: Model, prices: Mapping[tuple[str, str], sa.Row[Any]]) -> dict[str, Any]:
    lines = []
    for resolution, price in model.prices.items():
        row = prices.get((model.api_id, resolution))
        own = None if row is None else row.micros
        lines.append(
            {
                "resolution": resolution,
                "credits": money.credits(price.micros if own is None else own),
                "bound": own is None and price.bound,
                "byOperator": own is not None,
                "blockedAt": None if row is None else admin_views.moment(row.blocked_at),
            }
        )
    return {"apiId": model.api_id, "name": model.name, "prices": lines}


async def _note(
    tx: AsyncConnection,
    office: Office,
    given: Authority,
    action: str,
    subject: str,
    *,
    team_id: str | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    await audit.note(
        tx,
        actor=given.actor,
        action=action,
        subject=subject,
        team_id=team_id,
        before=before,
        after=after,
        at=office.clock.now(),
    )


STATUS: Final = Deed(
    operation(
        "get", "/upstream", "GetUpstream", "Read the upstream account", ("As last seen.", admin_shapes.UpstreamBody)
    ),
    _status,
)
RESUME_UPSTREAM: Final = Deed(
    operation(
        "post",
        "/upstream/resume",
        "ResumeUpstream",
        "Submit again at once",
        ("The account.", admin_shapes.UpstreamBody),
        description="After credits ran out or a key was refused, without waiting for the next trial.",
    ),
    _resume_upstream,
)
TOPUP: Final = Deed(
    operation(
        "post",
        "/upstream/topup",
        "TopupUpstream",
        "Note credits that were put into the account",
        ("The account.", admin_shapes.UpstreamBody),
        body=TopupWanted,
        raises=(errors.Conflict,),
        status=201,
    ),
    _topup,
)
LIST_PAUSES: Final = Deed(
    operation("get", "/pauses", "ListPauses", "List the pauses in force", ("Oldest first.", admin_shapes.PauseList)),
    _list_pauses,
)
PAUSE: Final = Deed(
    operation(
        "post",
        "/pauses",
        "Pause",
        "Send nothing more of a team, of a model, or at all",
        ("What it came to.", admin_shapes.PauseAnswer),
        description="Accepted jobs wait, and their patience with them; what was sent goes on.",
        body=PauseWanted,
        raises=(errors.TeamNotFound, errors.ModelNotFound),
    ),
    _pause,
)
RESUME: Final = Deed(
    operation(
        "post",
        "/pauses/resume",
        "Resume",
        "End a pause",
        ("What it came to.", admin_shapes.PauseAnswer),
        body=PauseWanted,
        raises=(errors.TeamNotFound, errors.ModelNotFound),
    ),
    _resume,
)
LIST_MODELS: Final = Deed(
    operation(
        "get",
        "/models",
        "ListModels",
        "List the models with the prices now in force",
        ("In the catalogue's order.", admin_shapes.PricedModels),
    ),
    _models,
)
PUT_PRICE: Final = Deed(
    operation(
        "put",
        "/models/{model}/prices/{resolution}",
        "PutPrice",
        "Set what one picture costs",
        ("The model and its prices.", admin_shapes.PricedModel),
        description="Lifts the block that a charge above its hold has put on the pair.",
        parameters=(place("model", "The model's id."), place("resolution", "Such as `1 MP`.")),
        body=PriceWanted,
        raises=(errors.ModelNotFound,),
    ),
    _put_price,
)

DEEDS: Final = (STATUS, RESUME_UPSTREAM, TOPUP, LIST_PAUSES, PAUSE, RESUME, LIST_MODELS, PUT_PRICE)
