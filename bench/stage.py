"""The stage of a measurement: real servers, and Torii's own processes as an operator starts them. Measures nothing.

Everything lies in a temporary folder, listens on loopback, and ends with the ``with`` block.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support import ports
from tests.support.emulator import EmulatorProcess
from tests.support.postgres import Postgres
from tests.support.process import Process
from tests.support.valkey import Valkey

ROOT = Path(__file__).resolve().parents[1]
TORII = Path(sys.executable).with_name("torii")
#: On both, an answered commit is on the disk.
DATABASES = ("sqlite", "postgresql")
MODEL = "flux-2-max"
RUN = f"/api/v1/models/{MODEL}/run"
_COMMAND_WITHIN_S = 60
_READY_WITHIN_S = 60.0
_MADE_UP = "made up for a measurement with thirty-two characters and more"


#: More than any run can reach.
_UNLIMITED = "1000000"


@dataclass(frozen=True)
class Gateway:
    """The stores of a gateway with one team and its key; its processes are started as they are needed."""

    folder: Path
    environment: dict[str, str] = field(repr=False)
    redis_url: str
    #: The process of each server behind it, by the server's name.
    servers: Mapping[str, int]
    _ending: ExitStack = field(repr=False)

    def run(self, *words: str) -> dict[str, object]:
        """Carry out one ``torii`` command; what it says."""
        done = subprocess.run(
            [TORII, *words, "--json"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_COMMAND_WITHIN_S,
        )
        if done.returncode != 0:
            raise RuntimeError(f"torii {' '.join(words)} ended with {done.returncode}: {done.stderr.strip()}")
        said: dict[str, object] = json.loads(done.stdout)
        return said

    def key(self) -> str:
        """A new team's key."""
        # What is measured is the gateway, not the limits that a team has by default.
        self.run("team", "create", "bench", "--rpm", _UNLIMITED, "--queue-depth", _UNLIMITED)
        return str(self.run("key", "create", "bench")["key"])

    def serve(self) -> tuple[Process, int]:
        """A ready ``torii serve``, and its port."""
        port = int(self.environment["TORII_PORT"])
        return self._start("serve").wait_ready(f"http://{ports.LOOPBACK}:{port}/health/ready", _READY_WITHIN_S), port

    def work(self) -> Process:
        """A ready ``torii work``."""
        return self._start("work").wait_ready("worker_ready", _READY_WITHIN_S)

    def _start(self, command: str) -> Process:
        process = Process([str(TORII), command], folder=self.folder, environment=self.environment, name=command)
        self._ending.callback(process.end, 35.0)
        return process.start()


@contextmanager
def gateway(database: str, upstream: EmulatorProcess | None = None, **settings: str) -> Iterator[Gateway]:
    """A migrated gateway on a database of that kind, and on that upstream if it is to work."""
    with ExitStack() as ending:
        folder = Path(ending.enter_context(TemporaryDirectory(prefix="torii-bench-")))
        # As durable as `torii up` runs it.
        redis = ending.enter_context(Valkey(appendonly=True, options={"appendfsync": "everysec"}))
        url, servers = _database(database, folder, ending)
        environment = {
            "TORII_DATABASE_URL": url,
            "TORII_REDIS_URL": redis.url,
            "TORII_ARCHIVE_URL": str(folder / "archive"),
            "TORII_SECRET_KEY": _MADE_UP,
            "TORII_ADMIN_TOKEN": _MADE_UP.replace(" ", "-"),
            "TORII_PORT": str(ports.free_one()),
            "TORII_WORKER_METRICS_PORT": "0",
            **({} if upstream is None else _upstream(upstream)),
            **settings,
        }
        made = Gateway(folder, environment, redis.url, {"valkey": redis.process.pid, **servers}, ending)
        made.run("migrate")
        yield made


@contextmanager
def floor(redis_url: str) -> Iterator[tuple[Process, int]]:
    """The bare ASGI app, and its port."""
    port = ports.free_one()
    with TemporaryDirectory(prefix="torii-bench-") as folder:
        command = [sys.executable, "-m", "bench.floor", str(port), redis_url]
        with Process(command, folder=Path(folder), environment={"PYTHONPATH": str(ROOT)}, name="floor") as process:
            yield process.wait_ready(port), port


def _upstream(emulator: EmulatorProcess) -> dict[str, str]:
    return {
        "PIXELDOJO_API_KEY": "pd_made_up_for_a_measurement",
        "PIXELDOJO_API_BASE": emulator.api_base,
        "TORII_RESULT_HOSTS": emulator.result_host,
    }


def _database(kind: str, folder: Path, ending: ExitStack) -> tuple[str, dict[str, int]]:
    if kind == "sqlite":
        return f"sqlite+aiosqlite:///{folder / 'torii.db'}", {}
    server = ending.enter_context(Postgres(fsync=True))
    return server.url(server.create()), {"postgresql": server.process.pid}
