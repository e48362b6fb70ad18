"""A real Prometheus on loopback, and its checkers: it scrapes what a test names, and is asked as Grafana asks it.

The programs are Debian's, from the path or from where ``install-servers`` unpacked them.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support import ports, wait
from tests.support.process import Process
from tests.support.report import UnavailableError

FOLDER = Path(__file__).resolve().parents[2] / ".venv" / "share" / "prometheus"


def program(name: str) -> str:
    """Return where ``prometheus``, ``promtool`` or ``amtool`` is; UnavailableError where it is not."""
    found = shutil.which(name) or shutil.which(name, path=str(FOLDER))
    if found is None:
        raise UnavailableError(f"{name} not installed: run tests/support/install-servers")
    return found


class Promtools:
    """Prometheus' own checkers of configurations and rules."""

    def __init__(self) -> None:
        self._programs = {name: program(name) for name in ("promtool", "amtool")}

    @property
    def version(self) -> str:
        """What promtool says it is."""
        return f"prometheus {self._run('promtool', '--version').split()[2]}"

    def start(self) -> Self:
        """Nothing to start."""
        return self

    def remove(self) -> None:
        """Nothing to remove."""

    def check(self, name: str, *words: str) -> None:
        """Run a checker to its end; AssertionError with what it said when it finds fault."""
        self._run(name, *words)

    def _run(self, name: str, *words: str) -> str:
        command = [self._programs[name], *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"{name} {' '.join(words)}:\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr


class Prometheus:
    """A server without targets; `configure` and `reload` give it some, `query` asks it."""

    def __init__(self) -> None:
        self.port = ports.free_one()
        self.folder = Path(tempfile.mkdtemp(prefix="torii-prometheus-"))
        self._configuration = self.folder / "prometheus.yml"
        self.configure({})
        words = (
            f"--config.file={self._configuration}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address={ports.LOOPBACK}:{self.port}",
            "--web.enable-lifecycle",
        )
        self.process = Process([program("prometheus"), *words], folder=self.folder, name="prometheus")
        self._client = httpx.Client(base_url=f"http://{ports.LOOPBACK}:{self.port}", trust_env=False, timeout=10.0)

    @property
    def version(self) -> str:
        """What the running server says it is."""
        return f"prometheus {self._get('/api/v1/status/buildinfo', {})['version']}"

    def start(self) -> Self:
        """Start the server and wait until it answers."""
        self.process.start()
        self.process.wait_ready(f"http://{ports.LOOPBACK}:{self.port}/-/ready")
        return self

    def configure(self, configuration: Mapping[str, Any]) -> None:
        """Have it read this configuration at its start, or at the next `reload`."""
        # JSON is YAML.
        self._configuration.write_text(json.dumps(configuration))

    def reload(self) -> None:
        """Read the configuration that `configure` wrote."""
        answer = self._client.post("/-/reload")
        assert answer.status_code == 200, answer.text

    def query(self, expression: str, at: datetime | None = None) -> list[dict[str, Any]]:
        """Return the samples of an instant query, as of now or then; AssertionError with its own words if refused."""
        words = {"query": expression, **({} if at is None else {"time": f"{at.timestamp():.3f}"})}
        result: list[dict[str, Any]] = self._get("/api/v1/query", words)["result"]
        return result

    def course(self, expression: str, start: datetime, end: datetime, step_s: float) -> list[dict[str, Any]]:
        """Return the series of a range query; AssertionError with the server's own words if refused."""
        span = {"start": f"{start.timestamp():.3f}", "end": f"{end.timestamp():.3f}", "step": f"{step_s:g}"}
        result: list[dict[str, Any]] = self._get("/api/v1/query_range", {"query": expression, **span})["result"]
        return result

    def rules(self) -> list[dict[str, Any]]:
        """Return every rule with its health, as the server sees it."""
        return [rule for group in self._get("/api/v1/rules", {})["groups"] for rule in group["rules"]]

    def scraped_since(self, moment: datetime, jobs: Sequence[str], within_s: float = 20.0) -> datetime:
        """Wait until every target of these jobs was read, and then each rule judged, after a moment; when that was."""

        def read() -> datetime | None:
            seen = [each for each in self._get("/api/v1/targets", {})["activeTargets"] if each["labels"]["job"] in jobs]
            good = [_moment(each["lastScrape"]) for each in seen if each["health"] == "up"]
            whole = len(good) == len(seen) and {each["labels"]["job"] for each in seen} == set(jobs)
            return max(good) if whole and min(good) > moment else None

        def judged() -> datetime | None:
            moments = [_moment(rule["lastEvaluation"]) for rule in self.rules()]
            return max(moments) if min(moments) > seen else None

        seen = wait.until_sync(read, timeout_s=within_s, what=f"a scrape of {', '.join(jobs)}", every_s=0.1) or moment
        return wait.until_sync(judged, timeout_s=within_s, what="the rules judged", every_s=0.1) or seen

    def _get(self, path: str, words: Mapping[str, str]) -> dict[str, Any]:
        answer = self._client.get(path, params=words).json()
        assert answer["status"] == "success", f"{words}: {answer.get('error')}"
        data: dict[str, Any] = answer["data"]
        return data

    def remove(self) -> None:
        """End the server and delete what it kept."""
        self._client.close()
        self.process.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.remove()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
