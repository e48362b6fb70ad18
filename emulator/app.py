"""The ASGI app: finds the operation, counts it, limits it, lets a fault strike or the handler answer."""

import re
from collections.abc import Awaitable, Callable

import msgspec

from emulator import answers, api, control, downloads, faults, references, switches, webhook, wire
from emulator.world import World

Handler = Callable[[wire.Exchange, str], Awaitable[wire.Response]]

CONTROL_PREFIX = "/_emulator/"


class App:
    """One stand-in PixelDojo."""

    def __init__(
        self, world: World, courier: webhook.Courier, files: downloads.Downloads, fetcher: references.Fetcher
    ) -> None:
        self._world = world
        self._control = control.Control(world, courier)
        desk = api.Api(world, courier, fetcher)
        # operation, methods, path, handler; an operation names its counter and its line of faults
        self._routes: list[tuple[str, tuple[str, ...], re.Pattern[str], Handler]] = [
            ("poll", ("GET",), re.compile(r"/api/v1/jobs/([^/]+)"), desk.poll),
            ("submit", ("POST",), re.compile(r"/api/v1/models/([^/]+)/run"), desk.submit),
            ("download", ("GET", "HEAD"), re.compile(r"/pixeldojotemp/([^/]+)"), files.get),
            ("list", ("GET",), re.compile(r"/api/v1/jobs/?()"), desk.jobs),
            ("replay", ("POST",), re.compile(r"/api/v1/jobs/([^/]+)/webhook/replay"), desk.replay),
            ("models", ("GET",), re.compile(r"/api/v1/models/?()"), desk.models),
            ("models", ("GET",), re.compile(r"/api/v1/models/([^/]+)"), desk.model),
            ("models", ("GET",), re.compile(r"/api/v1/models/([^/]+)/schema"), desk.schema),
        ]

    async def __call__(self, scope: wire.Scope, receive: wire.Receive, send: wire.Send) -> None:
        """Serve one exchange."""
        exchange = wire.Exchange(scope, receive, send)
        try:
            if exchange.path.startswith(CONTROL_PREFIX):
                path = exchange.path.removeprefix(CONTROL_PREFIX)
                await exchange.send(await self._control.answer(exchange, path))
            else:
                await self._serve(exchange)
        except wire.ClientLeft:
            pass

    async def _serve(self, exchange: wire.Exchange) -> None:
        operation, subject, handler = self._find(exchange)
        now = self._world.now()
        tally = self._world.tally
        tally.receive(operation, now)
        if operation == "download" and exchange.header("authorization") is not None:
            tally.downloads_with_authorization += 1

        async def carry_out() -> wire.Response:
            return await handler(exchange, subject)

        fault = await self._fault(exchange, operation, subject)
        if fault is not None:
            tally.faults[f"{operation}:{fault.kind}"] += 1
            await faults.strike(fault, exchange, self._world.board.now, now, carry_out)
            return
        headers, response = self._limit(operation, now)
        if response is None:
            response = await carry_out()
        response.headers |= headers
        tally.answered[f"{operation}:{response.status}"] += 1
        await exchange.send(response)

    def _find(self, exchange: wire.Exchange) -> tuple[str, str, Handler]:
        allowed = True
        for operation, methods, path, handler in self._routes:
            match = path.fullmatch(exchange.path)
            if match is not None and exchange.method in methods:
                return operation, match[1], handler
            allowed = allowed and match is None
        return "unknown", "404" if allowed else "405", self._unknown

    async def _unknown(self, _: wire.Exchange, status: str) -> wire.Response:
        said = {"404": ("not_found", "Not found"), "405": ("method_not_allowed", "Method not allowed")}
        return answers.error(self._world.board.now, int(status), *said[status])

    async def _fault(self, exchange: wire.Exchange, operation: str, subject: str) -> switches.Fault | None:
        line = self._world.board.faults.get(f"{operation}_fault")
        if line is None or not line.rules():
            return None
        if operation == "submit":
            return line.take(model=subject, prompt=_prompt(await exchange.body()))
        if operation == "models":
            return line.take(model=subject)
        if operation == "download":
            stored = self._world.account.file(subject)
            found = None if stored is None else stored[0]
        else:
            found = self._world.account.find(subject)
        if found is None:
            return line.take(job_id=subject)
        return line.take(model=found.order.model.apiId, prompt=found.prompt, job_id=found.id)

    def _limit(self, operation: str, now: float) -> tuple[dict[str, str], wire.Response | None]:
        chosen = self._world.board.now
        if chosen.rate_limit_rpm is None or operation == "download":
            return {}, None
        admitted, headers = self._world.limiter.admit(now, chosen.rate_limit_rpm, chosen.rate_limit_window_s)
        if admitted:
            return headers, None
        if not chosen.rate_limit_retry_after:
            headers.pop("Retry-After")
        return headers, answers.error(chosen, 429, "rate_limited", "Too many requests")


def _prompt(body: bytes | None) -> str:
    try:
        given = msgspec.json.decode(body or b"")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return str(given.get("prompt", "")) if isinstance(given, dict) else ""
