"""`torii generate` as people use it: real processes against a real gateway, and all that goes wrong between them."""

import hashlib
import json
import re
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support import household, ports, wait
from tests.support.crooked import Fault, Kind
from tests.support.household import TORII, Household, torii
from tests.support.terminal import Terminal

PROMPT = "a torii gate at dawn"
RUN = "/run"


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


def generated(house: Household, folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Order from elsewhere, and see it succeed."""
    done = torii(["generate", PROMPT, *words], folder, house.away(**more))
    assert done.returncode == 0, done.stderr
    return done


def failed(done: subprocess.CompletedProcess[str], status: int) -> str:
    """The one line that ends a failed command."""
    assert done.returncode == status, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("torii: ")
    return last


def shown(house: Household, *words: str) -> Any:
    """What an operator's command tells a program."""
    done = torii([*words, "--json"], house.folder, house.environment())
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def shell(script: str, folder: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a line of bash whose $0 is the command and $1 a prompt."""
    words = ["bash", "-c", script, TORII, PROMPT]
    return subprocess.run(words, cwd=folder, env=environ, capture_output=True, text=True, timeout=90, check=False)


def files(folder: Path) -> list[str]:
    """What is in a folder, hidden things too."""
    return sorted(path.name for path in folder.iterdir())


def test_a_picture_in_the_gateways_own_folder(house: Household) -> None:
    """Beside a `torii up` nothing has to be set: the picture is saved, named on stdout, and its cost is told."""
    done = torii(["generate", PROMPT, "--seed", "7"], house.folder, house.environment())
    assert done.returncode == 0, done.stderr
    path = house.folder / done.stdout.strip()
    job = path.name.removesuffix("-1.png")
    page = shown(house, "jobs", "show", job)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == page["assets"][0]["sha256"]
    assert (page["parameters"]["prompt"], page["parameters"]["seed"]) == (PROMPT, 7)
    assert re.search(r"^it should take about \d+ s$", done.stderr, re.MULTILINE)
    assert f"{job}: done" in done.stderr
    assert re.search(r"^2 credits, \d+ left; \d+\.\d s$", done.stderr, re.MULTILINE)
    assert "\x1b" not in done.stdout + done.stderr


def test_several_pictures_from_elsewhere(house: Household, tmp_path: Path) -> None:
    """With an address and a key alone: several pictures, a file's own name, JSON for programs, nothing on stderr."""
    done = generated(house, tmp_path, "--num-outputs", "2", "--out", "new/gate.jpg", "--json")
    told = json.loads(done.stdout)
    assert told["files"] == ["new/gate-1.jpg", "new/gate-2.jpg"]
    assert done.stderr == ""
    for asset, name in zip(told["assets"], told["files"], strict=True):
        data = (tmp_path / name).read_bytes()
        assert asset["contentType"] == "image/jpeg"
        assert (len(data), hashlib.sha256(data).hexdigest()) == (asset["bytes"], asset["sha256"])
    assert files(tmp_path / "new") == ["gate-1.jpg", "gate-2.jpg"]


def test_parameters(house: Household, tmp_path: Path) -> None:
    """Options, `--param` and standard input reach the gateway in their own types; what is said twice is a mistake."""
    words = ["generate", "-", "--no-wait", "--prompt-upsampling", "--aspect-ratio", "16:9", "--param", "seed=9"]
    done = torii(words, tmp_path, house.away(), input="from a pipe\n")
    asked = shown(house, "jobs", "show", done.stdout.strip())["parameters"]
    assert (asked["prompt"], asked["prompt_upsampling"], asked["aspect_ratio"], asked["seed"]) == (
        "from a pipe", True, "16:9", 9,
    )  # fmt: skip
    before = house.submits()
    for wrong in (["--seed", "1", "--param", "seed=2"], ["--param", "seed"], ["--seed", "soon"], ["--timeout", "soon"]):
        failed(torii(["generate", PROMPT, *wrong], tmp_path, house.away()), 2)
    failed(torii(["generate", ""], tmp_path, house.away()), 2)
    assert house.submits() == before


def test_nothing_is_overwritten(house: Household, tmp_path: Path) -> None:
    """A file that is there, and a folder that cannot be written, are told before anything is ordered."""
    (tmp_path / "gate.png").write_bytes(b"mine")
    (tmp_path / "file").write_bytes(b"")
    before = house.submits()
    for out, said in ("gate.png", "exists"), ("file/inside/", "Not a directory"), ("/proc/none/", "/proc/none"):
        assert said in failed(torii(["generate", PROMPT, "--out", out], tmp_path, house.away()), 2)
    assert house.submits() == before
    assert (tmp_path / "gate.png").read_bytes() == b"mine"


@pytest.mark.parametrize("remote", [False, True])
def test_for_a_team(house: Household, tmp_path: Path, *, remote: bool) -> None:
    """An administrator orders under a key of the team that is made for this order and revoked at the end."""
    team = f"drawing-{'remote' if remote else 'stores'}"
    shown(house, "team", "create", team)
    words = ["generate", PROMPT, "--team", team, "--json", "--out", str(tmp_path)]
    if remote:
        environ = house.away(TORII_ADMIN_TOKEN=house.admin_token)
        del environ["TORII_API_KEY"]
        done = torii([*words, "--url", house.crooked.url], tmp_path, environ)
    else:
        done = torii(words, house.folder, house.environment())
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    page = shown(house, "jobs", "show", told["jobId"])
    (key,) = shown(house, "key", "list", team)
    assert (page["team"], page["keyId"]) == (team, key["id"])
    assert (key["name"], key["state"]) == ("torii generate", "revoked")
    assert key["expiresAt"] is not None
    assert Path(told["files"][0]).exists()
    assert "no team 'nobody'" in failed(
        torii(["generate", PROMPT, "--team", "nobody"], house.folder, house.environment()), 1
    )


def test_a_lost_answer_is_asked_for_again(house: Household, tmp_path: Path) -> None:
    """A POST whose answer is cut off is sent again under the same key, and pays once."""
    before = house.submits()
    house.crooked.wrong(Fault(Kind.CUT_AFTER, "POST", RUN), Fault(Kind.CUT_MIDWAY, "POST", RUN))
    done = generated(house, tmp_path)
    sent = house.crooked.requests("POST", RUN)
    assert len(sent) == 3
    assert len({each.headers["Idempotency-Key"] for each in sent}) == 1
    assert house.submits() == before + 1
    assert "this order was made before" in done.stderr
    assert files(tmp_path) == [done.stdout.strip()]


def test_a_busy_gateway_is_waited_for(house: Household, tmp_path: Path) -> None:
    """A 503 and a 429 are tried again after as long as they ask for, which is told; a bound ends it."""
    house.crooked.wrong(*(Fault(Kind.STATUS, "POST", RUN, status=each, retry_after="1") for each in (503, 429)))
    done = generated(house, tmp_path)
    assert done.stderr.count("Not now. Trying again in 1 s.") == 2
    house.crooked.wrong(Fault(Kind.STATUS, "POST", RUN, times=99, retry_after="1"))
    done = torii(["generate", PROMPT, "--timeout", "2s"], tmp_path, house.away())
    assert "Not now." in failed(done, 5)


def test_an_order_is_the_same_under_the_same_key(house: Household, tmp_path: Path) -> None:
    """A script that is run again with its key gets its first job, and the files that are there already."""
    before = house.submits()
    first = generated(house, tmp_path, "--idempotency-key", "script-1")
    second = generated(house, tmp_path, "--idempotency-key", "script-1")
    assert first.stdout == second.stdout
    assert (house.submits() - before, len(files(tmp_path))) == (1, 1)
    other = torii(["generate", "another", "--idempotency-key", "script-1"], tmp_path, house.away())
    assert "Idempotency-Key" in failed(other, 3)


def test_a_cut_download_is_fetched_again(house: Household, tmp_path: Path) -> None:
    """Half a picture, and one whose bytes are others, are fetched again and never saved."""
    house.crooked.wrong(Fault(Kind.CUT_MIDWAY, "GET", "/images/"), Fault(Kind.GARBLED, "GET", "/images/"))
    told = json.loads(generated(house, tmp_path, "--json").stdout)
    data = (tmp_path / told["files"][0]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == told["assets"][0]["sha256"]
    assert len(house.crooked.requests("GET", "/images/")) == 3
    assert files(tmp_path) == told["files"]


def test_a_link_that_leads_nowhere(house: Household, tmp_path: Path) -> None:
    """Where the links' own address is not to be reached, pictures are fetched from the gateway that was asked."""
    house.crooked.wrong(Fault(Kind.STATUS, "GET", "/images/", times=9, status=404))
    done = torii(["generate", PROMPT, "--url", house.url], tmp_path, house.away())
    assert done.returncode == 0, done.stderr
    house.crooked.straight()
    house.crooked.wrong(Fault(Kind.STATUS, "GET", "/images/", times=9, status=404))
    said = failed(torii(["generate", PROMPT], tmp_path, house.away()), 7)
    job = re.search(r"torii jobs watch (job_\w+) --out DIR", said)
    assert job, said
    house.crooked.straight()
    fetched = torii(["jobs", "watch", job[1], "--out", "later"], tmp_path, house.away())
    assert fetched.returncode == 0, fetched.stderr
    assert files(tmp_path / "later") == [f"{job[1]}-1.png"]


def test_a_full_disk(house: Household, tmp_path: Path) -> None:
    """A picture that does not fit leaves nothing half, and the user knows where it is kept."""
    script = 'trap "" XFSZ; ulimit -f 8; exec "$0" generate "$1"'
    done = shell(script, tmp_path, house.away(PYTHONDONTWRITEBYTECODE="1"))
    assert "File too large; the gateway keeps it" in failed(done, 7)
    assert files(tmp_path) == []


def test_a_job_that_fails(house: Household, tmp_path: Path) -> None:
    """A job without pictures ends the command with its own status, and says why."""
    house.emulator.switch(outcome=[{"kind": "failed", "message": "no paint left"}])
    said = failed(torii(["generate", PROMPT], tmp_path, house.away()), 4)
    assert "(upstream_failed)" in said
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "environ", "status", "said"),
    [
        (["--resolution", "9 MP"], {}, 3, "resolution must be one of"),
        (["--model", "flux-9"], {}, 3, 'there is no model "flux-9"'),
        ([], {"TORII_API_KEY": "torii_unknown"}, 3, "key"),
        ([], {"TORII_API_KEY": ""}, 2, "TORII_API_KEY"),
        (["--key-file", "none.key"], {}, 1, "none.key"),
        (["--url", "example"], {}, 2, "--url: 'example' is no address"),
        (["--url", "localhost:8700"], {}, 2, "is no address"),
        (["--url", "http://127.0.0.1:1"], {}, 5, "http://127.0.0.1:1 cannot be reached: connection refused"),
        (["--url", "http://nowhere.invalid"], {}, 5, "there is no such host"),
        (["--token-file", "x"], {}, 2, "--token-file goes with --team"),
        (["--team", "a", "--key-file", "x"], {}, 2, "either --team or --key-file"),
    ],
)
def test_mistakes(
    house: Household, tmp_path: Path, words: list[str], environ: dict[str, str], status: int, said: str
) -> None:
    """A wrong value, key or address is one line that says so, with the status of its kind, and nothing is paid."""
    before = house.submits()
    done = torii(["generate", PROMPT, "--quiet", *words], tmp_path, house.away(**environ))
    assert said in failed(done, status)
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert house.submits() == before


def test_no_gateway_at_that_address(house: Household, tmp_path: Path) -> None:
    """A page instead of JSON, and an address that speaks no TLS, are named; with --json as JSON."""
    house.crooked.wrong(Fault(Kind.HTML, "POST", "", times=9))
    done = torii(["generate", PROMPT, "--json"], tmp_path, house.away())
    assert (done.returncode, json.loads(done.stderr)["error"]["code"]) == (5, "not_torii")
    secure = f"https://{ports.LOOPBACK}:{house.crooked.port}"
    assert "TLS failed" in failed(torii(["generate", PROMPT, "--url", secure], tmp_path, house.away()), 5)


def test_ctrl_c_and_back(house: Household, tmp_path: Path) -> None:
    """On a terminal a bar tells the expected time; Ctrl-C cancels nothing, and the job can be come back to."""
    house.pause()
    environ = house.away(TERM="xterm-256color", LANG="C.UTF-8")
    with Terminal([TORII, "generate", PROMPT], tmp_path, environ) as terminal:
        terminal.shows("waiting for its turn", 40)
        terminal.shows(" left", 10)
        terminal.shows("━", 10)
        terminal.interrupt()
        assert terminal.end(20) == 130
        said = terminal.screen()
    assert "Traceback" not in said
    job = re.search(r"torii jobs watch (job_\w+)", said)
    assert job, said
    assert "torii jobs cancel" in said
    house.resume()
    watched = torii(["jobs", "watch", job[1], "--out", "."], tmp_path, house.away())
    assert watched.returncode == 0, watched.stderr
    assert files(tmp_path) == [f"{job[1]}-1.png"]


def test_the_time_is_over(house: Household, tmp_path: Path) -> None:
    """`--timeout` ends the waiting with a status of its own, and the job goes on."""
    house.pause()
    assert "torii jobs watch job_" in failed(torii(["generate", PROMPT, "--timeout", "1s"], tmp_path, house.away()), 6)


def test_colours_and_pictures_in_the_terminal(house: Household, tmp_path: Path) -> None:
    """A terminal that shows pictures is given one; one that does not is not; NO_COLOR is honoured."""
    for term, drawn in ("xterm-kitty", True), ("xterm-256color", False), ("dumb", False):
        environ = house.away(TERM=term, NO_COLOR="1", LANG="C.UTF-8")
        with Terminal([TORII, "generate", PROMPT], tmp_path, environ) as terminal:
            assert terminal.end(40) == 0
            said = terminal.screen()
        assert ("\x1b_Ga=T,f=100" in said) is drawn
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", said), term
        assert "-1.png" in said


def test_a_gateway_that_goes_away(house: Household, tmp_path: Path) -> None:
    """While a job is waited for, a gateway that cannot be asked for a moment is no reason to stop."""
    house.pause()
    house.crooked.wrong(
        Fault(Kind.STATUS, "GET", "/events", times=9, status=404),
        Fault(Kind.STATUS, "GET", "/api/v1/jobs/", times=2, retry_after="1"),
        Fault(Kind.CUT_AFTER, "GET", "/api/v1/jobs/"),
        Fault(Kind.CUT_MIDWAY, "GET", "/api/v1/jobs/"),
    )
    with subprocess.Popen([TORII, "generate", PROMPT, "-q"], cwd=tmp_path, env=house.away()) as waiting:
        asked = partial(house.crooked.requests, "GET", "/api/v1/jobs/")
        wait.until_sync(lambda: len(asked()) > 5, timeout_s=60, what="the job is asked for through all faults")
        house.resume()
        assert waiting.wait(60) == 0
    assert len(files(tmp_path)) == 1


def test_a_reader_that_leaves(house: Household, tmp_path: Path) -> None:
    """A closed standard output is no traceback, and the picture is saved all the same."""
    script = 'set -o pipefail; "$0" generate "$1" --json | true'
    done = shell(script, tmp_path, house.away())
    assert (done.returncode, done.stderr) == (1, "")
    assert len(files(tmp_path)) == 1
