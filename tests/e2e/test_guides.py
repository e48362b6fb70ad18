"""The guides' commands and code, run as they stand on their pages: budgets, and a receiver of webhooks."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from tests.support import ports, wait
from tests.support.process import Process

DOCS = Path(__file__).resolve().parents[2] / "docs"
TORII = Path(sys.executable).with_name("torii")
#: What the guide to webhooks says that the gateway and the commands are told on one machine.
NETS = "127.0.0.0/8"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_KEY = re.compile(r"torii_([0-9A-Za-z]{12})_[0-9A-Za-z]+")
_STARTS_WITHIN_S = 90.0
_ENDS_WITHIN_S = 90


def blocks(page: str, language: str, containing: str = "") -> list[str]:
    """A page's blocks of code in that language, in order."""
    found = _BLOCK.findall((DOCS / page).read_text())
    return [code for said, code in found if said == language and containing in code]


def block(page: str, language: str, containing: str) -> str:
    """The only block of a page that says so."""
    (found,) = blocks(page, language, containing)
    return found


@dataclass(frozen=True)
class Reader:
    """Somebody in the directory of a running gateway, with its first key and the operator's token."""

    folder: Path
    url: str
    admin_token: str
    key: str

    def paste(self, code: str, *, status: int = 0, **environment: str) -> str:
        """A block of a page, pasted into a shell; what it says on its standard output."""
        done = subprocess.run(
            ["sh", "-e"],
            input=code,
            cwd=self.folder,
            env={
                "PATH": f"{TORII.parent}:{os.environ['PATH']}",
                "HOME": str(self.folder),
                "TORII": self.url,
                "TORII_PORT": self.url.rpartition(":")[2],
                "TORII_ADMIN_TOKEN": self.admin_token,
                "TORII_KEY": self.key,
                "TORII_WEBHOOK_ALLOW_NETS": NETS,
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=_ENDS_WITHIN_S,
            check=False,
        )
        assert done.returncode == status, f"{code}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def ask(self, method: str, path: str, key: str, **more: Any) -> httpx.Response:
        """Ask the API with a key, waiting for what is ordered."""
        headers = {"Authorization": f"Bearer {key}", "Prefer": "wait=60", **more.pop("headers", {})}
        with httpx.Client(base_url=self.url, trust_env=False, timeout=_ENDS_WITHIN_S) as client:
            return client.request(method, path, headers=headers, **more)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A whole gateway whose webhooks may reach this machine."""
    folder = tmp_path_factory.mktemp("guides")
    environment = {
        "TORII_PORT": str(ports.free_one()),
        "TORII_WORKER_METRICS_PORT": "0",
        "TORII_WEBHOOK_ALLOW_NETS": NETS,
    }
    with Process([str(TORII), "up", "--json"], folder=folder, environment=environment, name="up") as process:
        process.wait_ready('"key"', _STARTS_WITHIN_S)
        said = json.loads(process.output())
        yield Reader(folder, said["url"], said["adminToken"], said["key"])


def test_the_guide_to_budgets(reader: Reader) -> None:
    """Its commands set, change and correct budgets, and its example of a refusal is what a caller is told."""
    page = "budgets.md"
    found = _KEY.search(reader.paste(block(page, "sh", "team create")))
    assert found is not None
    key, key_id = found[0], found[1]

    def order() -> httpx.Response:
        return reader.ask("POST", "/api/v1/models/flux-2-max/run", key, json={"prompt": "a torii gate"})

    first, second, refused = order(), order(), order()
    assert (first.json()["creditsRemaining"], second.json()["creditsRemaining"]) == (2, 0)
    (told,) = blocks(page, "json")
    said, real = json.loads(told)["error"], refused.json()["error"]
    assert refused.status_code == 402
    assert "retry-after" not in refused.headers
    assert {name: real[name] for name in said} == said

    def account() -> dict[tuple[str, str], dict[str, Any]]:
        standing = reader.ask("GET", "/api/v1/account", key).json()["budgets"]
        return {(each["of"], each["window"]): each for each in standing}

    reader.paste(block(page, "sh", "-X PUT"), KEY_ID=key_id)
    assert account()[("key", "day")]["limit"] == 6
    assert order().status_code == 200
    assert reader.ask("POST", "/api/v1/models/flux-2-max/run", key, json={"prompt": "more"}).status_code == 402

    both = reader.paste(block(page, "sh", "/quote"), TORII_KEY=key).strip()
    seen, end = json.JSONDecoder().raw_decode(both)
    quoted = json.loads(both[end:])
    assert {(each["of"], each["window"]) for each in seen["budgets"]} == {
        ("team", "month"),
        ("team", "day"),
        ("key", "day"),
    }
    assert {"limit", "soft", "spent", "held", "left", "period"} <= set(seen["budgets"][0])
    assert (quoted["creditCost"], quoted["affordable"], quoted["creditsRemaining"]) == (4, False, 0)

    reader.paste(block(page, "sh", "--no-budget"))
    assert set(account()) == {("team", "month"), ("key", "day")}
    assert (account()[("team", "month")]["limit"], account()[("team", "month")]["soft"]) == (150, None)
    refund = block(page, "sh", "ledger refund")
    reader.paste(refund, JOB=first.json()["jobId"])
    standing = account()
    # Of the team a refund of 2 and a goodwill of 5: more came back than was spent, and no less than nothing is told.
    assert (standing[("key", "day")]["spent"], standing[("team", "month")]["spent"]) == (4, 0)
    reader.paste(refund, JOB=first.json()["jobId"], status=1)
    assert len(blocks(page, "sh")) == 5


def test_the_receiver_of_webhooks(reader: Reader) -> None:
    """The guide's receiver takes what the gateway signs, each event once, and refuses whatever else it is sent."""
    page = "webhook-receiver.md"
    (program,) = blocks(page, "python")
    (reader.folder / "receiver.py").write_text(program)
    reader.paste(block(page, "sh", "--grace 0s"))
    secret = json.loads((reader.folder / "secret.json").read_text())["secret"]
    port = str(ports.free_one())
    settings = {"PORT": port, "WEBHOOK_SECRETS": secret}
    command = [sys.executable, "-W", "error", "receiver.py"]
    with Process(command, folder=reader.folder, environment=settings, name="receiver") as receiver:
        receiver.wait_ready("listening", _STARTS_WITHIN_S)
        start = block(page, "sh", "receiver.py")
        assert "python3 receiver.py &\n" in start
        reader.paste(start.replace("python3 receiver.py &\n", ""), PORT=port)
        done = _heard(receiver, 1)[0]

        job, link = done.split()[1:3]
        assert httpx.get(link, trust_env=False, timeout=30).status_code == 200
        _forge(f"http://127.0.0.1:{port}/torii", secret)

        reader.paste(block(page, "sh", "webhooks replay"), JOB=job)
        wait.until_sync(lambda: _tries(reader, job) == 2, timeout_s=60, what="the replay was taken")
        assert _heard(receiver, 1) == [done]

        reader.paste(block(page, "sh", "rotate-secret default --json"))
        assert json.loads((reader.folder / "secret.json").read_text())["secret"] != secret
        reader.paste('torii generate "A torii gate at noon"')
        assert len(_heard(receiver, 2)) == 2
    assert len(blocks(page, "sh")) == 4


def _heard(receiver: Process, number: int) -> list[str]:
    """What the receiver has worked on, once that are so many."""

    def told() -> list[str]:
        return [line for line in receiver.output().splitlines() if line.startswith("completed ")]

    wait.until_sync(lambda: len(told()) >= number, timeout_s=60, what=f"{number} events were worked on")
    return told()


def _tries(reader: Reader, job: str) -> int:
    """How often the job's message was sent, once it is delivered."""
    (found,) = json.loads(reader.paste(f"torii webhooks list --job {job} --json"))
    shown = json.loads(reader.paste(f"torii webhooks show {found['id']} --json"))
    return len(shown["log"]) if shown["state"] == "delivered" else 0


def _forge(url: str, secret: str) -> None:
    """Send what is not the gateway's; each is refused."""
    body, now = (
        '{"type": "job.completed", "data": {"jobId": "job_forged", "output": {"images": []}}}',
        datetime.now(UTC),
    )
    other = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNk"
    for signer, signed, sent, at in (
        (other, body, body, now),
        (secret, body, body.replace("forged", "changed"), now),
        (secret, body, body, now - timedelta(minutes=6)),
    ):
        headers = {
            "webhook-id": "msg_forged",
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(signer).sign("msg_forged", at, signed),
        }
        assert httpx.post(url, content=sent, headers=headers, trust_env=False, timeout=30).status_code == 401
    assert httpx.post(url, content=body, trust_env=False, timeout=30).status_code == 401
    assert httpx.post(url, content=b"x" * 1_000_001, trust_env=False, timeout=30).status_code == 413
