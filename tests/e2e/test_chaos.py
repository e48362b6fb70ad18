"""A short run of chaos on PostgreSQL: kills at named steps, and other faults. The long one is ``make chaos``."""

from pathlib import Path

import pytest

from tests.e2e.chaos import judges, run, truth, world
from tests.e2e.chaos.run import Length
from tests.e2e.chaos.world import Servers
from tests.support.emulator import EmulatorProcess
from tests.support.postgres import Postgres
from tests.support.valkey import Valkey

SEED = 20
LENGTH = Length(rounds=4, patient=False, reached_within_s=3.0)


@pytest.mark.timeout(180)
async def test_what_was_paid_is_kept_whatever_dies(
    emulator: EmulatorProcess, valkey: Valkey, postgres: Postgres, redis_url: str, tmp_path: Path
) -> None:
    """After kills at named steps and faults of every part, nothing is lost, paid twice, held or left behind."""
    del redis_url
    servers = Servers(emulator, valkey, postgres, None)
    async with world.world(servers, tmp_path, services=1, workers=2) as made:
        played = await run.play(made, SEED, LENGTH, print)
        found = await judges.judge(played, await truth.gather(made))
    assert not any(found.values()), {name: words for name, words in found.items() if words}
    assert sum(played.kills.done.values()) >= 1
