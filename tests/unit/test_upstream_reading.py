"""How an answer of the upstream is read."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import MappingProxyType

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream import answers, limits, reading
from gateway.upstream.answers import Refusal
from gateway.upstream.reading import Answer

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
NO_HEADERS: MappingProxyType[str, str] = MappingProxyType({})


def answer(status: int, body: object = None, headers: dict[str, str] | None = None) -> Answer:
    """An answer with a JSON body, or raw bytes."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Answer(status, headers or NO_HEADERS, raw)


def test_the_seeds_202_is_accepted_with_its_cost_and_balance() -> None:
    """The 202 of the seed gives the job id, the cost and the balance in micro-credits."""
    said = reading.submission(
        answer(202, {"jobId": "job_abc123", "status": "pending", "creditCost": 2, "creditsRemaining": 95}), NOW
    )
    assert said == answers.Accepted("job_abc123", 202, 2_000_000, 95_000_000)


def test_fractional_credits_are_exact() -> None:
    """A cost of 0.1 credits is 100,000 micro-credits, not a binary float's neighbour of it."""
    said = reading.submission(Answer(202, NO_HEADERS, b'{"jobId":"j","creditCost":0.1,"creditsRemaining":94.7}'), NOW)
    assert said == answers.Accepted("j", 202, 100_000, 94_700_000)


@pytest.mark.parametrize("cost", [None, "free", -2, True, [2], "NaN"])
def test_an_unusable_cost_is_none_rather_than_a_guess(cost: object) -> None:
    """An acceptance whose cost cannot be read is still an acceptance, and its cost is unknown."""
    said = reading.submission(answer(202, {"jobId": "j", "creditCost": cost}), NOW)
    assert said == answers.Accepted("j", 202, None, None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"jobId":7}',
        b'{"jobId":""}',
        b'{"jobId":"a\\nb"}',
        b"\xff\xfe",
        b'{"job":"x"}',
        b"[" * 5000,
    ],
)
def test_an_unreadable_202_is_ambiguous(body: bytes) -> None:
    """A 202 without a readable job id may have cost credits, so it is neither a yes nor a no."""
    assert reading.submission(answer(202, body), NOW) == answers.Ambiguous("unreadable_answer", 202)


def test_a_202_whose_body_was_cut_is_ambiguous() -> None:
    """A 202 of which only the status arrived is ambiguous."""
    assert reading.submission(Answer(202, NO_HEADERS, None), NOW) == answers.Ambiguous("unreadable_answer", 202)


@pytest.mark.parametrize("status", sorted(reading.FINAL_STATUSES))
@pytest.mark.parametrize("body", [None, b"<html>"])
def test_final_statuses_reject_whatever_the_body_says(status: int, body: bytes | None) -> None:
    """400, 404, 413, 415 and 422 are decided by the status alone, even with a body that is cut or not JSON."""
    said = reading.submission(Answer(status, NO_HEADERS, body), NOW)
    assert said == answers.Rejected(status, f"the upstream answered {status}")


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": "invalid_request", "message": "bad ratio"}},
        {"error": "bad ratio"},
        {"message": "bad ratio"},
        {"error": {"code": "bad ratio"}},
    ],
)
def test_each_error_envelope_gives_its_text(body: object) -> None:
    """The three envelopes of pixeldojo.md 2.6 are read alike."""
    assert reading.submission(answer(400, body), NOW) == answers.Rejected(400, "bad ratio")


@pytest.mark.parametrize(
    ("status", "body", "refusal"),
    [
        (401, {"error": {"code": "invalid_api_key"}}, Refusal.KEY_REFUSED),
        (403, {"error": {"code": "forbidden", "message": "not yours"}}, Refusal.KEY_REFUSED),
        (403, b"<html>", Refusal.KEY_REFUSED),
        (402, b"", Refusal.OUT_OF_CREDITS),
        (403, {"error": {"code": "insufficient_credits", "message": "x"}}, Refusal.OUT_OF_CREDITS),
        (403, {"error": "Quota exceeded"}, Refusal.OUT_OF_CREDITS),
        (403, {"code": "quota_exceeded"}, Refusal.OUT_OF_CREDITS),
        (429, b"", Refusal.RATE_LIMITED),
    ],
)
def test_refusals_go_back_to_the_queue(status: int, body: object, refusal: Refusal) -> None:
    """401, 402, 403 and 429 surely accepted nothing; a 403 is about credits when it says so (pixeldojo.md 2.5)."""
    said = reading.submission(answer(status, body), NOW)
    assert isinstance(said, answers.Refused)
    assert said.refusal is refusal


@given(st.integers(100, 599), st.binary(max_size=60))
def test_a_paid_answer_is_only_a_no_when_the_table_says_so(status: int, body: bytes) -> None:
    """Whatever the body, a status that is not listed as a yes or a no is ambiguous."""
    said = reading.submission(answer(status, body), NOW)
    listed = reading.FINAL_STATUSES | {401, 402, 403, 429}
    assert isinstance(said, answers.Rejected | answers.Refused) == (status in listed)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=30), usegmt=True)}, 30.0),
        ({"retry-after": format_datetime(NOW - timedelta(seconds=30), usegmt=True)}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "99999999999999"}, 3600.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW.timestamp()) + 12)}, 12.0),
        ({"x-ratelimit-remaining": "3", "x-ratelimit-reset": str(int(NOW.timestamp()) + 12)}, None),
        ({}, None),
    ],
)
def test_the_wait_asked_for_is_read_from_either_header(headers: dict[str, str], seconds: float | None) -> None:
    """Retry-After as seconds or date wins over X-RateLimit-Reset; nonsense is no wait at all."""
    assert reading.retry_after_s(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("body", "urls"),
    [
        ({"output": {"images": ["u1", "u2"]}}, ["u1", "u2"]),
        ({"output": {"images": [{"url": "u1", "seed": 3}]}}, ["u1"]),
        ({"output": {"image": "u1"}}, ["u1"]),
        ({"output": {"images": []}, "assets": [{"url": "u1"}]}, ["u1"]),
        ({"output": {"images": [None, "", 5]}}, []),
        ({"output": None}, []),
        ({}, []),
    ],
)
def test_results_are_found_where_clients_have_met_them(body: dict[str, object], urls: list[str]) -> None:
    """output.images, output.image and assets[].url are read in this order; elements are strings or objects."""
    said = reading.job(answer(200, {"status": "completed", **body}), NOW)
    assert isinstance(said, answers.Finished)
    assert [result.url for result in said.results] == urls


@pytest.mark.parametrize("status", ["pending", "processing", "reviewing", "canceled", ""])
def test_an_unknown_status_is_not_an_end(status: str) -> None:
    """Only "completed" and "failed" end a job; any other word means: look again (pixeldojo.md 2.10)."""
    assert reading.job(answer(200, {"status": status}), NOW) == answers.Working(status)


@given(st.integers(100, 599), st.binary(max_size=80))
def test_no_answer_to_a_poll_raises(status: int, body: bytes) -> None:
    """Whatever bytes come back, a poll is read as one of its five readings."""
    assert isinstance(reading.job(answer(status, body), NOW), answers.Reading)


def test_the_error_of_a_failed_job_is_text_or_object() -> None:
    """A failed job's error is read as a string and as an object, and is never empty."""
    assert reading.job(answer(200, {"status": "failed", "error": "nsfw"}), NOW) == answers.Failed("nsfw")
    assert reading.job(answer(200, {"status": "failed", "error": {"message": "m"}}), NOW) == answers.Failed("m")
    assert isinstance(reading.job(answer(200, {"status": "failed"}), NOW), answers.Failed)


@pytest.mark.parametrize(
    "headers",
    [
        {"retry-after": "Mon, 01 Jan 2026 00:00:00 +9999999999999999999999"},
        {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "²"},
        {"date": "Mon, 01 Jan 2026 00:00:00 +999999999999999999"},
    ],
)
def test_no_header_keeps_an_answer_from_being_read(headers: dict[str, str]) -> None:
    """Times that no calendar has are as good as none."""
    said = reading.submission(answer(429, None, headers), NOW)
    assert said == answers.Refused(Refusal.RATE_LIMITED, 429, None)
    assert reading.date(headers) is None
    assert limits.notice(429, headers, NOW).refused


def test_a_time_before_all_times_is_none() -> None:
    """An expiry that UTC cannot express does not keep the pictures from being fetched."""
    body = {"status": "completed", "output": {"images": ["https://t/1.png"]}, "expiresAt": "0001-01-01T00:00:00+14:00"}
    assert reading.job(answer(200, body), NOW) == answers.Finished((answers.Result("https://t/1.png"),), None)


@pytest.mark.parametrize("seed", [(1 << 64) - 1, -(1 << 63) - 1, 1.5, True, "7"])
def test_a_seed_that_no_column_holds_is_none(seed: object) -> None:
    """A picture is fetched whatever is said of its seed."""
    body = {"status": "completed", "output": {"images": [{"url": "https://t/1.png", "seed": seed}]}}
    assert reading.job(answer(200, body), NOW) == answers.Finished((answers.Result("https://t/1.png"),), None)


def test_what_the_store_cannot_hold_is_not_read() -> None:
    """U+0000 in the upstream's words becomes a space, and an address with it is none."""
    assert reading.submission(answer(400, {"error": "a\0b"}), NOW) == answers.Rejected(400, "a b")
    body = {"status": "completed", "output": {"images": ["https://t/\0.png"]}}
    assert reading.job(answer(200, body), NOW) == answers.Finished((), None)


@pytest.mark.parametrize(
    "body", [{"error": "no pd_live_0123456789abcdef"}, {"message": "Bearer pd_live_0123456789abcdef"}]
)
def test_a_key_that_the_upstream_repeats_is_not_handed_on(body: dict[str, str]) -> None:
    """What the upstream says is shown to callers, so a key in it is masked."""
    said = reading.submission(answer(422, body), NOW)
    assert isinstance(said, answers.Rejected)
    assert "0123456789abcdef" not in said.message
