"""A gateway as in production, and a Prometheus over it that reads the configuration and the rules of ``deploy/``.

Real processes on SQLite and the emulator. Of what is shipped only addresses, the token's file and the pace are changed.
"""

import asyncio
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import yaml  # type: ignore[import-untyped,unused-ignore]

from gateway.storage import database, schema
from tests.support import ports, rig, wait
from tests.support.emulator import EmulatorProcess
from tests.support.process import Process
from tests.support.prometheus import Prometheus

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
JOBS = ("torii-service", "torii-worker", "torii-books")
METRICS_TOKEN = "a-token-of-prometheus"
#: Long enough for a page of a busy machine.
EVERY = "1s"


def configuration(service_port: int, worker_port: int, token_file: Path) -> dict[str, Any]:
    """Return the shipped configuration with these addresses, at the pace of a test."""
    shipped: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    shipped.pop("alerting")
    shipped["global"] |= {"scrape_interval": EVERY, "scrape_timeout": EVERY, "evaluation_interval": EVERY}
    shipped["rule_files"] = [str(DEPLOY / "prometheus" / name) for name in shipped["rule_files"]]
    for job in shipped["scrape_configs"]:
        job |= {"scrape_interval": EVERY, "scrape_timeout": EVERY}
        job["authorization"] = {**job["authorization"], "credentials_file": str(token_file)}
        port = worker_port if job["job_name"] == "torii-worker" else service_port
        for group in job["static_configs"]:
            group["targets"] = [f"{ports.LOOPBACK}:{port}" for _ in group["targets"]]
    return shipped


class Watched:
    """The gateway's two processes and what watches them; use it in a `with`, after the emulator and Valkey run."""

    def __init__(
        self, folder: Path, emulator: EmulatorProcess, redis_url: str, prometheus: Prometheus, **more: str
    ) -> None:
        self.prometheus = prometheus
        service_port, worker_port = ports.free(2)
        self.settings = {
            **rig.environment(emulator, f"sqlite+aiosqlite:///{folder / 'torii.db'}", redis_url, folder),
            "TORII_PORT": str(service_port),
            "TORII_WORKER_METRICS_PORT": str(worker_port),
            "TORII_METRICS_TOKEN": METRICS_TOKEN,
            **more,
        }
        self.url = f"http://{ports.LOOPBACK}:{service_port}"
        self.service = Process([sys.executable, "-m", "service"], folder=folder, environment=self.settings)
        self.service.log = folder / "service.log"
        self.worker = Process([sys.executable, "-m", "workers"], folder=folder, environment=self.settings)
        self.worker.log = folder / "worker.log"
        token_file = folder / "token"
        token_file.write_text(METRICS_TOKEN)
        self._configuration = configuration(service_port, worker_port, token_file)

    def __enter__(self) -> "Watched":
        asyncio.run(self._migrate())
        self.start()
        self.prometheus.configure(self._configuration)
        self.prometheus.reload()
        self.look()
        return self

    def __exit__(self, *_: object) -> None:
        self.prometheus.configure({})
        self.prometheus.reload()
        # Nobody waits for what they would still do.
        self.kill()

    async def _migrate(self) -> None:
        opened = database.open(self.settings["TORII_DATABASE_URL"])
        await schema.migrate(opened)
        await opened.close()

    def start(self) -> None:
        """Start whichever of the two processes does not run."""
        for process in (self.service, self.worker):
            if not process.running:
                process.start()
        self.service.wait_ready(f"{self.url}/health/ready")
        self.worker.wait_ready("worker_ready")

    def kill(self) -> None:
        """End both as a crash would."""
        self.worker.kill()
        self.service.kill()

    def operate(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Ask as the operator would; the answer's body."""
        answer = self.ask(method, f"/admin/v1/{path}", self.settings["TORII_ADMIN_TOKEN"], body)
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json() if answer.content else {}
        return found

    def team(self, name: str, **wanted: object) -> tuple[str, str]:
        """Make a team with a key; its id and the key."""
        team_id = str(self.operate("POST", "teams", {"name": name, **wanted})["id"])
        return team_id, str(self.operate("POST", f"teams/{name}/keys", {})["key"])

    def order(self, key: str, **body: object) -> str:
        """Order a picture; the job's id."""
        answer = self.ask("POST", "/api/v1/models/flux-2-max/run", key, {"prompt": "a torii gate", **body})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["jobId"])

    def ask(self, method: str, path: str, key: str, body: Mapping[str, object] | None = None) -> httpx.Response:
        """Ask the gateway as a caller would."""
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.request(method, f"{self.url}{path}", headers=headers, json=body, trust_env=False, timeout=10)

    def ended(self, key: str, *job_ids: str, within_s: float = 30.0) -> list[dict[str, Any]]:
        """Wait until the jobs have ended; what their caller reads."""

        def all_ended() -> list[dict[str, Any]] | None:
            jobs = [self.ask("GET", f"/api/v1/jobs/{job_id}", key).json() for job_id in job_ids]
            return jobs if all(job["status"] in ("completed", "failed") for job in jobs) else None

        found = wait.until_sync(all_ended, timeout_s=within_s, what="all jobs ended", every_s=0.2)
        assert found is not None
        return found

    def look(self) -> datetime:
        """Wait until Prometheus has read every page and judged what it read; a moment at which that is so."""
        return self.prometheus.scraped_since(datetime.now(UTC), JOBS)
