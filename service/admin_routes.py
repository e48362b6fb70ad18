"""The admin surface over HTTP: who asks, what is asked, and the deed that answers. Decides nothing about any deed."""

import hmac
import re
from collections.abc import Mapping
from typing import Any, Final

import structlog
from litestar import HttpMethod, Request, Response
from litestar.handlers import HTTPRouteHandler

from gateway import errors
from gateway.bootstrap import House
from gateway.tenancy.authority import Authority
from gateway.tenancy.scopes import Scope
from service import admin_operations, answers, bodies, callers, front
from service.admin_deeds import Ask, Csv, Deed, Office

_CSV: Final = "text/csv"
_PLACE: Final = re.compile(r"\{(\w+)\}")


async def authority(request: Request[Any, Any, Any]) -> Authority:
    """In whose name it is asked: the admin token's, or a key's with ``admin`` or ``manage``.

    Raises what ``callers.known`` does.
    """
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and _is_admin_token(front.of(request).house, text.strip()):
        structlog.contextvars.bind_contextvars(actor="admin token")
        return Authority("admin token")
    key = await callers.known(request, Scope.ADMIN, Scope.MANAGE)
    return Authority(f"key {key.id}", key)


def _is_admin_token(house: House, text: str) -> bool:
    shown = text.encode(errors="surrogateescape")
    # Every token is compared, each in constant time, so that the time tells nothing of any.
    matches = [hmac.compare_digest(shown, token.get_secret_value().encode()) for token in house.settings.admin_token]
    return any(matches)


def _route(deed: Deed) -> HTTPRouteHandler:
    """The handler of a deed."""
    operation = deed.operation

    async def answer(request: Request[Any, Any, Any]) -> Response[bytes]:
        house = front.of(request).house
        given = await authority(request)
        ask = Ask(request.path_params, _query(request, deed), await _body(request, deed))
        office = Office(house.settings, house.keys, house.database, house.catalogue, house.clock, house.redis)
        told = await deed.carry_out(office, given, ask)
        if isinstance(told, Csv):
            return Response(told.text.encode(), status_code=deed.status, media_type=f"{_CSV}; header=present")
        return answers.json(told, deed.status)

    answer.__doc__ = operation.summary
    method = HttpMethod(operation.method.upper())
    methods = [method, HttpMethod.HEAD] if method is HttpMethod.GET else [method]
    path = _PLACE.sub(r"{\1:str}", operation.path)
    return HTTPRouteHandler(path, http_method=methods, name=operation.id, status_code=deed.status)(answer)


def _query(request: Request[Any, Any, Any], deed: Deed) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for name, text in request.query_params.multi_items():
        if name in found:
            raise errors.InvalidParameter(f"{name[:40]} may be given once", param=name[:40])
        found[name] = text
    sheets = _CSV in deed.operation.answers[deed.status].media_types
    if sheets and "format" not in found and _CSV in request.headers.get("accept", "").lower():
        found["format"] = "csv"
    return found


async def _body(request: Request[Any, Any, Any], deed: Deed) -> Mapping[str, object]:
    if deed.operation.body is None:
        return {}
    # No body at all stands for one that says nothing: what is missing then is named.
    silent = request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers
    return {} if silent else await bodies.json_object(request)


ADMIN_ROUTES: Final[tuple[HTTPRouteHandler, ...]] = tuple(_route(deed) for deed in admin_operations.DEEDS)
