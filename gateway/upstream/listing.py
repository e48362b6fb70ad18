"""The upstream's public catalogue, read without a key (pixeldojo.md 1.3 and 1.5). Spends nothing and keeps nothing.

Asks for the whole list once, and for one model's schema only where the list has it not. What stood in the way is told
in one line; what it means that something is different is ``comparison``'s.
"""

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

import httpx
import msgspec

from gateway import errors, money

#: For all questions together, below what an operator's client waits for us.
DEADLINE_S: Final = 45.0
CONNECT_TIMEOUT_S: Final = 5.0
#: Of 140 models in full; more than that is not read.
MAX_ANSWER_BYTES: Final = 16 << 20
_DECODER: Final = msgspec.json.Decoder(float_hook=Decimal)


@dataclass(frozen=True)
class Offer:
    """A model as the upstream has it now."""

    api_id: str
    modality: str = "image"
    #: What one picture costs with nothing but a prompt given; none where no number is told.
    cost_micros: int | None = None
    #: The JSON Schema of a run's body; none where it was not asked for.
    schema: Mapping[str, Any] | None = None
    #: False: its schema answers still, yet the list leaves it out.
    listed: bool = True


async def read(base: str, pinned: Collection[str], deadline_s: float = DEADLINE_S) -> list[Offer]:
    """What is offered at that base now; those of ``pinned`` that there are with their schemas, listed or not.

    ``Unavailable`` says in one line what cannot be asked, or cannot be read.
    """
    try:
        async with (
            asyncio.timeout(deadline_s),
            httpx.AsyncClient(
                headers={"Accept": "application/json"}, timeout=httpx.Timeout(deadline_s, connect=CONNECT_TIMEOUT_S)
            ) as client,
        ):
            return await _read(client, base, pinned)
    except TimeoutError:
        raise _unreadable("GET /models", f"no whole answer within {deadline_s:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise _unreadable("GET /models", f"no whole answer ({type(error).__name__})") from error


async def _read(client: httpx.AsyncClient, base: str, pinned: Collection[str]) -> list[Offer]:
    found = {offer.api_id: offer for offer in offers(await _asked(client, base, "/models?detailed=true"))}
    for api_id in pinned:
        offer = found.get(api_id)
        if offer is not None and offer.schema is not None:
            continue
        path = f"/models/{quote(api_id, safe='')}/schema"
        body = await _asked(client, base, path, missing=offer is None)
        if body is not None:
            found[api_id] = _with_schema(api_id, offer, body)
    return list(found.values())


def _with_schema(api_id: str, offer: Offer | None, body: object) -> Offer:
    found = schema(body)
    if found is None:
        raise _unreadable(f"GET /models/{api_id}/schema", "an answer without a JSON Schema")
    if offer is None:
        return Offer(api_id, schema=found, listed=False)
    return Offer(api_id, offer.modality, offer.cost_micros, found)


async def _asked(client: httpx.AsyncClient, base: str, path: str, *, missing: bool = False) -> Any:  # noqa: ANN401  JSON
    """The JSON of an answer; with ``missing``, none for what is not there."""
    asked = f"GET {path.partition('?')[0]}"
    async with client.stream("GET", base + path) as answer:
        if missing and answer.status_code in (404, 410):
            return None
        if answer.status_code != 200:
            raise _unreadable(asked, f"status {answer.status_code}")
        content = bytearray()
        async for chunk in answer.aiter_bytes():
            content += chunk
            if len(content) > MAX_ANSWER_BYTES:
                raise _unreadable(asked, f"an answer of more than {MAX_ANSWER_BYTES >> 20} MiB")
    try:
        return _DECODER.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _unreadable(asked, "an answer that is not JSON") from None


def offers(body: object) -> list[Offer]:
    """The models of a list's body; ``Unavailable`` for a body that is no such list, since what it leaves out is told.

    A price or a schema that cannot be read is none.
    """
    listed = body.get("models") if isinstance(body, Mapping) else None
    if not isinstance(listed, list):
        raise _unreadable("GET /models", "an answer without a list of models")
    return [_offer(each) for each in listed]


def _offer(told: object) -> Offer:
    api_id = told.get("apiId") if isinstance(told, Mapping) else None
    if not isinstance(told, Mapping) or not isinstance(api_id, str) or not api_id:
        raise _unreadable("GET /models", "a model without an apiId")
    modality = told.get("modality")
    return Offer(
        api_id,
        modality if isinstance(modality, str) else "image",
        _cost_micros(told.get("creditCost")),
        schema(told.get("requestSchema")),
    )


def schema(body: object) -> Mapping[str, Any] | None:
    """The JSON Schema of an answer, which is one or has one as its ``schema``; none where there is none."""
    if not isinstance(body, Mapping):
        return None
    inner = body.get("schema", body)
    if not isinstance(inner, Mapping) or not isinstance(inner.get("properties"), Mapping):
        return None
    return inner


def _cost_micros(told: object) -> int | None:
    """``amount`` where there is one, else ``default``, as the vendor's own script reads it; a bare number too."""
    named = [told.get("amount"), told.get("default")] if isinstance(told, Mapping) else [told]
    for number in named:
        if isinstance(number, bool) or not isinstance(number, int | Decimal):
            continue
        with contextlib.suppress(ValueError):
            return money.micros(number)
    return None


def _unreadable(asked: str, got: str) -> errors.Unavailable:
    return errors.Unavailable(f"PIXELDOJO_API_BASE: asked {asked}, and got {got}")
