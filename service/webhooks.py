"""Asking for a job's webhook once more, in PixelDojo's dialect. Translates; sends nothing itself."""

from typing import Any

import structlog
from litestar import Request, Response, post

from gateway.jobs import delivery_log
from gateway.tenancy.scopes import Scope
from gateway.webhooks import urls
from service import answers, callers, front, jobs, webhook_shapes


@post("/api/v1/jobs/{jobId:str}/webhook/replay", name="replayWebhook", status_code=202)
async def replay(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Send a job's webhook again: with ``generate`` about the key's own jobs, with ``manage`` about any of the team's.

    409 for a job that has not ended, and for one without a URL. A key without ``manage`` is told where the message goes
    by the origin alone: the URL may be the team's, with a secret of its receiver's in it.
    """
    house = front.of(request).house
    key = await callers.known(request, Scope.GENERATE, Scope.MANAGE)
    whole_team = not key.scopes.isdisjoint({Scope.MANAGE, Scope.READ})
    job_id = jobs.named_job(request)
    sent = await delivery_log.replay_job(
        house.counter, f"key {key.id}", key.team_id, job_id, None if whole_team else key.id
    )
    structlog.contextvars.bind_contextvars(delivery_id=sent.id)
    told = webhook_shapes.delivery(sent)
    if Scope.MANAGE not in key.scopes:
        told["url"] = urls.origin(sent.url)
    return answers.json(told, 202)
