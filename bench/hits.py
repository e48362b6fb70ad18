"""``hits``: an order answered from the cache by one ``torii serve``, all checks on, beside a bare app that asks Redis.

The second rate is half of what the floor's half came to: the times of a process that is busy, and not drowned.
"""

import dataclasses
from collections.abc import Iterator
from types import MappingProxyType

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
#: Of the requests a second that saturate it.
_HALF = 0.5


def measure(plan: Plan) -> Iterator[Row]:
    """The floor and the hit, on PostgreSQL: a hit asks no SQL, but who recognises its key does twice a second."""
    with (
        EmulatorProcess(time_scale=0.001) as upstream,
        stage.gateway("postgresql", upstream, TORII_UPSTREAM_RPM="6000") as gateway,
    ):
        with stage.floor(gateway.redis_url) as (process, port):
            what = load.call(port, "POST", bare.ONE_GET, body={"prompt": _PROMPT, **_PARAMETERS})
            floor = pressure.saturated(what, process.pid, plan, plan.floor_s)
        yield Row(NAME, _FLOOR, pressure.shown(floor))
        pid, what = _cached(gateway)
        found = pressure.saturated(what, pid, plan, plan.saturated_s)
        half = dataclasses.replace(plan, paced_per_s=round(found.per_s * _HALF))
        steady = pressure.at_rate(what, half)
    yield Row(NAME, "hit", {**pressure.shown(found), **pressure.share(found, floor, "GET floor"), **steady})


def _cached(gateway: Gateway) -> tuple[int, load.Call]:
    """The process that serves, and an order that was made before; the worker has ended."""
    key = gateway.key()
    served, port = gateway.serve()
    worker = gateway.work()
    with orders.Client(port, key) as client:
        client.completed(client.order(_PROMPT, **_PARAMETERS), within_s=60)
    worker.terminate(35)
    body = {"prompt": _PROMPT, **_PARAMETERS}
    return served.pid, load.call(port, "POST", stage.RUN, key=key, body=body, expected=200)
