"""`torii jobs` as a caller with a key and as an operator, and completion as a shell asks for it: real processes."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.support import household, wait
from tests.support.crooked import Fault, Kind
from tests.support.household import TORII, Household, torii
from tests.support.terminal import Terminal


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    """Give the tests of this file one gateway."""
    with household.household(tmp_path_factory.mktemp("gateway")) as started:
        yield started


@pytest.fixture
def house(running: Household) -> Household:
    """Give the gateway with nothing wrong about it."""
    running.again()
    return running


def ordered(house: Household, folder: Path) -> str:
    """Order a picture and wait for nothing; the job's id."""
    done = torii(["generate", "a gate", "--no-wait"], folder, house.away())
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextmanager
def watching(words: list[str], folder: Path, environ: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Start the command and leave it to the test; it is gone afterwards."""
    command = [TORII, *words]
    with subprocess.Popen(
        command, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_caller_has_its_jobs(house: Household, tmp_path: Path) -> None:
    """With a key a caller lists, shows and watches its jobs over the events; an operator's deeds are not for it."""
    house.pause()
    job = ordered(house, tmp_path)
    with watching(["jobs", "watch", job, "--json", "--out", "."], tmp_path, house.away()) as watcher:
        heard = partial(house.crooked.requests, "GET", "/events")
        wait.until_sync(heard, timeout_s=40, what="somebody listens")
        house.resume()
        told, errors = watcher.communicate(timeout=20)
    assert (watcher.returncode, errors) == (0, "")
    *changes, saved = [json.loads(line) for line in told.splitlines()]
    assert (changes[0]["state"], changes[-1]["state"]) == ("queued", "completed")
    assert saved == {"id": job, "file": f"{job}-1.png"}
    assert (tmp_path / saved["file"]).exists()
    rows = json.loads(torii(["jobs", "list", "--limit", "1", "--json"], tmp_path, house.away()).stdout)
    assert [(row["id"], row["state"], row["credits"]) for row in rows] == [(job, "completed", 2)]
    assert rows[0]["tookS"] > 0
    assert re.search(r"^took +\d+\.\d s", torii(["jobs", "show", job], tmp_path, house.away()).stdout, re.MULTILINE)
    for words, said in (
        (["jobs", "cancel", job], "only a queued job can be cancelled"),
        (["jobs", "show", "job_none"], "no job"),
    ):
        done = torii(words, tmp_path, house.away())
        assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
        assert said in done.stderr
    assert "TORII_ADMIN_TOKEN" in torii(["jobs", "requeue", job], tmp_path, house.away()).stderr


def test_an_operator_sees_where_the_time_went(house: Household, tmp_path: Path) -> None:
    """Beside the stores a job's page tells what each stage took, whatever key is set."""
    job = ordered(house, tmp_path)
    watched = torii(["jobs", "watch", job], house.folder, house.environment(TORII_API_KEY="torii_unknown"))
    assert watched.returncode == 0, watched.stderr
    told = torii(["jobs", "show", job], house.folder, house.environment()).stdout
    assert re.search(r"took +[\d.]+ s: [\d.]+ s in the queue, .*upstream, [\d.]+ s being kept", told)


def test_how_a_job_ended_is_the_status(house: Household, tmp_path: Path) -> None:
    """A job that failed ends the watching with its own status; a wait that is over has another."""
    house.pause()
    job = ordered(house, tmp_path)
    assert torii(["jobs", "watch", job, "--timeout", "1s"], tmp_path, house.away()).returncode == 6
    house.resume()
    house.emulator.switch(outcome=[{"kind": "failed"}])
    failed = torii(["jobs", "watch", ordered(house, tmp_path)], tmp_path, house.away())
    assert (failed.returncode, "failed" in failed.stdout) == (4, True)


def test_without_events(house: Household, tmp_path: Path) -> None:
    """Where a gateway streams no events, or cuts them, the job is asked for instead."""
    house.emulator.switch(duration_s=200)
    house.crooked.wrong(Fault(Kind.HTML, "GET", "/events"))
    assert torii(["jobs", "watch", ordered(house, tmp_path)], tmp_path, house.away()).returncode == 0
    house.crooked.wrong(Fault(Kind.CUT_MIDWAY, "GET", "/events", times=9))
    assert torii(["jobs", "watch", ordered(house, tmp_path)], tmp_path, house.away()).returncode == 0


def test_all_jobs_on_a_terminal(house: Household, tmp_path: Path) -> None:
    """Without a job a table moves with all of them until Ctrl-C."""
    house.pause()
    with Terminal([TORII, "jobs", "watch"], house.folder, house.environment(TERM="xterm-256color")) as terminal:
        terminal.shows("Ctrl-C ends the watching", 40)
        job = ordered(house, tmp_path)
        terminal.shows(job, 20)
        terminal.shows("1 queued", 20)
        house.resume()
        terminal.shows("completed", 30)
        terminal.interrupt()
        assert terminal.end(20) == 130
        assert "Traceback" not in terminal.screen()


def test_all_jobs_for_a_program(house: Household, tmp_path: Path) -> None:
    """With --json each job that is new or moves is one line, and Ctrl-C is no traceback."""
    house.pause()
    job = ordered(house, tmp_path)
    with watching(["jobs", "watch", "--json"], house.folder, house.environment()) as watcher:
        assert watcher.stdout is not None
        states = []
        for line in watcher.stdout:
            row = json.loads(line)
            states += [row["state"]] * (row["id"] == job)
            if states == ["queued"]:
                house.resume()
            if "completed" in states:
                break
        watcher.send_signal(signal.SIGINT)
        assert watcher.communicate(timeout=20)[1] == ""
    assert (watcher.returncode, states[0], states[-1]) == (130, "queued", "completed")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("torii gen", {"generate"}),
        ("torii jobs wa", {"watch"}),
        ("torii jobs list --state runn", {"running"}),
        ("torii generate --resolution 2", {"2\\ MP"}),
        ("torii generate --model flux-2-m", {"flux-2-max"}),
        ("torii jobs wq", set()),
    ],
)
def test_completion_in_bash(tmp_path: Path, line: str, found: set[str]) -> None:
    """What `torii completion bash` prints makes a real bash complete commands, options and values."""
    script = """
    eval "$(torii completion bash)"
    read -ra COMP_WORDS <<< "$1"; [[ "$1" == *" " ]] && COMP_WORDS+=("")
    COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
    _torii_completion torii; printf '%s\\n' "${COMPREPLY[@]}"
    """
    environ = {"PATH": f"{Path(TORII).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script, "bash", line],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    assert (set(done.stdout.split("\n")) - {""}, done.stderr) == (found, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed(tmp_path: Path, shell: str) -> None:
    """Each shell that is known has its lines, and asks torii by the same variable."""
    done = torii(["completion", shell], tmp_path, {"PATH": os.environ["PATH"]})
    assert (done.returncode, done.stderr) == (0, "")
    assert f"_TORII_COMPLETE=complete_{shell}" in done.stdout
