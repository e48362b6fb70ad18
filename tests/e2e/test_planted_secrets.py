"""Secrets and prompts are planted, and looked for in everything that a gateway says through a life with faults."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.jobs.states import State
from gateway.webhooks import team_secrets
from tests.support import command, ports, wait
from tests.support import rig as rigs
from tests.support.emulator import EmulatorProcess
from tests.support.postgres import ROLE, Postgres
from tests.support.process import Process, StartProcess
from tests.support.receiver import Receiver, answer
from tests.support.rig import Rig
from tests.support.s3 import RadosGateway
from tests.support.s3_bucket import Bucket
from tests.support.valkey import Valkey

PROMPT = "planted-prompt-of-nobody"
UPSTREAM_KEY = "pd_planted_upstream_key_0123456789"
DB_PASSWORD = "planted-database-password"
REDIS_PASSWORD = "planted-redis-password"
ADMIN_TOKEN = "planted-admin-token-of-thirty-two-characters"
SECRET_KEY = "planted secret key of thirty-two characters and more"
METRICS_TOKEN = "planted-metrics-token"
StartWorker = Callable[..., Process]


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """Give PostgreSQL, whose address has a password."""
    return postgres_url.replace(f"{ROLE}@", f"{ROLE}:{DB_PASSWORD}@")


def plant(valkey: Valkey) -> None:
    """Make the user whose password is planted; a server that was restarted does not remember it."""
    with valkey.client() as client:
        client.execute_command("ACL", "SETUSER", "planted", "on", f">{REDIS_PASSWORD}", "~*", "&*", "+@all")


@pytest.fixture
def redis_url(valkey: Valkey) -> str:
    """Give an empty Valkey, whose address has a password."""
    valkey.flush()
    plant(valkey)
    return valkey.url.replace("redis://", f"redis://planted:{REDIS_PASSWORD}@")


@pytest.fixture
def environ(emulator: EmulatorProcess, database_url: str, redis_url: str, tmp_path: Path, s3: Bucket) -> dict[str, str]:
    """Give the settings of a gateway that has a secret in each place."""
    planted = {
        "PIXELDOJO_API_KEY": UPSTREAM_KEY,
        "TORII_ADMIN_TOKEN": ADMIN_TOKEN,
        "TORII_SECRET_KEY": SECRET_KEY,
        "TORII_METRICS_TOKEN": METRICS_TOKEN,
        "TORII_WEBHOOK_ALLOW_NETS": "127.0.0.0/8",
        "TORII_ARCHIVE_URL": s3.url("planted"),
        **s3.environment(),
    }
    return rigs.environment(emulator, database_url, redis_url, tmp_path, **planted)


@dataclass
class Heard:
    """Everything that was said, by who said it."""

    texts: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, said: httpx.Response) -> httpx.Response:
        """Keep an answer with its head."""
        head = "\n".join(f"{name}: {text}" for name, text in said.headers.items())
        self.texts.append((f"{said.request.method} {said.request.url.path} {said.status_code}", f"{head}\n{said.text}"))
        return said

    def holds(self, secrets: dict[str, str]) -> list[str]:
        """What was said that must not be, in words, without the secret itself."""
        found = []
        for who, text in self.texts:
            for name, secret in secrets.items():
                if secret in text:
                    at = text.index(secret)
                    found.append(f"{who} says the {name}: …{text[max(at - 120, 0) : at]}<here>")
        return found


@dataclass(frozen=True)
class Front:
    """A service, asked as its callers, its operator and its Prometheus do."""

    client: httpx.AsyncClient
    heard: Heard
    key: str

    async def ask(self, method: str, path: str, token: str | None = None, **more: Any) -> httpx.Response:
        """Ask as the team, or with another token; the answer is kept."""
        headers = {"Authorization": f"Bearer {self.key if token is None else token}", **more.pop("headers", {})}
        return self.heard.answer(await self.client.request(method, path, headers=headers, **more))

    async def order(self, **more: Any) -> httpx.Response:
        """Order, with the prompt that nobody may say."""
        return await self.ask("POST", "/api/v1/models/flux-2-max/run", json={"prompt": PROMPT, **more})


async def mistakes(front: Front, key_id: str) -> None:
    """Everything that callers do wrong, with what they must not see again."""
    run = "/api/v1/models/flux-2-max/run"
    await front.order(resolution="9 MP")
    await front.order(unknown=1)
    await front.order(seed=PROMPT.upper())
    await front.ask(
        "POST", run, content=f'{{"prompt": "{PROMPT}'.encode(), headers={"Content-Type": "application/json"}
    )
    await front.ask("POST", run, content=PROMPT.encode(), headers={"Content-Type": "text/plain"})
    await front.ask("POST", run, json={"prompt": PROMPT * 1000})
    await front.order(webhook_url=f"http://someone:{DB_PASSWORD}@169.254.169.254/latest")
    wrong = front.key[:-6] + ("000000" if front.key[-6:] != "000000" else "111111")
    for token in (wrong, f"{ADMIN_TOKEN}x", UPSTREAM_KEY, f"torii_{key_id}"):
        await front.ask("GET", "/api/v1/account", token)
        await front.ask("GET", "/admin/v1/teams", token)
        await front.ask("GET", "/metrics", token)
    await front.ask("GET", "/api/v1/jobs/job_0123456789")
    await front.ask("GET", "/images/img_0123456789012345678901.png?exp=1&sig=abc")
    await front.ask("DELETE", run)


async def pages(front: Front) -> None:
    """Every page that tells of the inside."""
    for path in ("/metrics", "/metrics/books", "/health/live", "/health/ready", "/health/paid", "/schema/openapi.json"):
        await front.ask("GET", path, METRICS_TOKEN)
    for path in ("/admin/v1/upstream", "/admin/v1/teams", "/admin/v1/keys", "/admin/v1/audit", "/admin/v1/deliveries"):
        await front.ask("GET", path, ADMIN_TOKEN)


async def upstream_breaks(front: Front, rig: Rig, emulator: EmulatorProcess, receiver: Receiver) -> None:
    """The upstream repeats what it was sent, and breaks in every way that leaves words behind; so do receivers."""
    receiver.say(answer(500), answer(302, f"Location: http://x/?token={METRICS_TOKEN}"), answer(204))
    jobs = [(await front.order(seed=0, webhook_url=receiver.url("/told?who=me"))).json()["jobId"]]
    for fault in (
        {"kind": "status", "status": 500, "message": f"{PROMPT} {UPSTREAM_KEY}"},
        {"kind": "status", "status": 422, "message": f"no {UPSTREAM_KEY}"},
        {"kind": "non_json"},
        {"kind": "cut_midway"},
        {"kind": "redirect", "location": f"http://elsewhere/?key={UPSTREAM_KEY}"},
    ):
        emulator.switch(submit_fault={**fault, "times": 1})
        jobs.append((await front.order(seed=len(jobs))).json()["jobId"])
        await rig.reaches(jobs[-1], State.COMPLETED, State.FAILED, State.SUBMISSION_UNKNOWN, within_s=60)
    for job_id in jobs:
        await front.ask("GET", f"/api/v1/jobs/{job_id}")
    await front.ask("GET", "/admin/v1/jobs", ADMIN_TOKEN)
    await wait.until(lambda: len(receiver.messages) >= 1, timeout_s=60, what="a webhook was tried")


async def workers_page(heard: Heard, port: int) -> None:
    """What a worker says of itself, to Prometheus and to a stranger."""
    async with httpx.AsyncClient(trust_env=False) as plain:
        for token in (METRICS_TOKEN, "wrong-token-of-somebody"):
            for path in ("/metrics", "/health"):
                head = {"Authorization": f"Bearer {token}"}
                heard.answer(await plain.get(f"http://{ports.LOOPBACK}:{port}{path}", headers=head))


def commands(heard: Heard, environ: dict[str, str], folder: Path) -> None:
    """What an operator's commands print."""
    for words in (("doctor",), ("backup", str(folder)), ("team", "list"), ("jobs", "list"), ("upstream", "status")):
        own = {"PATH": "/usr/bin:/bin", **environ, "PIXELDOJO_API_KEY": ""}
        done = command.run(words, folder=folder, environment=own)
        heard.texts.append((f"torii {words[0]}", done.stdout + done.stderr))


async def planted_webhook_secret(rig: Rig) -> str:
    """A webhook secret of the team."""
    ring = rig.house.keys.webhook_secrets
    async with rig.house.database.write() as tx:
        _, text = await team_secrets.rotate(tx, ring, rig.caller.team_id, timedelta(0), rig.house.clock.now())
    return text


def secrets(environ: dict[str, str], rig: Rig, receiver: Receiver) -> dict[str, str]:
    """Whatever must not be said but the webhook secret."""
    signatures = [said.headers["webhook-signature"].partition(",")[2] for said in receiver.messages]
    return {
        "upstream key": UPSTREAM_KEY,
        "admin token": ADMIN_TOKEN,
        "secret key": SECRET_KEY,
        "metrics token": METRICS_TOKEN,
        "database's password": DB_PASSWORD,
        "Redis' password": REDIS_PASSWORD,
        "S3 secret": environ["AWS_SECRET_ACCESS_KEY"],
        "team's key": rig.key_text,
        "team's key's secret": rig.key_text.split("_")[2],
        "prompt": PROMPT,
        **{f"signature {at}": text for at, text in enumerate(signatures)},
    }


@pytest.mark.timeout(300)
async def test_no_planted_secret_is_ever_said(
    rig: Rig,
    emulator: EmulatorProcess,
    start_process: StartProcess,
    start_worker: StartWorker,
    environ: dict[str, str],
    postgres: Postgres,
    valkey: Valkey,
    s3_server: RadosGateway,
    tmp_path: Path,
) -> None:
    """Neither logs nor metrics, errors, pages or the doctor say a key, a token, a password, a signature or a prompt."""
    port, metrics_port = ports.free(2)
    url = f"http://{ports.LOOPBACK}:{port}"
    own = {**environ, "TORII_HOST": ports.LOOPBACK, "TORII_PORT": str(port)}
    service = start_process([sys.executable, "-m", "service"], own).wait_ready(f"{url}/health/ready")
    worker = start_worker(TORII_WORKER_METRICS_PORT=str(metrics_port))
    heard = Heard()
    webhook_secret = await planted_webhook_secret(rig)
    async with (
        Receiver().listening() as receiver,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client,
    ):
        front = Front(client, heard, rig.key_text)
        await upstream_breaks(front, rig, emulator, receiver)
        await mistakes(front, rig.caller.key_id)
        await pages(front)
        await workers_page(heard, metrics_port)
        await stores_away(front, postgres, valkey, s3_server)
        await asyncio.to_thread(commands, heard, environ, tmp_path)
        planted = {**secrets(environ, rig, receiver), "webhook secret": webhook_secret}
    for process in (service, worker):
        process.terminate(40)
        heard.texts.append((process.name, process.log.read_text()))
    assert any("answer_booked" in text for _, text in heard.texts), "nothing was logged, so nothing was tested"
    assert len(heard.texts) > 40
    assert heard.holds(planted) == []
    assert emulator.books()["totals"]["downloadsWithAuthorization"] == 0


async def stores_away(front: Front, postgres: Postgres, valkey: Valkey, s3_server: RadosGateway) -> None:
    """Each store goes away while it is asked for, with its own words of complaint, and comes back."""
    await asyncio.to_thread(postgres.stop)
    for _ in range(2):
        await front.order(seed=99)
    await pages(front)
    postgres.start()
    await asyncio.to_thread(valkey.stop)
    await front.order(seed=98)
    await pages(front)
    valkey.start()
    await front.order(seed=98)
    plant(valkey)
    await asyncio.to_thread(s3_server.stop)
    await front.order(seed=97)
    s3_server.start()
