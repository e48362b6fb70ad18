"""Log lines as a process writes them: our own events, libraries' records and tracebacks, all through one scrubber."""

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest
import structlog

from gateway.telemetry import logs

KEY = "torii_A1b2C3d4E5f6_" + "s" * 49
PLANTED = "planted-secret-of-the-operator"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Give the process its own logging back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in ("httpx", "httpcore", "asyncio", "aiosqlite", "PIL")}
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    """The lines written so far, each a JSON object."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail(secret: str, host: str) -> None:
    """Raise with a local variable that nobody may see, and a password in the message."""
    kept = f"redis://:{secret[::-1]}@{host}"
    raise ValueError(f"refused by {kept}")


def test_an_event_is_one_json_line() -> None:
    """An event has its time in UTC, level, logger and fields; ids bound around it are on it, and gone after."""
    stream = io.StringIO()
    logs.configure(stream=stream)
    log = structlog.get_logger("gateway.test")
    with logs.bound(request_id="req_1", team_id="team_1"), logs.bound(job_id="job_1"):
        log.info("job accepted", model="flux-2-max", prompt="a red gate", attempt=1)
    log.warning("after")
    log.debug("not at this level")
    first, second = lines(stream)
    assert str(first.pop("at")).endswith("Z")
    assert first == {
        "event": "job accepted",
        "level": "info",
        "logger": "gateway.test",
        "request_id": "req_1",
        "team_id": "team_1",
        "job_id": "job_1",
        "model": "flux-2-max",
        "attempt": 1,
    }
    assert second["event"] == "after"
    assert not {"request_id", "team_id", "job_id"} & second.keys()


@pytest.mark.parametrize("name", ["uvicorn.access", "uvicorn.error", "arq.worker", "alembic", "some.library"])
def test_libraries_write_the_same_lines(name: str) -> None:
    """A library's record, with a handler of its own or not, comes out once, in our form, and without secrets."""
    stream, own = io.StringIO(), io.StringIO()
    library = logging.getLogger(name)
    if name != "some.library":
        library.addHandler(logging.StreamHandler(own))
        library.propagate = False
    logs.configure(stream=stream, hidden=[PLANTED])
    with logs.bound(request_id="req_1"):
        library.info('%s - "%s"', "127.0.0.1:1", f"GET /images/img_1.png?exp=1&sig=abc&x={PLANTED} {KEY}")
    (line,) = lines(stream)
    assert own.getvalue() == ""
    assert line["event"] == (
        '127.0.0.1:1 - "GET /images/img_1.png?exp=1&sig=[redacted]&x=[redacted] torii_A1b2C3d4E5f6_[redacted]"'
    )
    assert (line["level"], line["logger"], line["request_id"]) == ("info", name, "req_1")


@pytest.mark.parametrize("json_lines", [True, False])
def test_tracebacks_show_no_locals_and_no_secrets(*, json_lines: bool) -> None:
    """An exception is written with its traceback, without local variables, and redacted like everything else."""
    stream = io.StringIO()
    logs.configure(json=json_lines, stream=stream)
    try:
        fail(PLANTED, "host")
    except ValueError as error:
        error.add_note(f"shown: {KEY}")
        structlog.get_logger("ours").exception("it failed")
        logging.getLogger("theirs").exception("it failed there")
    written = stream.getvalue()
    assert written.count("Traceback (most recent call last)") == 2
    assert written.count("redis://:[redacted]@host") == 2
    assert written.count("torii_A1b2C3d4E5f6_[redacted]") == 2
    assert PLANTED not in written
    assert PLANTED[::-1] not in written
    assert KEY not in written


def test_prompts_are_logged_only_when_asked() -> None:
    """A prompt is in the line if and only if the operator set it so."""
    for prompts in (False, True):
        stream = io.StringIO()
        logs.configure(stream=stream, prompts=prompts)
        structlog.get_logger().info("sent", body={"prompt": "a red gate"})
        assert ("a red gate" in stream.getvalue()) is prompts


def test_people_read_coloured_lines() -> None:
    """On a terminal lines are for people; elsewhere they are JSON, unless told otherwise."""
    for stream, told, is_json in (
        (Terminal(), None, False),
        (io.StringIO(), None, True),
        (Terminal(), True, True),
        (io.StringIO(), False, False),
    ):
        logs.configure(json=told, stream=stream)
        structlog.get_logger().info("hello", token=PLANTED)
        assert stream.getvalue().startswith("{") is is_json
        assert ("\x1b[" in stream.getvalue()) is (stream.isatty() and not is_json)
        assert PLANTED not in stream.getvalue()


def test_the_last_configuration_counts() -> None:
    """Configuring again replaces the first, and no line is written twice."""
    first, second = io.StringIO(), io.StringIO()
    logs.configure(stream=first)
    logs.configure(stream=second, level="WARNING")
    structlog.get_logger().info("too quiet")
    logging.getLogger("theirs").info("too quiet")
    structlog.get_logger().warning("heard")
    assert first.getvalue() == ""
    assert [line["event"] for line in lines(second)] == ["heard"]


def test_warnings_are_lines_too() -> None:
    """A Python warning in production is a log line, not text between them."""
    stream = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logs.configure(stream=stream)
        warnings.warn(f"old: {KEY}", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    (line,) = lines(stream)
    assert (line["level"], line["logger"]) == ("warning", "py.warnings")
    assert KEY not in str(line)


def test_chatty_libraries_are_quiet() -> None:
    """Libraries that tell of each request they send, with its URL, are heard from warnings on."""
    stream = io.StringIO()
    logs.configure(stream=stream, level="DEBUG")
    logging.getLogger("httpx").info("HTTP Request: GET https://host/secret-path")
    logging.getLogger("httpx").warning("odd")
    structlog.get_logger().debug("ours")
    assert [line["event"] for line in lines(stream)] == ["odd", "ours"]
