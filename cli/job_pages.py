"""Jobs as an operator sees them: rows, one whole page, and the changes of one job as they come. Changes nothing."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from cli import stores
from gateway import errors, money
from gateway.clock import rfc3339, rfc3339_ms
from gateway.jobs import lookup, view
from gateway.jobs.record import Job
from gateway.jobs.states import ENDED, State
from gateway.settings import keyring
from gateway.settings.values import Settings
from gateway.tenancy import teams

_LOOK_EVERY_S = 0.5


async def rows(team: str | None, state: State | None, limit: int) -> list[dict[str, Any]]:
    """The newest jobs, of one team or of all; ``TeamNotFound``."""
    async with stores.opened() as house, house.database.read() as connection:
        team_id = None if team is None else (await teams.find(connection, team)).id
        names = {each.id: each.name for each in await teams.listing(connection)}
        found = await lookup.latest(connection, team_id=team_id, state=state, limit=limit)
        return [row(job, names.get(job.team_id, job.team_id)) for job in found]


async def page(job_id: str) -> dict[str, Any]:
    """All of one job: as its caller sees it, and what only an operator does; ``JobNotFound``."""
    async with stores.opened() as house, house.database.read() as connection:
        job = await find(connection, job_id)
        images = await lookup.images(connection, job.team_id, job.id)
        seen = await lookup.balance_seen(connection)
        frame = _frame(house.settings)
        return {
            **view.render(job, images, seen, frame, house.clock.now()),
            "team": (await teams.find(connection, job.team_id)).name,
            "keyId": job.key_id,
            "parameters": dict(job.parameters),
            "attempt": job.attempt,
            "upstreamJobId": job.upstream_job_id,
            "polls": job.polls,
            "submittedAt": _moment(job.submitted_at),
            "acceptedAt": _moment(job.accepted_at),
            "endedAt": _moment(job.ended_at),
        }


def flat(shown: dict[str, Any]) -> dict[str, Any]:
    """A page for people: nested members spelled out, empty ones left out."""
    assets = shown.get("assets", [])
    spelled = {name: value for name, value in shown.items() if name not in ("assets", "output", "error", "parameters")}
    for name, value in shown.get("parameters", {}).items():
        spelled[f"parameters.{name}"] = value
    if "error" in shown:
        spelled["error"] = f"{shown['error']['code']}: {shown['error']['message']}"
    for number, asset in enumerate(assets, start=1):
        spelled[f"picture {number}"] = asset["url"]
    return {name: value for name, value in spelled.items() if value is not None}


async def changes(job_id: str) -> AsyncIterator[dict[str, Any]]:
    """The job now and at each change that its caller can see, until it ends."""
    version: int | None = None
    async with stores.opened() as house:
        while True:
            async with house.database.read() as connection:
                job = await find(connection, job_id)
            if job.version != version:
                version = job.version
                yield {
                    "id": job.id,
                    "state": job.state.value,
                    "version": job.version,
                    "at": rfc3339(house.clock.now()),
                    "error": job.error_code,
                    "message": job.error_message,
                }
            if job.state in ENDED:
                return
            await asyncio.sleep(_LOOK_EVERY_S)


async def find(connection: AsyncConnection, job_id: str) -> Job:
    """The job, whoever owns it; ``JobNotFound``."""
    job = await lookup.any_team(connection, job_id)
    if job is None:
        raise errors.JobNotFound(f"there is no job {job_id[:80]!r}; list them with: torii jobs list", param="job")
    return job


def row(job: Job, team: str) -> dict[str, Any]:
    """One job in a list."""
    cost_micros = job.hold_micros if job.cost_micros is None and job.state not in ENDED else job.cost_micros or 0
    return {
        "id": job.id,
        "state": job.state.value,
        "team": team,
        "model": job.model,
        "createdAt": rfc3339(job.created_at),
        "endedAt": _moment(job.ended_at),
        "tookS": round((job.ended_at - job.created_at).total_seconds(), 1) if job.ended_at else None,
        "credits": money.credits(cost_micros),
        "error": job.error_code,
    }


def _frame(settings: Settings) -> view.Frame:
    return view.Frame(
        public_url=settings.public_url,
        link_key=keyring.derive(settings.secret_key).image_links[0],
        image_url_ttl_s=settings.image_url_ttl_s,
        unknown_wait_s=settings.unknown_wait_s,
    )


def _moment(at: datetime | None) -> str | None:
    return None if at is None else rfc3339_ms(at)
