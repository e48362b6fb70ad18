"""`torii up` as a newcomer meets it: one command to a picture, an orderly end, and all still there."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import ports, wait
from tests.support.process import Process, StartProcess

TORII = str(Path(sys.executable).with_name("torii"))
#: Generous: the machine may be busy with other tests.
STARTS_WITHIN_S = 60.0
PARTS = {"valkey", "emulator", "service", "worker"}


@pytest.fixture
def port() -> dict[str, str]:
    """A port of this test's own, as settings."""
    return {"TORII_PORT": str(ports.free_one())}


def begin(start_process: StartProcess, settings: Mapping[str, str], *words: str) -> tuple[Process, dict[str, Any]]:
    """Start it for a program; what it says once it is up."""
    process = start_process([TORII, "up", "--json", *words], settings, name="up")
    process.wait_ready('"key"', STARTS_WITHIN_S)
    said: dict[str, Any] = json.loads(process.output())
    return process, said


def children(process: Process) -> dict[str, int]:
    """The parts that run, by name."""
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(process.pid)], capture_output=True, text=True, check=False
    )
    marks = {"valkey-server": "valkey", "-m emulator": "emulator", "cli serve": "service", "cli work": "worker"}
    found: dict[str, int] = {}
    for line in listed.stdout.splitlines():
        pid, _, command = line.strip().partition(" ")
        found |= {name: int(pid) for mark, name in marks.items() if mark in command}
    return found


def gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def all_gone(pids: Mapping[str, int]) -> bool:
    """Whether none of them runs any more."""
    return all(gone(pid) for pid in pids.values())


def picture(said: Mapping[str, Any]) -> dict[str, Any]:
    """Order a picture and wait for it; the finished job."""
    headers = {"Authorization": f"Bearer {said['key']}"}
    with httpx.Client(headers=headers, trust_env=False) as client:
        ordered = client.post(f"{said['url']}/api/v1/models/flux-2-max/run", json={"prompt": "a torii gate at dawn"})
        assert ordered.status_code == 202, ordered.text
        url = ordered.json()["statusUrl"]

        def finished() -> dict[str, Any] | None:
            job: dict[str, Any] = client.get(url).json()
            return job if job["status"] not in ("pending", "processing") else None

        job = wait.until_sync(finished, timeout_s=30, what="a picture", every_s=0.1)
    assert job is not None
    assert job["status"] == "completed", job
    return job


def test_from_one_command_to_a_picture_and_on_after_ctrl_c(
    start_process: StartProcess, tmp_path: Path, port: dict[str, str]
) -> None:
    """No setting is needed; Ctrl-C ends it with status 0 and no process left; the next start has it all."""
    process, said = begin(start_process, port)
    parts = children(process)
    assert set(parts) == PARTS
    job = picture(said)
    bytes_before = httpx.get(job["output"]["images"][0], trust_env=False).content
    assert bytes_before.startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["up.log", "var"]

    listed = subprocess.run(
        [TORII, "jobs", "list", "--json"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
    )
    assert [row["id"] for row in json.loads(listed.stdout)] == [job["jobId"]]

    second = start_process([TORII, "up"], {"TORII_PORT": str(ports.free_one())}, name="second")
    assert second.wait_end(20) == 1
    assert re.fullmatch(rf"torii: a gateway runs .* \(process {process.pid}\).*\n", second.output())

    process.signal(signal.SIGINT)
    assert process.wait_end(40) == 0
    assert all_gone(parts)

    process, again = begin(start_process, port)
    assert again == said
    with httpx.Client(headers={"Authorization": f"Bearer {said['key']}"}, trust_env=False) as client:
        kept = client.get(f"{said['url']}/api/v1/jobs/{job['jobId']}").json()
    assert kept["status"] == "completed"
    assert httpx.get(kept["output"]["images"][0], trust_env=False).content == bytes_before
    process.signal(signal.SIGTERM)
    assert process.wait_end(40) == 0


def test_what_is_printed_works_as_pasted_and_no_part_stays_dead(
    start_process: StartProcess, tmp_path: Path, port: dict[str, str]
) -> None:
    """The printed line gives a picture; a part that dies comes back; none outlives `up`, even if that is killed."""
    process = start_process([TORII, "up"], port, name="up").wait_ready("Ctrl-C stops it", STARTS_WITHIN_S)
    printed = process.output()
    assert "a picture takes about 2 s and costs nothing" in printed
    assert "\x1b" not in printed
    line = next(line for line in printed.splitlines() if line.startswith("auth="))
    subprocess.run(["bash", "-c", line], cwd=tmp_path, check=True, timeout=30)
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")

    os.kill(children(process)["worker"], signal.SIGKILL)
    process.wait_ready("worker is back", 40)
    assert "worker was ended by SIGKILL; starting it again in 1 s" in process.output()

    parts = children(process)
    assert set(parts) == PARTS
    process.kill()
    wait.until_sync(lambda: all_gone(parts), timeout_s=35, what="the parts' end after kill -9")


def test_a_part_that_does_not_come_up(start_process: StartProcess, port: dict[str, str], tmp_path: Path) -> None:
    """It ends with status 1, the end of that part's log on the screen, and no process left."""
    process = start_process([TORII, "up"], {**port, "TORII_CATALOGUE": "missing.toml"}, name="up")
    assert process.wait_end(STARTS_WITHIN_S) == 1
    assert "TORII_CATALOGUE: missing.toml: No such file" in process.output()
    assert "ended with status 2 while starting" in process.output().splitlines()[-1]
    assert not ports.answers(int(port["TORII_PORT"]))
    assert (tmp_path / "var" / "log" / "valkey.log").exists()


def test_ctrl_c_while_it_starts(start_process: StartProcess, port: dict[str, str]) -> None:
    """It can be stopped before it is up: status 0, and no process left."""
    process = start_process([TORII, "up"], port, name="up").wait_ready("ready", STARTS_WITHIN_S)
    parts = children(process)
    process.signal(signal.SIGINT)
    assert process.wait_end(40) == 0
    assert parts
    assert all_gone(parts)


def test_a_port_in_use(start_process: StartProcess) -> None:
    """One line names the setting; nothing was started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start_process([TORII, "up"], {"TORII_PORT": str(taken.getsockname()[1])}, name="up")
        assert process.wait_end(20) == 2
    assert re.fullmatch(r"torii: TORII_PORT: port \d+ on 127\.0\.0\.1 is in use; .*\n", process.output())
