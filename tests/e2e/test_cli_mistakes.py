"""Mistakes at the command line: each ends in one line that names the thing and the way out, and never a traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TORII = str(Path(sys.executable).with_name("torii"))
SECRET = "secret key of these tests; long enough"
GOOD = {
    "TORII_SECRET_KEY": SECRET,
    "TORII_ADMIN_TOKEN": "t" * 40,
    "TORII_REDIS_URL": "redis://127.0.0.1:1/0",
    "TORII_DATABASE_URL": "postgresql+asyncpg://torii:pass-word@127.0.0.1:1/torii",
}


def torii(folder: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, with just these settings."""
    environment = {"PATH": "/usr/bin:/bin", **settings}
    return subprocess.run(
        [TORII, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=30, check=False
    )


def line(done: subprocess.CompletedProcess[str], status: int) -> str:
    """The one line of a failed command."""
    assert done.returncode == status, done.stderr
    assert done.stderr.startswith("torii: ")
    assert done.stderr.count("\n") == 1
    assert "pass-word" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tem"], "Did you mean 'team'?"),
        (["team", "crate"], "Did you mean 'create'?"),
        (["--versoin"], "--version"),
        (["jobs", "list", "--state", "done"], "'completed'"),
        (["jobs", "show"], "Missing argument 'JOB'"),
    ],
)
def test_typos(tmp_path: Path, words: list[str], said: str) -> None:
    """A mistyped command, option or value is named, with what may have been meant and where to read on."""
    told = line(torii(tmp_path, *words), 2)
    assert said in told
    assert "--help)" in told


@pytest.mark.parametrize(
    ("words", "change", "variable"),
    [
        (["serve"], {"TORII_SECRET_KEY": ""}, "TORII_SECRET_KEY"),
        (["serve"], {"TORII_SECRET_KEY": "short"}, "TORII_SECRET_KEY"),
        (["serve"], {}, "TORII_DATABASE_URL"),
        (["work"], {}, "PIXELDOJO_API_KEY"),
        (["migrate"], {}, "TORII_DATABASE_URL"),
    ],
)
def test_settings(tmp_path: Path, words: list[str], change: dict[str, str], variable: str) -> None:
    """A setting that is missing, wrong or leads nowhere is named first, and the exit status is 2."""
    told = line(torii(tmp_path, *words, **{**GOOD, **change}), 2)
    assert told.startswith(f"torii: {variable}")


def test_a_verdict_too_many(tmp_path: Path) -> None:
    """Settling needs exactly one verdict, and nothing is opened before there is one."""
    assert "exactly one of --charged" in line(torii(tmp_path, "jobs", "settle", "job_1"), 1)


def test_mistakes_as_json(tmp_path: Path) -> None:
    """With --json a mistake is JSON on stderr, whatever the mistake; stdout stays empty."""
    for words, code in (["tem"], "usage_error"), (["serve"], "setting_error"):
        done = torii(tmp_path, *words, "--json")
        assert done.returncode == 2
        assert done.stdout == ""
        assert json.loads(done.stderr)["error"]["code"] == code


def test_nothing_is_made_by_looking(tmp_path: Path) -> None:
    """A command in the wrong directory says so and leaves no empty database behind."""
    told = line(torii(tmp_path, "team", "list", TORII_SECRET_KEY=SECRET), 2)
    assert "no database at var/torii.db" in told
    assert list(tmp_path.iterdir()) == []


def test_openapi(tmp_path: Path) -> None:
    """The document goes to stdout or to a file, the same bytes; a file that cannot be written is named."""
    done = torii(tmp_path, "openapi")
    assert json.loads(done.stdout)["openapi"].startswith("3.1")
    torii(tmp_path, "openapi", "--output", "torii.json")
    assert (tmp_path / "torii.json").read_text() == done.stdout
    assert "nowhere/torii.json" in line(torii(tmp_path, "openapi", "--output", "nowhere/torii.json"), 1)


def test_a_reader_that_leaves(tmp_path: Path) -> None:
    """Output that nobody reads to its end is no traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        done = subprocess.run(
            [TORII, "openapi"], cwd=tmp_path, stdout=gone, stderr=subprocess.PIPE, timeout=30, check=False
        )
    assert (done.returncode, done.stderr) == (1, b"")


def test_without_arguments(tmp_path: Path) -> None:
    """`torii` alone shows what there is and where to start."""
    done = torii(tmp_path)
    assert done.returncode == 2
    assert "Start here: torii up" in done.stdout
