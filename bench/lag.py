"""``lag``: from the upstream's finishing a job to Torii's having completed it, and the calls that a picture took.

On SQLite: the database is not what is measured. The emulator's own books say when each job was finished. All cases run
side by side, each in a world of its own, at the default budget of requests: they wait nearly all of the time. The
median of a spread differs by a second from one world to the next: that case has several, whose jobs are told together.
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
#: Requests a minute: the default. Shorter jobs are ordered as much faster, and get as much more.
BUDGET = 60


@dataclass(frozen=True)
class Case:
    """How long the upstream takes, in seconds, and whether it calls back."""

    name: str
    shortest_s: float
    longest_s: float
    called: bool
    worlds: int = 1


#: The seed's own durations, and a spread that no schedule can foresee.
CASES = (
    Case("43.6 to 44.2 s, polling", 43.6, 44.2, called=False),
    Case("43.6 to 44.2 s, called", 43.6, 44.2, called=True),
    Case("20 to 60 s, polling", 20.0, 60.0, called=False, worlds=3),
    Case("20 to 60 s, called", 20.0, 60.0, called=True),
)
_PICTURE_BYTES = 100_000


@dataclass(frozen=True)
class House:
    """One case's gateway, at work."""

    case: Case
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
    """Two rows for each case: all jobs, and those ordered once the model's durations had been learnt."""
    with ExitStack() as ending:
        houses = [_open(case, plan, ending) for case in CASES for _ in range(case.worlds)]
        job_ids = _order(houses, plan)
        told_by = [(house.case, _stories(house, ids, plan)) for house, ids in zip(houses, job_ids, strict=True)]
        for case in CASES:
            worlds = [stories for of, stories in told_by if of is case]
            name = case.name if plan.lag_scale == 1 else f"{case.name}, scale {plan.lag_scale:g}"
            yield Row(NAME, f"{name}: all", told([story for stories in worlds for story in stories]))
            # Each world has learnt by itself.
            later = [story for stories in worlds for story in after_learning(stories, plan.lag_learning)]
            if later:
                yield Row(NAME, f"{name}: once learnt", told(later))


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


def after_learning(stories: Sequence[Story], learnt: int) -> list[Story]:
    """The jobs that were ordered when ``learnt`` others had ended."""
    ends = sorted(story.completed_at for story in stories)
    if len(ends) < learnt:
        return []
    return [story for story in stories if story.ordered_at >= ends[learnt - 1]]


def _open(case: Case, plan: Plan, ending: ExitStack) -> House:
    upstream = ending.enter_context(EmulatorProcess(time_scale=plan.lag_scale))
    upstream.switch(duration_s={"min": case.shortest_s, "max": case.longest_s}, picture_bytes=_PICTURE_BYTES)
    rpm = round(BUDGET / plan.lag_scale)
    called = {"TORII_UPSTREAM_WEBHOOKS": str(case.called).lower()}
    gateway = ending.enter_context(stage.gateway("sqlite", upstream, TORII_UPSTREAM_RPM=str(rpm), **called))
    key = gateway.key()
    _, port = gateway.serve()
    gateway.work()
    return House(case, upstream, ending.enter_context(Client(port, key)))


def _order(houses: Sequence[House], plan: Plan) -> list[list[str]]:
    """Order at a steady pace from each; the jobs' ids house by house, in order."""
    ordered: list[list[str]] = [[] for _ in houses]
    begun_s = time.monotonic()
    for number in range(plan.lag_jobs):
        time.sleep(max(0.0, begun_s + number * plan.lag_every_s * plan.lag_scale - time.monotonic()))
        for house, ids in zip(houses, ordered, strict=True):
            ids.append(house.client.order(_prompt(number)))
    return ordered


def _stories(house: House, job_ids: Sequence[str], plan: Plan) -> list[Story]:
    within_s = 60.0 + 2 * house.case.longest_s * plan.lag_scale
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
