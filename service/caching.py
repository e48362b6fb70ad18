"""What a run's headers say about the cache, and what its answer says of it. Translates; ``gateway.jobs`` decides."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from litestar import Request

from gateway import errors
from gateway.bootstrap import House
from gateway.jobs.accept import Accepted
from gateway.jobs.draft import Wish
from gateway.reuse import directives
from gateway.reuse.answer import Answer
from gateway.reuse.directives import Handling
from gateway.tenancy.recognition import Caller
from gateway.tenancy.scopes import Scope
from service import fields


def wish(request: Request[Any, Any, Any], asker: Caller) -> Wish:
    """What the request would have of the cache, by all its lines of ``Cache-Control``, and what its key may have."""
    return Wish(
        directives=directives.read(fields.joined(request, b"cache-control")),
        choices=asker.team.reuse,
        chain=asker.key.first,
        reads_team=Scope.READ in asker.scopes,
        told=asker.team.told,
        drained=asker.team.drained,
    )


@contextmanager
def counted(house: House, asker: Caller) -> Iterator[None]:
    """Count a request that would have an answer from the cache only, where there is none."""
    try:
        yield
    except errors.NotCached:
        _count(house, asker, Handling.ONLY_IF_CACHED)
        raise


def told(house: House, asker: Caller, accepted: Accepted, now: datetime) -> Mapping[str, str]:
    """``Cache-Status`` and, for a hit, ``Age``; counted. Nothing for a replay, which asked no cache."""
    if accepted.handling is None:
        return {}
    _count(house, asker, accepted.handling)
    status = {"Cache-Status": directives.cache_status(accepted.handling)}
    return status if accepted.answer is None else status | {"Age": directives.age(accepted.answer, now)}


def hit(house: House, asker: Caller, answer: Answer, now: datetime) -> dict[str, str]:
    """As ``told``, for an answer that was given before."""
    _count(house, asker, Handling.HIT)
    return {"Cache-Status": directives.cache_status(Handling.HIT), "Age": directives.age(answer, now)}


def count_each(house: House, asker: Caller, handled: Iterable[Handling]) -> None:
    """Count the items of a batch, each as a request would be."""
    for handling in handled:
        _count(house, asker, handling)


def _count(house: House, asker: Caller, handling: Handling) -> None:
    house.metrics.cache_requests.labels(asker.team.id, handling.outcome.value).inc()
