"""Jobs on the admin surface: listed, shown, and an operator's deeds on one of them. Nudges after the transaction."""

from collections.abc import Mapping
from typing import Any, Final

from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.clock import rfc3339
from gateway.jobs import admin, deeds, erasing, lookup, purging, queue, snapshots, view
from gateway.jobs.record import Job
from gateway.jobs.settlement import Verdict
from gateway.jobs.states import State
from gateway.jobs.view import Frame
from gateway.reuse.shelf import Shelf
from gateway.tenancy import teams
from gateway.tenancy.authority import Authority
from service import admin_shapes, admin_views
from service.admin_bodies import SettlementWanted
from service.admin_deeds import PAGE, Ask, Deed, Office, choice, operation, place

_JOB: Final = place("job", "The job's id.")
_SINCE: Final = choice("since", "Made at this moment or later.", format="date-time")


async def _listing(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    del given
    state, model, since = ask.word("state", State), ask.text("model"), ask.moment("since")
    async with office.database.read() as connection:
        named = ask.text("team")
        team_id = None if named is None else (await teams.find(connection, named, deleted=True)).id
        found, cursor = await admin.page(connection, admin.Filter(team_id, state, model, since), ask.slice)
        names = await teams.names(connection, {job.team_id for job in found})
    return admin_views.page("jobs", [admin_views.job_line(job, names[job.team_id]) for job in found], cursor)


async def _read(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    del given
    async with office.database.read() as connection:
        job = await admin.find(connection, ask.named("job"))
        images = await lookup.images(connection, job.team_id, job.id)
        seen = await lookup.balance_seen(connection)
        name = await _team_name(connection, job)
        attempts = await admin.attempts(connection, job.id)
    now = office.clock.now()
    shown = view.render(job, images, seen, _frame(office), now)
    tried = [admin_views.attempt(row, now) for row in attempts]
    return {**shown, **admin_views.job_more(job, name), "attempts": tried, "seenAt": rfc3339(now)}


async def _cancel(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    async with office.database.write() as tx:
        job = await deeds.cancel(tx, given.actor, ask.named("job"), office.clock.now())
        return admin_views.job_line(job, await _team_name(tx, job))


async def _settle(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    wanted, now, job_id = ask.read(SettlementWanted), office.clock.now(), ask.named("job")
    async with office.database.write() as tx:
        match (wanted.verdict, wanted.upstream_job_id):
            case (None, str(upstream_job_id)) if upstream_job_id.isprintable():
                job = await deeds.found(tx, given.actor, job_id, upstream_job_id, now)
            case (str(verdict), None):
                job = await deeds.settle(tx, given.actor, job_id, Verdict(verdict), now)
            case _:
                raise errors.InvalidParameter("give either `verdict` or `upstreamJobId`", param="verdict")
        shown = admin_views.job_line(job, await _team_name(tx, job))
    await _nudge(office, job)
    return shown


async def _requeue(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    await _require_redis(office)
    async with office.database.write() as tx:
        job = await deeds.requeue(tx, given.actor, ask.named("job"), office.clock.now())
        shown = admin_views.job_line(job, await _team_name(tx, job))
    await _nudge(office, job)
    return shown


async def _erase(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    async with office.database.write() as tx:
        done = await erasing.erase_in(tx, given.actor, ask.named("job"), office.clock.now())
        shown = admin_views.job_line(done.job, await _team_name(tx, done.job))
    immediate = not done.purged
    if office.redis is not None:
        immediate = await Shelf(office.redis, office.clock, purging.TELL_WITHIN_S).forget(done.purged)
        immediate &= await snapshots.forget(office.redis, [done.job], purging.TELL_WITHIN_S)
    if done.led:
        await nudge(office)
    return {**shown, "immediate": immediate}


async def nudge(office: Office) -> None:
    """Tell the workers that queued jobs may be taken: only a hint, which the sweep does without."""
    if office.redis is not None:
        await queue.open(office.redis).submit()


async def _require_redis(office: Office) -> None:
    """Raise unless a nudge can be sent: it is all that is asked for."""
    if office.redis is None:
        raise errors.SettingError("TORII_REDIS_URL is not set, so nobody can be nudged", param="TORII_REDIS_URL")
    try:
        await office.redis.ping()
    except (RedisError, OSError) as error:
        raise errors.Unavailable(f"Redis cannot be reached ({type(error).__name__})") from error


async def _nudge(office: Office, job: Job) -> None:
    if job.state is State.QUEUED:
        await nudge(office)
    elif office.redis is not None and job.state in deeds.STEPS:
        await queue.open(office.redis).step(deeds.STEPS[job.state], job)


async def _team_name(connection: AsyncConnection, job: Job) -> str:
    return (await teams.names(connection, {job.team_id}))[job.team_id]


def _frame(office: Office) -> Frame:
    return Frame(
        public_url=office.settings.public_url,
        link_key=office.keys.image_links[0],
        image_url_ttl_s=office.settings.image_url_ttl_s,
        unknown_wait_s=office.settings.unknown_wait_s,
    )


LIST: Final = Deed(
    operation(
        "get",
        "/jobs",
        "ListJobs",
        "List jobs",
        ("Newest first.", admin_shapes.JobLines),
        parameters=(
            choice("team", "Of this team: its name or id."),
            choice("state", "In this state.", enum=[state.value for state in State]),
            choice("model", "Of this model."),
            _SINCE,
            *PAGE,
        ),
        raises=(errors.TeamNotFound,),
    ),
    _listing,
)
READ: Final = Deed(
    operation(
        "get",
        "/jobs/{job}",
        "GetJob",
        "Read a job",
        ("As its caller sees it, and what only an operator does.", admin_shapes.JobPage),
        parameters=(_JOB,),
        raises=(errors.JobNotFound,),
    ),
    _read,
)
CANCEL: Final = Deed(
    operation(
        "post",
        "/jobs/{job}/cancel",
        "CancelJob",
        "Take a queued job back",
        ("The job, cancelled.", admin_shapes.JobLine),
        parameters=(_JOB,),
        raises=(errors.JobNotFound, errors.Conflict),
    ),
    _cancel,
)
SETTLE: Final = Deed(
    operation(
        "post",
        "/jobs/{job}/settle",
        "SettleJob",
        "End the doubt about an unknown submission",
        ("The job, settled, or running as the upstream's job.", admin_shapes.JobLine),
        parameters=(_JOB,),
        body=SettlementWanted,
        raises=(errors.JobNotFound, errors.Conflict),
    ),
    _settle,
)
REQUEUE: Final = Deed(
    operation(
        "post",
        "/jobs/{job}/requeue",
        "RequeueJob",
        "Nudge the workers about a job",
        ("The job as it is.", admin_shapes.JobLine),
        description="Never an ended job, never one whose POST may have been taken.",
        parameters=(_JOB,),
        raises=(errors.JobNotFound, errors.Conflict, errors.Unavailable),
    ),
    _requeue,
)

ERASE: Final = Deed(
    operation(
        "delete",
        "/jobs/{job}",
        "EraseJob",
        "Erase a job's prompt and pictures",
        ("The job, erased, now or before.", admin_shapes.JobErased),
        description=(
            "Ids, states and amounts stay. A job that waits is taken back first; one that was sent can be erased once "
            "it has ended. Workers delete what is in the archive, within seconds while it answers."
        ),
        parameters=(_JOB,),
        raises=(errors.JobNotFound, errors.Conflict),
    ),
    _erase,
)

DEEDS: Final = (LIST, READ, CANCEL, SETTLE, REQUEUE, ERASE)
