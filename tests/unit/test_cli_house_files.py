"""What `torii up` keeps under var/: private, whole or not at all, and a default for other commands, never more."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from cli import house_files
from cli.house_files import HouseFiles
from gateway import errors

KEPT = {"TORII_SECRET_KEY": "kept-secret", "TORII_ADMIN_TOKEN": "kept-token", "FIRST_TEAM_KEY": "torii_kept"}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HouseFiles:
    """The files of a gateway in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    made = HouseFiles()
    made.prepare()
    return made


def dead_pid() -> int:
    """The id of a process that has ended."""
    with subprocess.Popen(["true"]) as child:
        child.wait()
    return child.pid


def mode(path: Path) -> int:
    """The permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def test_nobody_else_reads_it(files: HouseFiles) -> None:
    """The folder and the secrets are the owner's alone, even where they were not before."""
    files.var.chmod(0o755)
    files.prepare()
    files.write(KEPT)
    assert mode(files.var) == 0o700
    assert mode(files.secrets) == 0o600


def test_what_is_kept_comes_back(files: HouseFiles) -> None:
    """Before the first start there is nothing; then, what was written last."""
    assert files.read() == {}
    files.write({"OLD": "text"})
    files.write(KEPT)
    assert files.read() == KEPT


def test_kept_settings_are_defaults(files: HouseFiles) -> None:
    """Other commands get the kept settings, and nothing else that is kept."""
    files.write(KEPT)
    found = house_files.environment({"PATH": "/bin"})
    assert found == {"PATH": "/bin", "TORII_SECRET_KEY": "kept-secret", "TORII_ADMIN_TOKEN": "kept-token"}


def test_a_given_setting_wins(files: HouseFiles) -> None:
    """The environment, a file named by it, and .env go before what is kept; an empty variable is not given."""
    files.write(KEPT)
    Path(".env").write_text("TORII_ADMIN_TOKEN=from-dotenv\n")
    found = house_files.environment({"TORII_SECRET_KEY_FILE": "/run/secrets/key"})
    assert found == {"TORII_SECRET_KEY_FILE": "/run/secrets/key"}
    assert house_files.environment({"TORII_SECRET_KEY": "mine"}) == {"TORII_SECRET_KEY": "mine"}
    assert house_files.environment({"TORII_SECRET_KEY": ""})["TORII_SECRET_KEY"] == "kept-secret"


def test_a_large_log_is_put_aside(files: HouseFiles) -> None:
    """A log that has grown large begins anew at a start, and the one before it stays."""
    (files.logs / "worker.log").write_bytes(b"x" * (5 * 1024 * 1024 + 1))
    (files.logs / "service.log").write_bytes(b"small")
    assert not files.log("worker").exists()
    assert (files.logs / "worker.log.1").exists()
    assert files.log("service").read_bytes() == b"small"


def test_only_one_at_a_time(files: HouseFiles) -> None:
    """While one runs, another is refused with its process's id; afterwards the way is free."""
    with (
        house_files.locked(files, pytest.fail),
        pytest.raises(errors.Conflict, match=f"process {os.getpid()}"),
        house_files.locked(files, pytest.fail),
    ):
        pytest.fail("two ran at once")
    with house_files.locked(files, pytest.fail):
        pass


def test_parts_of_a_killed_run_are_waited_for(files: HouseFiles) -> None:
    """A lock whose owner is dead is held by its parts: it is waited for, and that is said once."""
    with house_files.locked(files, pytest.fail) as held:
        part = os.dup(held)
        os.pwrite(held, f"{dead_pid():<20}".encode(), 0)
    told: list[str] = []

    def waiting() -> None:
        told.append("waiting")
        os.close(part)

    with house_files.locked(files, waiting):
        assert told == ["waiting"]
