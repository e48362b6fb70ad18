"""A short run of `make fuzz`: the edges of what each operation may be sent, answered as the document says."""

from pathlib import Path

import pytest

from service import operations
from tests.fuzz import ground, runner
from tests.fuzz.runner import Run
from tests.support.emulator import EmulatorProcess


@pytest.mark.timeout(240)
def test_every_operation_answers_as_documented(
    emulator: EmulatorProcess, sqlite_url: str, redis_url: str, tmp_path: Path
) -> None:
    """Status, media type, headers and body fit the document, for data that fit it and for data that do not; no 5xx."""
    with ground.ground(emulator, sqlite_url, redis_url, tmp_path) as standing:
        done = runner.carry_out(Run(1, 1, 120, ("coverage",)), standing, tmp_path, capture=True)
        logs = "".join(process.output() for process in standing.processes)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert f"{len(operations.OPERATIONS)} passed" in done.stdout, done.stdout[-2000:]
    assert [line for line in logs.splitlines() if ground.is_bug(line)] == []


def test_what_is_not_checked_is_an_operation() -> None:
    """The list of operations that may refuse data which fit the document names operations alone."""
    assert runner.UNSAID.keys() <= {operation.id for operation in operations.OPERATIONS}
