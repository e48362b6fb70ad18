"""``reads``: a completed job read from one ``torii serve``, on each database, beside two floors."""

from collections.abc import Iterator

from bench import floor as bare
from bench import load, orders, pressure, stage
from bench.figures import Row
from bench.plan import Plan
from bench.stage import Gateway
from tests.support.emulator import EmulatorProcess

NAME = "reads"
_BARE, _ONE_GET = "floor", "floor with a Redis GET"


def measure(plan: Plan) -> Iterator[Row]:
    """A row for each database, each with the floors of its own moment."""
    for database in stage.DATABASES:
        with (
            EmulatorProcess(time_scale=0.001) as upstream,
            stage.gateway(database, upstream, TORII_UPSTREAM_RPM="6000") as gateway,
        ):
            floors = {}
            with stage.floor(gateway.redis_url) as (process, port):
                for name, path in ((_BARE, bare.CONSTANT), (_ONE_GET, bare.ONE_GET)):
                    what = load.call(port, "GET", path)
                    floors[name] = pressure.saturated(what, process.pid, plan, plan.floor_s)
                    yield Row(NAME, f"{name}, beside {database}", pressure.shown(floors[name]))
            served, what = _completed(gateway)
            steady = pressure.at_rate(what, plan)
            found = pressure.saturated(what, served, plan, plan.saturated_s)
        share = {**pressure.share(found, floors[_BARE]), **pressure.share(found, floors[_ONE_GET], "GET floor")}
        yield Row(NAME, database, {**pressure.shown(found), **share, **steady})


def _completed(gateway: Gateway) -> tuple[int, load.Call]:
    """The process that serves, and the reading of a completed job; the worker has ended."""
    key = gateway.key()
    served, port = gateway.serve()
    worker = gateway.work()
    with orders.Client(port, key) as client:
        job_id = client.order("a torii gate that is read again and again")
        client.completed(job_id, within_s=60)
    worker.terminate(35)
    return served.pid, load.call(port, "GET", f"/api/v1/jobs/{job_id}", key=key)
