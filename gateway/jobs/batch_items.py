"""The items of a batch, each checked as an order by itself would be; what is wrong is named by its place."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from gateway import errors
from gateway.images import parameters
from gateway.jobs import orders, references
from gateway.jobs.batch_body import Body
from gateway.jobs.draft import Caller, Draft, Wish
from gateway.jobs.gate import Admit
from gateway.jobs.parts import Counter
from gateway.reuse import places

#: A team's moderation endpoint is asked about so many at once.
_HANDS: Final = 8
#: After so many items others have their turn on the event loop.
_BREATH: Final = 50


async def drafts(counter: Counter, caller: Caller, wanted: Body, admit: Admit, wish: Wish) -> list[Draft]:
    """Each item as an order that was checked; what is wrong names its place, the first of them first."""
    checked: list[Draft] = []
    trace_parent, hands = counter.traces.parent(), asyncio.Semaphore(_HANDS)

    async def one(index: int, item: Mapping[str, object]) -> Draft:
        async with hands:
            if index % _BREATH == 0:
                await asyncio.sleep(0)
            try:
                return await _draft(counter, caller, wanted, item, admit, wish)
            except (errors.InvalidRequest, errors.NotAllowed, errors.ModelNotFound) as refusal:
                raise placed(refusal, index) from None

    for start in range(0, len(wanted.items), _BREATH):
        some = list(enumerate(wanted.items))[start : start + _BREATH]
        done = await asyncio.gather(*(one(*each) for each in some), return_exceptions=True)
        for each in done:
            if isinstance(each, BaseException):
                raise each
            checked.append(replace(each, trace_parent=trace_parent))
    _require_different(checked)
    return checked


async def _draft(
    counter: Counter, caller: Caller, wanted: Body, item: Mapping[str, object], admit: Admit, wish: Wish
) -> Draft:
    model_id = item.get("model", wanted.model)
    if not isinstance(model_id, str):
        raise errors.MissingParameter("model is missing: name it for the batch or for each item", param="model")
    model = counter.catalogue.model(model_id)
    own = orders.read({name: value for name, value in item.items() if name != "model"}, counter.webhook_nets)
    order = own if own.priority else replace(own, priority=wanted.order.priority)
    canonical = parameters.canonical(model, order.parameters)
    sources = await references.look(counter, caller.team_id, model, canonical)
    admitted = await admit.look(model, canonical)
    said = references.said(sources, model, admitted.parameters)
    where = None
    if said is not None:
        where = places.of(counter.library.prints, caller.team_id, wish.choices, model, said)
    return Draft(caller, model, admit, admitted, order, wish, where, None, sources=sources)


def placed(refusal: errors.ToriiError, index: int) -> errors.ToriiError:
    """The same refusal, naming the item and its field."""
    at = f"items[{index}]"
    param = at if refusal.param is None else f"{at}.{refusal.param}"
    return type(refusal)(f"{at}: {refusal.message}", param=param)


def _require_different(drafts: Sequence[Draft]) -> None:
    """``InvalidParameter`` for a request that is there twice, seed and all: it would be paid twice for one picture."""
    seen: dict[str, int] = {}
    for index, draft in enumerate(drafts):
        if draft.places is None:
            continue
        first = seen.setdefault(draft.places.own.fingerprint, index)
        if first != index:
            raise errors.InvalidParameter(
                f"items[{index}]: the same request as items[{first}], seed and all; one picture answers both",
                param=f"items[{index}]",
            )
