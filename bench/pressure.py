"""One process under load: saturated, then at a steady rate, with the processor time it took. Starts no process."""

from dataclasses import dataclass

import uvloop

from bench import figures, load, machine
from bench.figures import Figure
from bench.load import Call
from bench.plan import Plan


@dataclass(frozen=True)
class Saturated:
    """What one process gave when more was asked than it could."""

    per_s: float
    cpu_ms: float
    #: Share of one core that it used; well below 1, something else was the limit.
    busy: float
    p50_ms: float
    p99_ms: float


def saturated(what: Call, pid: int, plan: Plan, seconds: float) -> Saturated:
    """Warm it up, then ask as much as goes."""
    uvloop.run(load.saturate(what, plan.connections, plan.warm_s))
    before_s = machine.cpu_s(pid)
    sample = uvloop.run(load.saturate(what, plan.connections, seconds))
    used_s = machine.cpu_s(pid) - before_s
    return Saturated(
        per_s=sample.per_second,
        cpu_ms=used_s / len(sample.took_s) * 1000,
        busy=used_s / sample.seconds,
        p50_ms=figures.percentile(sample.took_s, 0.50) * 1000,
        p99_ms=figures.percentile(sample.took_s, 0.99) * 1000,
    )


def shown(found: Saturated) -> dict[str, Figure]:
    """The figures of a row."""
    return {"req/s": found.per_s, "cpu ms/req": found.cpu_ms, "cores used": found.busy, "sat p99 ms": found.p99_ms}


def at_rate(what: Call, plan: Plan) -> dict[str, Figure]:
    """The times of requests that come steadily."""
    sample = uvloop.run(load.paced(what, plan.connections, plan.paced_per_s, plan.paced_s))
    rate = f"{plan.paced_per_s:g}/s"
    return {
        f"p50 ms at {rate}": figures.percentile(sample.took_s, 0.50) * 1000,
        f"p99 ms at {rate}": figures.percentile(sample.took_s, 0.99) * 1000,
    }


def share(found: Saturated, floor: Saturated, name: str = "floor") -> dict[str, Figure]:
    """How much of the floor it reached: in requests a second, and by processor time, which neighbours disturb less."""
    return {f"% of {name}": found.per_s / floor.per_s * 100, f"% of {name}, by cpu": floor.cpu_ms / found.cpu_ms * 100}
