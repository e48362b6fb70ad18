"""What probes and alerts ask of this process. ``live`` and ``ready`` tell nothing but a word."""

import asyncio
from typing import Any, Final

import structlog
from litestar import Request, Response, route

from gateway import errors
from gateway.bootstrap import House
from gateway.storage import schema
from service import answers, callers, front, wire

#: A probe must be answered whatever the database does.
LOOK_WITHIN_S: Final = 1.0

log = structlog.get_logger(__name__)


@route("/health/live", http_method=["GET", "HEAD"], name="live")
async def live() -> Response[bytes]:
    """The process answers."""
    return answers.json(wire.Liveness(status="live"))


@route("/health/ready", http_method=["GET", "HEAD"], name="ready")
async def ready(request: Request[Any, Any, Any]) -> Response[bytes]:
    """503 only while draining or on a wrong schema: one broken part must not take every replica away."""
    door = front.of(request)
    if door.readiness.draining:
        return answers.json(wire.Readiness(status="draining"), 503)
    if not await _schema_fits(door.house):
        return answers.json(wire.Readiness(status="wrong_schema"), 503)
    return answers.json(wire.Readiness(status="ready"))


@route("/health/paid", http_method=["GET", "HEAD"], name="paid")
async def paid(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Part by part; 503 while no paid job would be accepted."""
    callers.require_watcher(request)
    door = front.of(request)
    report = await door.fitness.report(draining=door.readiness.draining)
    return answers.json(report, 200 if report.accepting else 503)


async def _schema_fits(house: House) -> bool:
    try:
        async with asyncio.timeout(LOOK_WITHIN_S):
            await schema.check(house.database)
    except errors.SchemaMismatch as error:
        log.warning("wrong_schema", reason=error.message)
        return False
    except (errors.StoreUnavailable, TimeoutError):
        return True
    return True
