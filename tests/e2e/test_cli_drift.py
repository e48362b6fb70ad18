"""`torii models drift`, straight from the stores and over HTTP: what it finds, and its exit status."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.door import Door, environment
from tests.e2e.test_cli_admin import APART, Desk
from tests.support import ports
from tests.support.emulator import EmulatorProcess


@pytest.fixture(params=["stores", "url"])
async def desk(
    request: pytest.FixtureRequest, emulator: EmulatorProcess, sqlite_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[Desk]:
    """Give a desk of a gateway whose upstream is the emulator: once on its stores, once over HTTP."""
    environ = environment(sqlite_url, redis_url, str(tmp_path / "archive"), ports.free_one())
    environ["PIXELDOJO_API_BASE"] = emulator.api_base
    remote = request.param == "url"
    settings = {name: text for name, text in environ.items() if (name in APART) is remote}
    async with Door(environ) as door:
        yield Desk(tmp_path, door, settings, remote)


async def test_drift_is_told_by_table_json_and_status(desk: Desk, emulator: EmulatorProcess) -> None:
    """The same is status 0; anything else is status 1 and told by name, and an operator's price puts it right."""
    same = desk.run("models", "drift", "--pinned")
    assert (same.returncode, same.stderr) == (0, "")
    assert "as the upstream lists them" in same.stdout
    every = desk.run("models", "drift")
    assert (every.returncode, every.stderr) == (1, "")
    assert "flux-2-pro" in every.stdout
    emulator.switch(prices={"flux-2-max": 2.5}, models={"flux-2-dev": None, "flux-2-flex": {"seed": None}})
    told = desk.run("models", "drift", "--pinned", "--json")
    assert (told.returncode, told.stderr) == (1, "")
    found = json.loads(told.stdout)
    assert found["models"] == 4
    assert {(each["kind"], each["model"], each["parameter"]) for each in found["differences"]} == {
        ("price", "flux-2-max", "resolution"),
        ("gone", "flux-2-dev", None),
        ("parameter_removed", "flux-2-flex", "seed"),
    }
    (price,) = (each for each in found["differences"] if each["kind"] == "price")
    assert (price["ours"], price["theirs"]) == (2, 2.5)
    emulator.switch(models={})
    desk.json("models", "price", "flux-2-max", "1 MP", "2.5")
    assert desk.run("models", "drift", "--pinned").returncode == 0
    assert emulator.books()["totals"]["submitsReceived"] == 0


async def test_an_upstream_that_does_not_answer_is_status_2(desk: Desk, emulator: EmulatorProcess) -> None:
    """What cannot be compared is one line on stderr, or JSON, and status 2: no traceback, and not taken for drift."""
    for fault, said in ({"kind": "status", "status": 500}, "status 500"), ({"kind": "non_json"}, "not JSON"):
        emulator.switch(models_fault=fault)
        done = desk.run("models", "drift")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1
        assert said in done.stderr
    told = desk.run("models", "drift", "--json")
    assert (told.returncode, told.stdout) == (2, "")
    assert json.loads(told.stderr)["error"]["code"] == "unavailable"
