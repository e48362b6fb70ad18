"""The rules by which an answer of the upstream is read: by its HTTP status first, its text leniently. Pure.

A submit is read with suspicion: what is not surely a "no" is ambiguous, since the credits may be gone.
Sources: pixeldojo.md 1.1, 1.2, 1.9 and section 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from gateway import money
from gateway.telemetry import redaction
from gateway.upstream import answers
from gateway.upstream.answers import Refusal

#: Statuses by which the request itself is refused for good.
FINAL_STATUSES = frozenset({400, 404, 413, 415, 422})
_ACCEPTED_STATUSES = frozenset({200, 201, 202})
_MAX_TEXT = 500
_MAX_RETRY_AFTER_S = 3600.0
#: The largest seed that a column holds; a larger one is true of no picture that could be asked for again.
_MAX_SEED = (1 << 63) - 1
#: A 403 is about money when its code or text says so (pixeldojo.md 2.5).
_MONEY_WORDS = ("credit", "quota", "balance", "payment")

_DECODER = msgspec.json.Decoder(float_hook=Decimal)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer as far as it arrived: ``body`` is none when it was cut off or too long."""

    status_code: int
    headers: Mapping[str, str]
    body: bytes | None


def submission(answer: Answer, now: datetime) -> answers.Submission:
    """What the answer to a paid POST means."""
    status = answer.status_code
    if status in _ACCEPTED_STATUSES:
        return _accepted(answer)
    if status in FINAL_STATUSES:
        return answers.Rejected(status, text(answer))
    if status == 429:
        return answers.Refused(Refusal.RATE_LIMITED, status, retry_after_s(answer.headers, now))
    if status == 402 or (status == 403 and _about_money(answer)):
        return answers.Refused(Refusal.OUT_OF_CREDITS, status)
    if status in (401, 403):
        return answers.Refused(Refusal.KEY_REFUSED, status)
    return answers.Ambiguous(f"status_{status}", status)


def _accepted(answer: Answer) -> answers.Submission:
    body = _object(answer)
    job_id = body.get("jobId")
    if not isinstance(job_id, str) or not 0 < len(job_id) <= 255 or not job_id.isprintable():
        return answers.Ambiguous("unreadable_answer", answer.status_code)
    return answers.Accepted(
        upstream_job_id=job_id,
        status_code=answer.status_code,
        cost_micros=micros(body.get("creditCost")),
        remaining_micros=micros(body.get("creditsRemaining")),
    )


def job(answer: Answer, now: datetime) -> answers.Reading:
    """What the answer to a poll means."""
    status = answer.status_code
    if status == 404:
        return answers.Missing()
    if status != 200:
        return answers.Unreadable(f"status_{status}", status, retry_after_s(answer.headers, now))
    body = _object(answer)
    state = body.get("status")
    if not isinstance(state, str):
        return answers.Unreadable("unreadable_answer", status)
    if state == "completed":
        return answers.Finished(_results(body), moment(body.get("expiresAt")))
    if state == "failed":
        return answers.Failed(_error_text(body) or "the upstream gave no reason")
    return answers.Working(state[:40])


def _results(body: Mapping[str, Any]) -> tuple[answers.Result, ...]:
    """The pictures, looked for where clients have met them (pixeldojo.md 1.2 and 2.11)."""
    output = body.get("output")
    places: list[Any] = []
    if isinstance(output, dict):
        places += [output.get("images"), [output.get("image")]]
    places.append(body.get("assets"))
    for place in places:
        found = tuple(result for item in place if (result := _result(item))) if isinstance(place, list) else ()
        if found:
            return found
    return ()


def _result(item: object) -> answers.Result | None:
    if isinstance(item, str):
        return answers.Result(item) if _storable(item) else None
    if isinstance(item, dict) and isinstance(item.get("url"), str) and _storable(item["url"]):
        return answers.Result(item["url"], _seed(item.get("seed")))
    return None


def _storable(url: str) -> bool:
    return bool(url) and url.isprintable()


def _seed(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if -_MAX_SEED <= value <= _MAX_SEED else None


def text(answer: Answer) -> str:
    """What the upstream says is wrong, shortened; its status where it says nothing readable."""
    return _error_text(_object(answer)) or f"the upstream answered {answer.status_code}"


def _error_text(body: Mapping[str, Any]) -> str | None:
    error = body.get("error")
    candidates = [error.get("message"), error.get("code")] if isinstance(error, dict) else [error]
    candidates += [body.get("message"), body.get("detail")]
    for candidate in candidates:
        if isinstance(candidate, str):
            # PostgreSQL keeps no U+0000, and nobody reads the other control characters.
            words = "".join(sign if sign.isprintable() else " " for sign in candidate).split()
            if words:
                # It may repeat the key that it was shown, and what it says is shown to callers. Cut off afterwards,
                # or half a key would be left.
                return redaction.redact(" ".join(words))[:_MAX_TEXT]
    return None


def _about_money(answer: Answer) -> bool:
    body = _object(answer)
    error = body.get("error")
    code = error.get("code") if isinstance(error, dict) else body.get("code")
    said = f"{code} {_error_text(body)}".lower()
    return any(word in said for word in _MONEY_WORDS)


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to wait: ``Retry-After`` as seconds or date (RFC 9110 10.2.3), else ``X-RateLimit-Reset`` (Unix s)."""
    said = headers.get("retry-after", "").strip()
    wait: float | None = None
    if said.isascii() and said.isdigit():
        wait = float(said[:9])
    elif said:
        try:
            at = parsedate_to_datetime(said)
            wait = (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()
        except (ValueError, OverflowError):
            wait = None
    reset = headers.get("x-ratelimit-reset", "").strip()
    if wait is None and headers.get("x-ratelimit-remaining", "").strip() == "0" and reset.isascii() and reset.isdigit():
        wait = float(reset[:12]) - now.timestamp()
    return None if wait is None else min(max(wait, 0.0), _MAX_RETRY_AFTER_S)


def moment(value: object) -> datetime | None:
    """An ISO-8601 time with a zone, or none."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
        return at.astimezone(UTC) if at.tzinfo else None
    except (ValueError, OverflowError):
        return None


def date(headers: Mapping[str, str]) -> datetime | None:
    """The upstream's clock when it answered, by its ``Date`` (RFC 9110 6.6.1), in whole seconds; none if not said."""
    try:
        at = parsedate_to_datetime(headers.get("date", ""))
        return at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def micros(value: object) -> int | None:
    """An amount of credits in micro-credits; none for what is not one."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    try:
        return money.micros(value)
    except ValueError:
        return None


def decoded(answer: Answer) -> object:
    """The body as JSON, decimals exact; none where it is not JSON, or did not arrive whole."""
    if answer.body is None:
        return None
    try:
        return _DECODER.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _object(answer: Answer) -> dict[str, Any]:
    body = decoded(answer)
    return body if isinstance(body, dict) else {}
