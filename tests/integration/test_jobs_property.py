"""Whole jobs against a model of their money: whatever happens in whatever order, ledger, states and refusals agree.

The stories are the same in each run, so that a failure is named by its number; they go over midnights and a year's end.
"""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway import bootstrap
from gateway.bootstrap import House
from gateway.jobs.parts import Shop
from gateway.settings import values
from gateway.settings.values import Purpose
from gateway.storage import database, schema
from tests.model import story
from tests.model.story import StillClock
from tests.support import rig as rigs
from tests.support.emulator import EmulatorProcess

STORIES = 14
LENGTH = 50
#: What the stories must have come by, or they prove little.
EXPECTED = (
    "order: made",
    "order: refused",
    "send: sent",
    "answer: refused booked",
    "answer: rejected booked",
    "answer: lost booked",
    "accept: accepted booked",
    "settle: settled",
    "settle: too early or no doubt",
    "found: settled",
    "accept: accepted passed over",
    "answer: lost passed over",
    "finish: done",
    "adjust: of a job",
    "refund: made",
    "refund: more than it cost",
    "order: blocked",
    "cancel: cancelled",
    "cancel: too late",
)


@pytest.fixture
async def ground(
    emulator: EmulatorProcess, database_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[tuple[House, Shop, StillClock]]:
    """Give a house and a shop whose clock is the test's."""
    clock = StillClock()
    settings = values.read(
        Purpose.WORK, environ=rigs.environment(emulator, database_url, redis_url, tmp_path), env_file=None
    )
    opened = database.open(settings.reveal("database_url"))
    await schema.migrate(opened)
    await opened.close()
    async with bootstrap.house(settings) as built:
        house = replace(built, clock=clock)
        async with bootstrap.shop(house) as shop:
            yield house, shop, clock


@pytest.mark.timeout(300)
async def test_whole_jobs_move_money_as_the_model_does(ground: tuple[House, Shop, StillClock]) -> None:
    """After each step the book proves itself and is the model's; no hold passes a limit, and none is left over."""
    seen = Counter[str]()
    for seed in range(STORIES):
        told = await story.begun(*ground, seed)
        for number, step in enumerate(story.steps(seed, LENGTH)):
            try:
                await told.take(step)
            except Exception as error:
                error.add_note(f"story {seed}, step {number}: {step}")
                raise
        await told.end()
        seen.update(told.seen)
    assert not [name for name in EXPECTED if not seen[name]], seen
