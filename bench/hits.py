"""``hits``: an order answered from the cache by one ``torii serve``, all checks on, beside a bare app that asks Redis.

One order again and again is what a process answers quickest, since it was read and rendered before; so many different
ones are asked for in turn as well. The second rate is half of what the first came to: the times of a process that is
busy, and not drowned.
"""

import dataclasses
from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

from bench import floor as bare
from bench import load, orders, pressure, stage
from bench.figures import Row
from bench.plan import Plan
from bench.stage import Gateway
from tests.support.emulator import EmulatorProcess

NAME = "hits"
_FLOOR = "floor with a Redis GET"
_PROMPT = "a torii gate that is asked for again and again"
_PARAMETERS = MappingProxyType({"seed": 7, "aspect_ratio": "16:9"})
#: Different orders that are asked for in turn.
_DIFFERENT: Final = 64
_IN_TURN: Final = f"{_DIFFERENT} orders in turn"
#: Of the requests a second that saturate it.
_HALF = 0.5


def measure(plan: Plan) -> Iterator[Row]:
    """The floor and the hits, on PostgreSQL: a hit asks no SQL, but who recognises its key does twice a second."""
    with (
        EmulatorProcess(time_scale=0.001) as upstream,
        stage.gateway("postgresql", upstream, TORII_UPSTREAM_RPM="6000") as gateway,
    ):
        with stage.floor(gateway.redis_url) as (process, port):
            what = load.call(port, "POST", bare.ONE_GET, body={"prompt": _PROMPT, **_PARAMETERS})
            floor = pressure.saturated(what, process.pid, plan, plan.floor_s)
        yield Row(NAME, _FLOOR, pressure.shown(floor))
        pid, what, several = _cached(gateway)
        found = pressure.saturated(what, pid, plan, plan.saturated_s)
        turns = pressure.saturated(several, pid, plan, plan.saturated_s)
        half = dataclasses.replace(plan, paced_per_s=round(found.per_s * _HALF))
        steady = pressure.at_rate(what, half)
    yield Row(NAME, "hit", {**pressure.shown(found), **pressure.share(found, floor, "GET floor"), **steady})
    yield Row(NAME, _IN_TURN, {**pressure.shown(turns), **pressure.share(turns, floor, "GET floor")})


def _cached(gateway: Gateway) -> tuple[int, load.Call, load.Call]:
    """The process that serves, an order that was made before, and many of them; the worker has ended."""
    key = gateway.key()
    served, port = gateway.serve()
    worker = gateway.work()
    prompts = [f"{_PROMPT}, number {number}" for number in range(_DIFFERENT)]
    with orders.Client(port, key) as client:
        for job_id in [client.order(prompt, **_PARAMETERS) for prompt in prompts]:
            client.completed(job_id, within_s=60)
    worker.terminate(35)
    calls = [
        load.call(port, "POST", stage.RUN, key=key, body={"prompt": prompt, **_PARAMETERS}, expected=200)
        for prompt in prompts
    ]
    return served.pid, calls[0], dataclasses.replace(calls[0], others=tuple(each.data for each in calls[1:]))
