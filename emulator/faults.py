"""Lets a chosen fault strike an exchange: wrong answers, silence, cuts. Chooses none itself."""

import email.utils
import types
from collections.abc import Awaitable, Callable

from emulator import answers, switches, wire

CarryOut = Callable[[], Awaitable[wire.Response]]
CODES = types.MappingProxyType(
    {401: "invalid_api_key", 402: "insufficient_credits", 403: "forbidden", 404: "not_found", 429: "rate_limited"}
)
# What these kinds spoil is the answer, so the request has been carried out, unless the rule says otherwise.
ACCEPTING = frozenset({"cut_after", "cut_midway", "hang_midway", "hang", "slow", "non_json", "garbage_202"})


def accepts(fault: switches.Fault) -> bool:
    """Whether the request is carried out before the fault strikes."""
    return fault.kind in ACCEPTING if fault.accepted is None else fault.accepted


async def strike(
    fault: switches.Fault, exchange: wire.Exchange, now: switches.Switches, at: float, carry_out: CarryOut
) -> None:
    """Do to the exchange what the fault says; `at` is the time in Unix seconds."""
    await exchange.body()  # a cut while the client still writes would be another fault than the one ordered
    response = await carry_out() if accepts(fault) else wire.Response(204)
    if fault.kind in ("cut_before", "cut_after"):
        await exchange.cut(reset=fault.reset)
    elif fault.kind in ("cut_midway", "hang_midway", "hang"):
        await _break_off(fault, exchange, response)
    else:
        await _answer(fault, exchange, now, at, response)


async def _break_off(fault: switches.Fault, exchange: wire.Exchange, response: wire.Response) -> None:
    if fault.kind != "hang":
        await exchange.send_part(response, fault.cut_bytes)
    if fault.kind == "cut_midway" or not await exchange.left(fault.hang_s):
        await exchange.cut(reset=fault.reset)


async def _answer(
    fault: switches.Fault, exchange: wire.Exchange, now: switches.Switches, at: float, response: wire.Response
) -> None:
    if fault.kind == "slow":
        if await exchange.left(fault.delay_s):
            raise wire.ClientLeft
    elif fault.kind == "non_json":
        response = answers.html(response.status)
    elif fault.kind == "garbage_202":
        response = wire.json_response(202, {"status": "pending"})
    elif fault.kind == "redirect":
        response = wire.Response(302, headers={"Location": fault.location})
    else:
        response = _status(fault, now)
    response.headers |= _headers(fault, at)
    await exchange.send(response)


def _status(fault: switches.Fault, now: switches.Switches) -> wire.Response:
    if fault.body == "html":
        return answers.html(fault.status)
    if fault.body == "empty":
        return wire.Response(fault.status)
    code = fault.code or CODES.get(fault.status, "server_error")
    return answers.error(now, fault.status, code, fault.message or code.replace("_", " ").capitalize())


def _headers(fault: switches.Fault, at: float) -> dict[str, str]:
    headers = dict(fault.headers)
    if fault.retry_after_s is not None:
        moment = email.utils.formatdate(at + fault.retry_after_s, usegmt=True)
        headers["Retry-After"] = moment if fault.retry_after_date else str(fault.retry_after_s)
    if fault.rate_limit_limit is not None:
        headers["X-RateLimit-Limit"] = str(fault.rate_limit_limit)
    if fault.rate_limit_remaining is not None:
        headers["X-RateLimit-Remaining"] = str(fault.rate_limit_remaining)
    if fault.rate_limit_reset_s is not None:
        headers["X-RateLimit-Reset"] = str(int(at) + fault.rate_limit_reset_s)
    return headers
