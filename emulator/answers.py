"""The bodies of PixelDojo's answers, as the seed shows them and as the switches bend them. Changes nothing."""

from typing import Any

from emulator import catalogue, clock, job, money, switches, wire

HTML = b"<!DOCTYPE html><html><head><title>Bad gateway</title></head><body>The edge is unhappy.</body></html>\n"


def error(now: switches.Switches, status: int, code: str, message: str) -> wire.Response:
    """An error in the envelope chosen (pixeldojo.md 1.9: all three occur somewhere)."""
    bodies: dict[str, Any] = {
        "object": {"error": {"code": code, "message": message}},
        "string": {"error": message},
        "message": {"message": message},
    }
    return wire.json_response(status, bodies[now.error_envelope])


def html(status: int) -> wire.Response:
    """A page such as a CDN puts in front of an API."""
    return wire.Response(status, HTML, "text/html; charset=utf-8")


def accepted(created: job.Job, now: switches.Switches, base: str, remaining_micro: int) -> wire.Response:
    """The 202 of a submit, fields in the seed's order."""
    status_base = _elsewhere(now.status_url_host, base)
    body: dict[str, Any] = {
        "jobId": created.id,
        "status": "pending",
        "statusUrl": f"{status_base}/api/v1/jobs/{created.id}",
    }
    if not now.omit_credit_cost:
        body["creditCost"] = money.wire(created.cost_micro)
    if not now.omit_credits_remaining:
        body["creditsRemaining"] = money.wire(remaining_micro)
    return wire.json_response(now.submit_status, body | _expiry(created, now))


def shown(found: job.Job, now: switches.Switches, base: str, at: float) -> dict[str, Any]:
    """A job as its own address shows it: output when completed, error when failed."""
    state = job.status(found, at, processing=now.processing)
    ended = job.terminal(found, at)
    body: dict[str, Any] = {"jobId": found.id, "status": state}
    if ended and state == "completed":
        body |= _output(found, now, base)
    if ended and state == "failed":
        body |= _failure(found.outcome)
    if not now.omit_credit_cost:
        body["creditCost"] = _cost(found, now)
    if found.refunded_micro and now.refund_shown == "refunded":
        body |= {"refunded": True, "creditsRefunded": money.wire(found.refunded_micro)}
    return body | _expiry(found, now)


def row(found: job.Job, now: switches.Switches, at: float) -> dict[str, Any]:
    """A job in the list. The shape is assumed: no page shows it (pixeldojo.md 1.6)."""
    body: dict[str, Any] = {
        "jobId": found.id,
        "status": job.status(found, at, processing=now.processing),
        "model": found.order.model.apiId,
        "createdAt": clock.seconds(found.created_at),
        "creditCost": _cost(found, now),
    }
    if now.job_list_prompts:
        body["prompt"] = found.prompt
    return {name: value for name, value in body.items() if name not in now.job_list_hides}


def listing(rows: list[dict[str, Any]], now: switches.Switches, *, cursor: str | None, page: int, pages: int) -> Any:  # noqa: ANN401  any JSON
    """A page of the list in the shape chosen; all are assumed."""
    shapes: dict[str, Any] = {
        "jobs": {"jobs": rows, "total": len(rows), "nextCursor": cursor},
        "array": rows,
        "data": {"data": rows, "pagination": {"hasMore": cursor is not None, "nextCursor": cursor}},
        "pages": {"data": rows, "page": page, "totalPages": pages},
        "garbage": {"ok": True, "jobs": "later"},
    }
    return shapes[now.job_list_shape]


def model(found: catalogue.Model, prices: catalogue.Prices) -> dict[str, Any]:
    """A model in the public list (pixeldojo.md 1.3)."""
    default = money.wire(found.cost("1 MP", 1, prices))
    by_resolution = isinstance(prices.get(found.apiId, found.prices or None), dict)
    cost: dict[str, Any] = {"default": default, "type": "variable" if by_resolution else "fixed"}
    if not by_resolution:
        cost["amount"] = default
    return {
        "apiId": found.apiId,
        "name": found.name,
        "description": found.description,
        "modality": found.modality,
        "creditCost": cost,
        "capabilities": list(found.capabilities),
    }


def model_detail(found: catalogue.Model, prices: catalogue.Prices) -> dict[str, Any]:
    """One model with its parameters and request schema (pixeldojo.md 1.4)."""
    schema = catalogue.request_schema(found)
    required = schema["required"]
    parameters = [{"name": name, "required": name in required, **row} for name, row in schema["properties"].items()]
    return {**model(found, prices), "parameters": parameters, "requestSchema": schema}


def _elsewhere(host: str | None, base: str) -> str:
    if host is None:
        return base
    return host if "://" in host else f"http://{host}"


def _expiry(found: job.Job, now: switches.Switches) -> dict[str, Any]:
    if now.expires_at == "omit":
        return {}
    return {"expiresAt": clock.seconds(found.expires_at) if now.expires_at == "auto" else now.expires_at}


def _cost(found: job.Job, now: switches.Switches) -> Any:  # noqa: ANN401  a JSON number
    given_back = found.refunded_micro if now.refund_shown == "credit_cost" else 0
    return money.wire(found.cost_micro - given_back)


def _output(found: job.Job, now: switches.Switches, base: str) -> dict[str, Any]:
    base = _elsewhere(now.image_host, base)
    width, height = found.size
    full = [
        {"url": f"{base}/pixeldojotemp/{name}", "seed": found.seed, "width": width, "height": height}
        for name in job.delivered(found)
    ]
    elements: list[Any] = full if now.image_shape == "objects" else [image["url"] for image in full]
    body: dict[str, Any] = {}
    if now.output_key == "images":
        body["output"] = {"images": elements}
    elif now.output_key == "image":
        body["output"] = {"image": elements[0]} if elements else {}
    if now.assets:
        body["assets"] = [{"url": image["url"]} for image in full]
    return body


def _failure(outcome: switches.Outcome) -> dict[str, Any]:
    if outcome.error == "object":
        return {"error": {"code": outcome.code, "message": outcome.message}}
    return {"error": outcome.message} if outcome.error == "string" else {"message": outcome.message}
