"""The fixtures every test may ask for: real servers on loopback, each clean at the start of a test.

Nothing here reaches another host, and no setting of the person who runs the tests reaches a test.
"""

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from playwright.async_api import Browser

from tests.support import memory, report, template
from tests.support.chromium import Chromium
from tests.support.emulator import EmulatorProcess
from tests.support.loopback import LoopbackGuard, OutsideCallError
from tests.support.node import NodeClient
from tests.support.postgres import Postgres
from tests.support.process import Process, StartProcess
from tests.support.prometheus import Prometheus, Promtools
from tests.support.s3 import RadosGateway
from tests.support.s3_bucket import Bucket
from tests.support.valkey import Valkey

SERVERS = ("valkey", "postgres", "s3", "prometheus", "chromium", "node")
OUTSIDE = ("PIXELDOJO_", "TORII_", "AWS_", "OTEL_")
PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy"})
REPORT = pytest.StashKey[report.Report]()
GUARD = pytest.StashKey[LoopbackGuard]()

Server = TypeVar("Server", bound="RealServer")


class RealServer(Protocol):
    """A real server that can be started, says its version and can be removed."""

    @property
    def version(self) -> str:
        """The version to name at the end of the run."""

    def start(self) -> object:
        """Start it, and return once it answers."""

    def remove(self) -> None:
        """End it and delete what it kept."""


def pytest_configure(config: pytest.Config) -> None:
    """Take the person's own settings away, and close the way to other hosts."""
    config.stash[REPORT] = report.Report(report.required(f"valkey,{os.environ.get('TORII_TEST_REQUIRE', '')}"))
    for name in list(os.environ):
        if name.startswith(OUTSIDE) or name.lower() in PROXIES:
            del os.environ[name]
    kept_in = memory.folder()
    if kept_in is not None:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(kept_in))
    config.stash[GUARD] = LoopbackGuard()
    sys.addaudithook(config.stash[GUARD].hook)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a run that is told to end ends its servers too
    # A shell has what it starts in the background ignore Ctrl-C, and so would each command that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by the real servers its fixtures ask for, so that `-m "not s3"` needs no marks by hand."""
    for item in items:
        asked = set(getattr(item, "fixturenames", ()))
        if asked & {"s3", "s3_server"}:
            item.add_marker(pytest.mark.s3)
        if asked & {"postgres", "postgres_url"}:
            item.add_marker(pytest.mark.postgres)
        if asked & {"prometheus", "promtools"}:
            item.add_marker(pytest.mark.prometheus)
        if asked & {"chromium", "browser"}:
            item.add_marker(pytest.mark.chromium)
        if "node_client" in asked:
            item.add_marker(pytest.mark.node)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a part of a parallel run: hand the account to the process that writes the summary."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        account = session.config.stash[REPORT]
        output["servers"] = {"ran": account.ran, "missing": account.missing}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """In a parallel run: take over what one part has seen of the servers."""
    seen = getattr(node, "workeroutput", {}).get("servers", {})
    account = node.config.stash[REPORT]
    account.ran.update(seen.get("ran", {}))
    account.missing.update(seen.get("missing", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which real servers this run talked to, and which it could not start."""
    account = config.stash[REPORT]
    terminalreporter.section("real servers", bold=True, yellow=bool(account.missing))
    for line in account.lines(SERVERS):
        terminalreporter.line(line, yellow="COULD NOT" in line)


@pytest.fixture(autouse=True)
def _loopback_only(pytestconfig: pytest.Config) -> Iterator[None]:
    """Fail a test whose code swallowed the refusal of an outside call."""
    guard = pytestconfig.stash[GUARD]
    guard.take()
    yield
    calls = guard.take()
    if calls:
        raise OutsideCallError(f"refused during this test: {', '.join(calls)}")


@pytest.fixture
def loopback_guard(pytestconfig: pytest.Config) -> LoopbackGuard:
    """Give the guard itself, for the tests of it."""
    return pytestconfig.stash[GUARD]


@contextlib.contextmanager
def _running(config: pytest.Config, name: str, make: Callable[[], Server]) -> Iterator[Server]:
    """Start a real server, note it, and remove it; where it cannot be started, skip, or fail if the run requires it."""
    account = config.stash[REPORT]
    fault = ""
    with contextlib.ExitStack() as ending:
        try:
            server = make()
            ending.callback(server.remove)
            server.start()
        except (report.UnavailableError, AssertionError, OSError, LookupError) as reason:
            fault = str(reason).strip() or repr(reason)
        if not fault:
            account.ran[name] = server.version
            yield server
            return
    account.missing[name] = fault.splitlines()[0]
    if name in account.required:
        pytest.fail(f"this run requires {name}, and it cannot be started: {fault}", pytrace=False)
    pytest.skip(f"NO {name.upper()} SERVER: {fault}")


@pytest.fixture(scope="session")
def valkey(pytestconfig: pytest.Config) -> Iterator[Valkey]:
    """Give the run's Valkey server; a test may stop, kill, pause or restart it."""
    with _running(pytestconfig, "valkey", Valkey) as server:
        yield server


@pytest.fixture
def redis_url(valkey: Valkey) -> str:
    """Give the address of an empty Valkey."""
    valkey.flush()
    return valkey.url


@pytest.fixture(scope="session")
def postgres(pytestconfig: pytest.Config) -> Iterator[Postgres]:
    """Give the run's PostgreSQL server; a test may stop, kill or restart it."""
    with _running(pytestconfig, "postgres", Postgres) as server:
        yield server


@pytest.fixture
def migrated() -> bool:
    """Whether the databases of a test have this release's schema already; a folder or a module says so for itself."""
    return False


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a SQLite file with the schema and nothing else, to be copied."""
    path = tmp_path_factory.mktemp("template") / "torii.db"
    template.migrate(f"sqlite+aiosqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(request: pytest.FixtureRequest, migrated: bool, tmp_path: Path) -> str:
    """Give the address of a SQLite file of this test's own, which does not exist yet unless it is ``migrated``."""
    path = tmp_path / "torii.db"
    if migrated:
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
    return f"sqlite+aiosqlite:///{path}"


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> str:
    """Give the name of a PostgreSQL database with the schema and nothing else, to be copied."""
    postgres.ensure()
    name = postgres.create()
    template.migrate(postgres.url(name))
    return name


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest, migrated: bool, postgres: Postgres) -> Iterator[str]:
    """Give the address of a PostgreSQL database of this test's own, empty unless it is ``migrated``."""
    template = request.getfixturevalue("postgres_template") if migrated else "template1"
    postgres.ensure()
    database = postgres.create(template)
    yield postgres.url(database)
    postgres.ensure()
    postgres.drop(database)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> str:
    """Give the address of an empty database: the test runs once on SQLite and once on PostgreSQL."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(scope="session")
def s3_server(pytestconfig: pytest.Config) -> Iterator[RadosGateway]:
    """Give the run's S3 server; a test may stop, pause or restart its gateway."""
    with _running(pytestconfig, "s3", RadosGateway) as server:
        yield server
        if server.breaks:
            pytestconfig.stash[REPORT].ran["s3"] += f", broke off by itself: {'; '.join(server.breaks)}"


@pytest.fixture
def s3(s3_server: RadosGateway) -> Bucket:
    """Give an empty bucket of a real S3 server, and what a client needs to use it."""
    s3_server.ensure()
    return s3_server.create()


@pytest.fixture(scope="session")
def prometheus(pytestconfig: pytest.Config) -> Iterator[Prometheus]:
    """Give the run's Prometheus, which scrapes what a test tells it to."""
    with _running(pytestconfig, "prometheus", Prometheus) as server:
        yield server


@pytest.fixture(scope="session")
def node_client(pytestconfig: pytest.Config) -> Iterator[NodeClient]:
    """Give OpenAI's client for Node."""
    with _running(pytestconfig, "node", NodeClient) as client:
        yield client


@pytest.fixture(scope="session")
def promtools(pytestconfig: pytest.Config) -> Iterator[Promtools]:
    """Give Prometheus' checkers, promtool and amtool."""
    with _running(pytestconfig, "prometheus", Promtools) as tools:
        yield tools


@pytest.fixture(scope="session")
def chromium(pytestconfig: pytest.Config) -> Iterator[Chromium]:
    """Give the run's Chromium."""
    with _running(pytestconfig, "chromium", Chromium) as program:
        yield program


@pytest.fixture
async def browser(chromium: Chromium) -> AsyncIterator[Browser]:
    """Give a browser of this test's own, which knows nothing of any other."""
    async with chromium.launched() as launched:
        yield launched


@pytest.fixture(scope="session")
def emulator_process() -> Iterator[EmulatorProcess]:
    """Give the run's stand-in PixelDojo; a test may stop, kill or restart it."""
    with EmulatorProcess() as process:
        yield process


@pytest.fixture
def emulator(emulator_process: EmulatorProcess) -> EmulatorProcess:
    """Give a stand-in PixelDojo that has forgotten every earlier test."""
    emulator_process.reset()
    return emulator_process


@pytest.fixture
def start_process(tmp_path: Path) -> Iterator[StartProcess]:
    """Start commands as real processes in the test's folder; all are ended with the test."""
    started: list[Process] = []

    def start(
        command: Sequence[str], environment: Mapping[str, str] | None = None, *, name: str | None = None
    ) -> Process:
        title = name or f"{len(started)}-{Path(command[0]).name}"
        process = Process(command, folder=tmp_path, environment=environment, name=title)
        started.append(process)
        return process.start()

    yield start
    for process in started:
        # As Ctrl-C: a door that is told so does not wait for load balancers to notice.
        process.signal(signal.SIGINT)
    for process in reversed(started):
        process.end()
