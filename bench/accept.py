"""``accept``: new jobs accepted by one ``torii serve``, on each database, beside the floor. No worker runs."""

from collections.abc import Iterator
from types import MappingProxyType

from bench import floor as bare
from bench import load, pressure, stage
from bench.figures import Row
from bench.plan import Plan

NAME = "accept"
_BODY = MappingProxyType({"prompt": "a torii gate at dawn, seen from the water", "aspect_ratio": "16:9"})


def measure(plan: Plan) -> Iterator[Row]:
    """A row for each database, each with the floor of its own moment."""
    for database in stage.DATABASES:
        with stage.gateway(database) as gateway:
            with stage.floor(gateway.redis_url) as (process, port):
                what = load.call(port, "POST", bare.CONSTANT, body=_BODY)
                floor = pressure.saturated(what, process.pid, plan, plan.floor_s)
            yield Row(NAME, f"floor beside {database}", pressure.shown(floor))
            key = gateway.key()
            served, port = gateway.serve()
            what = load.call(port, "POST", stage.RUN, key=key, body=_BODY)
            # The steady rate first: behind a saturated run there is a long queue of jobs.
            steady = pressure.at_rate(what, plan)
            found = pressure.saturated(what, served.pid, plan, plan.saturated_s)
        yield Row(NAME, database, {**pressure.shown(found), **pressure.share(found, floor), **steady})
