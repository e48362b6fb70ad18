"""``lag``: from the upstream's finishing a job to Torii's having completed it, and the calls that a picture took.

By polling alone, and on SQLite: the database is not what is measured. Durations are like the seed's,
43.6 to 44.2 s, and the emulator's own books say when each job was finished. Both request budgets run side by side: both
gateways wait nearly all of the time.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from bench import figures, stage
from bench.figures import Figure, Row
from bench.orders import Client, moment
from bench.plan import Plan
from tests.support.emulator import EmulatorProcess

NAME = "lag"
SHORTEST_S, LONGEST_S = 43.6, 44.2
#: Requests a minute: the default, and as good as none. Shorter jobs are ordered as much faster, and get as much more.
BUDGETS = (60, 6000)
#: So many ends a model must have shown before they alone say when to look.
LEARNT = 3
_PICTURE_BYTES = 100_000


@dataclass(frozen=True)
class House:
    """One gateway of the two, at work."""

    budget: int
    upstream: EmulatorProcess
    client: Client


@dataclass(frozen=True)
class Story:
    """What became of one job, in Unix seconds."""

    ordered_at: float
    finished_at: float
    completed_at: float
    calls: int

    @property
    def lag_s(self) -> float:
        """From the upstream's end to ours."""
        return self.completed_at - self.finished_at


def measure(plan: Plan) -> Iterator[Row]:
    """Two rows for each budget: all jobs, and those ordered once the model's duration had been learnt."""
    with ExitStack() as ending:
        houses = [_open(budget, plan, ending) for budget in BUDGETS]
        job_ids = _order(houses, plan)
        for house in houses:
            stories = _stories(house, job_ids[house.budget], plan)
            case = f"{house.budget} rpm, scale {plan.lag_scale:g}"
            yield Row(NAME, f"{case}, all", told(stories))
            later = after_learning(stories)
            if later:
                yield Row(NAME, f"{case}, once learnt", told(later))


def told(stories: Sequence[Story]) -> dict[str, Figure]:
    """The figures of these jobs."""
    lags = sorted(story.lag_s for story in stories)
    calls = [float(story.calls) for story in stories]
    return {
        "jobs": len(stories),
        "median s": figures.percentile(lags, 0.5),
        "p90 s": figures.percentile(lags, 0.9),
        "max s": lags[-1],
        "calls/picture": figures.mean(calls),
        "most calls": int(max(calls)),
    }


def after_learning(stories: Sequence[Story]) -> list[Story]:
    """The jobs that were ordered when enough others had ended."""
    ends = sorted(story.completed_at for story in stories)
    if len(ends) < LEARNT:
        return []
    return [story for story in stories if story.ordered_at >= ends[LEARNT - 1]]


def _open(budget: int, plan: Plan, ending: ExitStack) -> House:
    rpm = round(budget / plan.lag_scale)
    upstream = ending.enter_context(EmulatorProcess(time_scale=plan.lag_scale))
    upstream.switch(duration_s={"min": SHORTEST_S, "max": LONGEST_S}, picture_bytes=_PICTURE_BYTES)
    gateway = ending.enter_context(stage.gateway("sqlite", upstream, TORII_UPSTREAM_RPM=str(rpm)))
    key = gateway.key()
    _, port = gateway.serve()
    gateway.work()
    return House(budget, upstream, ending.enter_context(Client(port, key)))


def _order(houses: Sequence[House], plan: Plan) -> dict[int, list[str]]:
    """Order at a steady pace from each; the jobs' ids by budget, in order."""
    ordered: dict[int, list[str]] = {house.budget: [] for house in houses}
    begun_s = time.monotonic()
    for number in range(plan.lag_jobs):
        time.sleep(max(0.0, begun_s + number * plan.lag_every_s * plan.lag_scale - time.monotonic()))
        for house in houses:
            ordered[house.budget].append(house.client.order(_prompt(number)))
    return ordered


def _stories(house: House, job_ids: Sequence[str], plan: Plan) -> list[Story]:
    within_s = 60.0 + 2 * LONGEST_S * plan.lag_scale
    shown = [house.client.completed(job_id, within_s, every_s=0.5) for job_id in job_ids]
    upstream = {row["parameters"]["prompt"]: row for row in house.upstream.books()["jobs"]}
    return [_story(job, upstream[_prompt(number)]) for number, job in enumerate(shown)]


def _story(job: Mapping[str, Any], upstream: Mapping[str, Any]) -> Story:
    return Story(
        ordered_at=moment(job["createdAt"]),
        finished_at=moment(upstream["finishedAt"]),
        completed_at=moment(job["completedAt"]),
        calls=1 + int(upstream["polls"]),
    )


def _prompt(number: int) -> str:
    return f"torii gate number {number}"
