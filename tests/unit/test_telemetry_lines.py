"""The line of a request: what it holds, what it never holds, and when it is written."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from gateway import ids
from gateway.telemetry import logs
from gateway.telemetry.lines import Answered

KEY = "torii_A1b2C3d4E5f6_" + "s" * 49
PLANTED = "planted-secret-of-the-operator"
TOLD = Answered("GET", "/api/v1/jobs/job_1", "/api/v1/jobs/{jobId}", 200, 1.25, "192.0.2.1")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Give the process its own logging back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def written(stream: io.StringIO) -> list[dict[str, object]]:
    """The lines written so far, each a JSON object."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_as_any_other() -> None:
    """It has the request's fields and ids, its time, level and logger, as the common way would write them."""
    stream = io.StringIO()
    logs.configure(stream=stream)
    with logs.bound(request_id="req_1", team_id="team_1", job_id="job_1"):
        logs.answered(TOLD, own_id=True)
        structlog.get_logger("service.envelope").info("request", **TOLD._asdict())
    quick, common = written(stream)
    assert str(quick["at"]).endswith("Z")
    assert len(str(quick.pop("at"))) == len(str(common.pop("at")))
    assert quick == common


@pytest.mark.parametrize("secret", [KEY, PLANTED, "Bearer%20abcdefghijkl", "x?token=abcdefgh"])
def test_what_a_caller_wrote_is_masked(secret: str) -> None:
    """A secret in the path, the address, an id of the caller's or a name that is bound is in no line, however often."""
    stream = io.StringIO()
    logs.configure(stream=stream, hidden=[PLANTED])
    foreign = TOLD._replace(path=f"/{secret}", client=secret)
    with structlog.contextvars.bound_contextvars(request_id=secret, job_id=secret, odd={secret: secret}):
        for _ in range(2):
            logs.answered(foreign, own_id=False)
    lines = written(stream)
    assert len(lines) == 2
    for line in lines:
        line.pop("at")
    assert lines[0] == lines[1]
    kept = secret.removeprefix("torii_A1b2C3d4E5f6_").removeprefix("Bearer%20").removeprefix("x?token=")
    assert kept not in stream.getvalue()


def test_a_prompt_that_is_bound_is_left_out() -> None:
    """What is bound to a request is held to the same rules as any field."""
    stream = io.StringIO()
    logs.configure(stream=stream)
    with structlog.contextvars.bound_contextvars(prompt="a red gate", token="abc"):
        logs.answered(TOLD, own_id=True)
    (line,) = written(stream)
    assert "prompt" not in line
    assert line["token"] == "[redacted]"


async def test_lines_of_one_turn_are_written_together() -> None:
    """In an event loop a line is written at the end of its turn, in order, and each of them whole."""
    stream = io.StringIO()
    logs.configure(stream=stream)
    for number in range(3):
        logs.answered(TOLD._replace(status=200 + number), own_id=True)
    assert stream.getvalue() == ""
    await asyncio.sleep(0)
    assert [line["status"] for line in written(stream)] == [200, 201, 202]
    logs.answered(TOLD, own_id=True)
    await asyncio.sleep(0)
    assert len(written(stream)) == 4


def test_the_last_lines_of_a_loop_are_written() -> None:
    """A loop that ends right after a request has written its line, and the next loop writes its own."""
    stream = io.StringIO()
    logs.configure(stream=stream)

    async def one() -> None:
        logs.answered(TOLD, own_id=True)

    for _ in range(2):
        asyncio.run(one())
    assert len(written(stream)) == 2


def test_the_level_and_the_form_count_for_it() -> None:
    """Above its level it is not written, and where lines are for people it is one of them."""
    quiet, people = io.StringIO(), io.StringIO()
    logs.configure(stream=quiet, level="WARNING")
    logs.answered(TOLD, own_id=True)
    logs.configure(stream=people, json=False)
    logs.answered(TOLD._replace(path=f"/{KEY}"), own_id=True)
    assert quiet.getvalue() == ""
    assert "request" in people.getvalue()
    assert not people.getvalue().startswith("{")
    assert KEY not in people.getvalue()


def test_a_path_that_is_no_text_is_written() -> None:
    """Half of a surrogate pair in a path takes no line away."""
    stream = io.StringIO()
    logs.configure(stream=stream)
    logs.answered(TOLD._replace(path="/\ud800"), own_id=True)
    assert json.loads(stream.getvalue())["status"] == 200


def test_ids_are_long_enough_and_of_their_digits() -> None:
    """An id has its length and base-62 digits alone, and each digit comes as often as another."""
    drawn = "".join(ids.base62(43) for _ in range(5_000))
    assert len(drawn) == 5_000 * 43
    assert set(drawn) == set(ids.BASE62)
    often = [drawn.count(digit) for digit in ids.BASE62]
    # 215,000 draws: a digit has 3,468 of them, give or take 59 (one standard deviation).
    assert min(often) > 3_468 - 7 * 59
    assert max(often) < 3_468 + 7 * 59
