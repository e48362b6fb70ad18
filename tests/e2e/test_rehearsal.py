"""A short rehearsal of a deploy on real servers. The long one is ``make rehearsal``."""

from pathlib import Path

import pytest

from tests.e2e.chaos import judges, truth, world
from tests.e2e.chaos.world import Servers
from tests.e2e.rehearsal import play, report
from tests.e2e.rehearsal.play import Scale
from tests.support import earlier
from tests.support.emulator import EmulatorProcess
from tests.support.postgres import Postgres
from tests.support.prometheus import Prometheus
from tests.support.report import UnavailableError
from tests.support.s3 import RadosGateway
from tests.support.valkey import Valkey

SCALE = Scale(rounds=1, pause_s=0.3, order_every_s=0.8)


@pytest.mark.timeout(600)
async def test_no_request_fails_while_everything_is_restarted(
    emulator: EmulatorProcess,
    valkey: Valkey,
    postgres: Postgres,
    s3_server: RadosGateway,
    prometheus: Prometheus,
    tmp_path: Path,
) -> None:
    """Every process and store in turn, two releases side by side: only 503s to be retried, and the books agree."""
    emulator.reset(balance=100_000)
    valkey.flush()
    postgres.ensure()
    s3_server.ensure()
    try:
        before = earlier.unpack(tmp_path / "before")
    except UnavailableError:
        before = None
    servers = Servers(emulator, valkey, postgres, s3_server)
    async with world.world(servers, tmp_path, services=2, workers=3) as made:
        played = await play.play(made, before, prometheus, SCALE, print)
        known = await truth.gather(made)
        found = await judges.judge(played.run, known)
        releases = 1 if before is None else 2
        assert "No request failed" in report.render(played, known, found, servers.versions(), releases=releases)
    assert played.crowd.failures == []
    assert not any(found.values()), {name: words for name, words in found.items() if words}
    assert len(played.restarts) == 2 * (2 + 3) + 3
    assert played.crowd.requests > 100
    assert played.scraped["spent"] == known.balances_spent / truth.MICROS == known.totals["debited"]
    assert (played.scraped["held"], played.scraped["processes"]) == (0, 5)
