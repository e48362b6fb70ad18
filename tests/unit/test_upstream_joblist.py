"""How the upstream's list of jobs is read, whose shape nobody knows."""

from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream import answers, joblist
from gateway.upstream.joblist import Listed, Page, Silent
from gateway.upstream.reading import Answer

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
MADE = datetime(2026, 11, 23, 11, 59, 0, tzinfo=UTC)
NO_HEADERS: MappingProxyType[str, str] = MappingProxyType({})
ROW = {"jobId": "job_a", "model": "m", "createdAt": "2026-11-23T11:59:00Z", "prompt": "a gate", "creditCost": 0.1}
READ = Listed("job_a", "m", MADE, "a gate", 100_000)


def page(body: object, status: int = 200, headers: dict[str, str] | None = None) -> joblist.PageAnswer:
    """What is read of an answer with that body."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return joblist.page(Answer(status, headers or NO_HEADERS, raw), NOW)


@pytest.mark.parametrize(
    "body",
    [
        [ROW],
        {"jobs": [ROW]},
        {"data": [ROW]},
        {"data": {"jobs": [ROW]}},
        {"items": [ROW]},
        {"results": [ROW]},
        {"jobs": [{**ROW, "jobId": None, "id": "job_a"}]},
        {"jobs": [{**ROW, "model": None, "apiId": "m"}]},
        {"jobs": [{**ROW, "model": {"apiId": "m"}}]},
        {"jobs": [{**ROW, "createdAt": None, "created_at": "2026-11-23T12:59:00+01:00"}]},
        {"jobs": [{**ROW, "createdAt": 1795435140}]},
        {"jobs": [{**ROW, "createdAt": 1795435140000}]},
        {"jobs": [{**ROW, "prompt": None, "input": {"prompt": "a gate"}}]},
        {"jobs": [{**ROW, "prompt": None, "parameters": {"prompt": "a gate"}}]},
    ],
)
def test_the_shapes_that_such_lists_have(body: object) -> None:
    """A job is read wherever clients of such lists have met it."""
    read = page(body)
    assert isinstance(read, Page)
    assert (read.jobs, read.clear) == ((READ,), True)


@pytest.mark.parametrize(
    ("body", "following", "ended"),
    [
        ([ROW], None, False),
        ({"jobs": [ROW]}, None, False),
        ({"jobs": [ROW], "nextCursor": None}, None, True),
        ({"jobs": [], "next_cursor": ""}, None, True),
        ({"jobs": [ROW], "nextCursor": "c/1"}, (("cursor", "c/1"),), False),
        (
            {"jobs": [ROW], "next": "https://elsewhere.example/x?cursor=c&limit=5"},
            (("cursor", "c"), ("limit", "5")),
            False,
        ),
        ({"data": [ROW], "pagination": {"hasMore": True, "nextCursor": 7}}, (("cursor", "7"),), False),
        ({"data": [ROW], "pagination": {"hasMore": False}}, None, True),
        ({"data": [ROW], "hasMore": True}, None, False),
        ({"data": [ROW], "hasMore": True, "page": 2}, (("page", "3"),), False),
        ({"data": [ROW], "page": 1, "totalPages": 2}, (("page", "2"),), False),
        ({"data": [ROW], "page": 2, "totalPages": 2}, None, True),
    ],
)
def test_how_the_list_goes_on(body: object, following: joblist.Query | None, ended: bool) -> None:
    """The next page is asked for as the list says, never at an address that it names; its end is its own word."""
    read = page(body)
    assert isinstance(read, Page)
    assert (read.following, read.ended) == (following, ended)


@pytest.mark.parametrize("status", [400, 404, 405, 410, 422, 501])
def test_no_such_list(status: int) -> None:
    """These statuses say that there is no list to be asked for."""
    assert page({"error": "no"}, status) == Silent(f"status_{status}")


@pytest.mark.parametrize("body", [b"<html>", {"ok": True}, {"jobs": "later"}, "jobs", {"jobs": [1, None]}])
def test_an_answer_that_is_no_list(body: object) -> None:
    """A 200 without a readable list is no list either."""
    assert isinstance(page(body), Silent)


@pytest.mark.parametrize("status", [301, 401, 403, 429, 500, 503])
def test_a_bad_moment(status: int) -> None:
    """Other statuses say nothing about the list."""
    assert isinstance(page({"jobs": []}, status), answers.Unreadable)


def test_an_item_that_cannot_be_read_spoils_the_page() -> None:
    """One item without an id makes the page unclear; the others are still read."""
    read = page({"jobs": [ROW, {"status": "pending"}], "nextCursor": None})
    assert isinstance(read, Page)
    assert (read.jobs, read.clear) == ((READ,), False)


def test_what_is_not_shown_stays_unknown() -> None:
    """A time without its zone is no time, and what is missing is none."""
    read = page({"jobs": [{"id": "j", "createdAt": "2026-11-23T11:59:00", "creditCost": "free"}]})
    assert isinstance(read, Page)
    assert read.jobs == (Listed("j"),)


def test_the_upstreams_clock() -> None:
    """``Date`` is the upstream's clock, unless a cache gave the answer."""
    said = {"date": "Mon, 23 Nov 2026 12:00:05 GMT"}
    fresh, stale, silent = page([ROW], headers=said), page([ROW], headers={**said, "age": "7"}), page([ROW])
    assert isinstance(fresh, Page)
    assert isinstance(stale, Page)
    assert isinstance(silent, Page)
    assert (fresh.served_at, fresh.stale) == (datetime(2026, 11, 23, 12, 0, 5, tzinfo=UTC), False)
    assert (stale.served_at, stale.stale) == (None, True)
    assert (silent.served_at, silent.stale) == (None, False)


def test_a_job_by_its_id() -> None:
    """A sighting is what the job's own address shows; another job's body is none."""

    def sighting(status: int, body: object) -> joblist.Sighting:
        return joblist.sighting(Answer(status, NO_HEADERS, msgspec.json.encode(body)), "job_a", NOW)

    assert sighting(200, {"jobId": "job_a", "status": "failed", "creditCost": 2}) == Listed(
        "job_a", cost_micros=2_000_000
    )
    assert sighting(404, {}) == answers.Missing()
    assert isinstance(sighting(200, {"jobId": "job_b", "status": "failed"}), answers.Unreadable)
    assert isinstance(sighting(200, {"jobId": "job_a"}), answers.Unreadable)
    assert isinstance(sighting(500, {}), answers.Unreadable)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["jobs", "data", "id", "jobId", "model", "createdAt", "next", "nextCursor", "page", "pages"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_nothing_makes_it_fail(body: Any) -> None:
    """Whatever JSON comes, it is a page, or silence, and never an error of ours."""
    assert isinstance(page(body), Page | Silent)
