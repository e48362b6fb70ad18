"""The one error body: in every route, for every error of the house, and documented."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import errors
from gateway.errors import ToriiError
from gateway.jobs.states import Failure
from service import problems
from tests.api.door import GOOD, Door

DOCS = Path(__file__).resolve().parents[2] / "docs" / "errors.md"
RUN = "/api/v1/models/flux-2-max/run"


def family(root: type[ToriiError] = ToriiError) -> Iterator[type[ToriiError]]:
    """The root and all that inherit from it in the house; a command's own errors never reach a door."""
    yield root
    for child in root.__subclasses__():
        if child.__module__.startswith(("gateway.", "service.", "workers.")):
            yield from family(child)


def test_every_error_of_the_house_has_its_own_status() -> None:
    """The door's table has an entry of its own for each class of the family, and for nothing else."""
    assert set(problems.TABLE) == set(family())


@pytest.mark.parametrize("error", [error for error in family() if problems.TABLE[error].status >= 500])
def test_what_passes_by_itself_says_when(error: type[ToriiError]) -> None:
    """Every 503 carries the seconds to wait, and no 500 does."""
    kind = problems.TABLE[error]
    assert kind.type == "server_error"
    assert (kind.status == 503) == (error().retry_after_s is not None)


def test_every_code_is_documented() -> None:
    """docs/errors.md has a row with the right status for every code, and one for each way a job fails."""
    text = DOCS.read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d{3}) \|", text, re.MULTILINE))
    # Some words are both: a request's answer, and the end of a job that was accepted.
    ends = set(re.findall(r"^\| `(\w+)` \| (?:yes|no) \|", text, re.MULTILINE))
    assert rows == {error.code: str(problems.TABLE[error].status) for error in family()}
    assert ends == {failure.value for failure in Failure}


async def test_every_error_has_the_one_body(any_door: Door) -> None:
    """Errors of every kind and route are problem+json with PixelDojo's and OpenAI's `error`, and name the request."""
    headers = await any_door.caller()
    client = any_door.client
    found = [
        await client.get("/nowhere"),
        await client.get("/api/v1/jobs/"),
        await client.delete("/api/v1/models"),
        await client.request("TRACE", "/health/live"),
        await client.get("/api/v1/models?detailed=x"),
        await client.get("/images/img_1.png"),
        await client.get("/images/"),
        await client.post(RUN, json=GOOD),
        await client.post(RUN, headers=headers, content=b"{}"),
        await client.post(RUN, headers=headers, json={}),
        await client.post(RUN.replace("max", "mux"), headers=headers, json=GOOD),
        await client.get("/api/v1/jobs/job_1", headers=headers),
        await client.get("/health/live", headers={"Host": "bad host/\\"}),
    ]
    assert {answer.status_code for answer in found} == {400, 401, 403, 404, 405, 415}
    for answer in found:
        body = answer.json()
        error = body["error"]
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert body.keys() == {"type", "title", "status", "detail", "instance", "error"}
        assert error.keys() == {"code", "message", "type", "param"}
        assert body["status"] == answer.status_code
        assert body["detail"] == error["message"]
        assert body["type"] == f"urn:torii:error:{error['code']}"
        assert body["instance"] == f"urn:torii:request:{answer.headers['X-Request-ID']}"
        assert answer.headers["Cache-Control"] == "no-store"


async def test_a_wrong_method_is_told_the_right_ones(door: Door) -> None:
    """A 405 lists what the path takes, and OPTIONS answers the same list."""
    for path, allowed in ((RUN, "OPTIONS, POST"), ("/api/v1/models", "GET, HEAD, OPTIONS")):
        refused = await door.client.put(path)
        assert (refused.status_code, refused.headers["Allow"]) == (405, allowed)
        options = await door.client.options(path)
        assert options.status_code == 204
        assert sorted(options.headers["Allow"].split(", ")) == allowed.split(", ")


def test_a_message_that_cannot_be_encoded_is_still_told() -> None:
    """Half of a surrogate pair in a message is shown as an escape and does not become a 500."""
    body = problems.render(errors.InvalidParameter("a \ud800 b", param="\udfff"), "req_1")
    assert b"\\ud800" in body
