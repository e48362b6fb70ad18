"""The emulator's own routes under `/_emulator`: books, switches, reset. PixelDojo has none of them."""

import decimal
from typing import Any

import msgspec

from emulator import board, books, money, switches, webhook, wire
from emulator.world import World


class Control:
    """What tests, the demo and a curious person use; needs no key."""

    def __init__(self, world: World, courier: webhook.Courier) -> None:
        self._world = world
        self._courier = courier
        self._routes = {
            ("GET", "health"): self._health,
            ("GET", "books"): self._books,
            ("GET", "switches"): self._switches,
            ("PATCH", "switches"): self._turn,
            ("POST", "switches/reset"): self._reset_switches,
            ("POST", "reset"): self._reset,
            ("DELETE", "files"): self._delete_files,
        }

    async def answer(self, exchange: wire.Exchange, path: str) -> wire.Response:
        """Answer `path`, the part after `/_emulator/`."""
        route = self._routes.get((exchange.method, path))
        if route is None:
            return _refuse(404, f"no such route of the emulator: {exchange.method} /_emulator/{path[:100]}")
        try:
            return await route(exchange)
        except (board.Rejected, msgspec.MsgspecError, ValueError) as error:
            return _refuse(400, str(error))

    async def _health(self, _: wire.Exchange) -> wire.Response:
        return wire.json_response(200, {"status": "ok"})

    async def _books(self, exchange: wire.Exchange) -> wire.Response:
        return wire.json_response(200, books.read(self._world, jobs=exchange.query().get("jobs") != "false"))

    async def _switches(self, _: wire.Exchange) -> wire.Response:
        return wire.json_response(200, self._shown())

    async def _turn(self, exchange: wire.Exchange) -> wire.Response:
        given = msgspec.json.decode(await exchange.body() or b"", type=dict[str, msgspec.Raw])
        balance = given.pop("balance", None)
        amount = None if balance is None else _amount("balance", balance)
        self._world.board.turn(given)
        if amount is not None:
            self._world.account.adjust(amount)
        return wire.json_response(200, self._shown())

    async def _reset_switches(self, _: wire.Exchange) -> wire.Response:
        self._world.board.reset()
        return wire.json_response(200, self._shown())

    async def _reset(self, exchange: wire.Exchange) -> wire.Response:
        given = msgspec.json.decode(await exchange.body() or b"{}", type=dict[str, msgspec.Raw])
        unknown = [name for name in given if name != "balance"]
        if unknown:
            return _refuse(400, f"reset knows only balance, not {unknown[0]}")
        amount = _amount("balance", given["balance"]) if given else money.micro(self._world.options.balance)
        self._courier.forget()
        self._world.reset(amount)
        return wire.json_response(200, {"status": "ok"})

    async def _delete_files(self, exchange: wire.Exchange) -> wire.Response:
        job_id = exchange.query().get("jobId")
        if job_id is not None and self._world.account.find(job_id) is None:
            return _refuse(404, f"no such job: {job_id[:100]}")
        return wire.json_response(200, {"deleted": self._world.account.delete_files(job_id)})

    def _shown(self) -> dict[str, Any]:
        self._world.account.settle()
        return {"balance": money.wire(self._world.account.balance_micro), **self._world.board.shown()}


def _amount(name: str, raw: msgspec.Raw) -> int:
    try:
        return money.micro(switches.amount(msgspec.json.decode(raw, type=decimal.Decimal)))
    except (ValueError, msgspec.MsgspecError) as error:
        raise board.Rejected(f"{name}: {error}") from None


def _refuse(status: int, message: str) -> wire.Response:
    return wire.json_response(status, {"error": message})
