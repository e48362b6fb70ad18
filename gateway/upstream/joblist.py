"""How the upstream's list of jobs is read: leniently, since nobody knows its shape (pixeldojo.md 1.6). Pure.

What an item does not show stays unknown here, and a list that does not say where it ends has no end here. Decides
nothing about a job of ours: ``gateway.jobs.matching`` does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from gateway.upstream import answers, reading

#: Names under which clients of such lists have met the same thing, the likeliest first.
_PLACES = ("jobs", "data", "items", "results")
_IDS = ("jobId", "id", "job_id")
_MODELS = ("model", "apiId", "api_id", "modelId", "model_id")
_CREATED = ("createdAt", "created_at", "created")
_COSTS = ("creditCost", "credit_cost", "cost")
_CURSORS = ("nextCursor", "next_cursor", "next")
_MORE = ("hasMore", "has_more")
_PAGES = ("totalPages", "total_pages", "pages")
_INPUTS = ("input", "parameters", "params")
_PAGING = ("pagination", "meta", "paging")
_MAX_ID = 255
_MAX_QUERY = 2_000
#: Unix times above this are in milliseconds.
_MILLISECONDS_FROM = 100_000_000_000

#: The parameters that ask for a page.
Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Listed:
    """One job as the upstream shows it; none for what it does not show."""

    upstream_job_id: str
    model: str | None = None
    #: By the upstream's clock.
    created_at: datetime | None = None
    prompt: str | None = None
    cost_micros: int | None = None


@dataclass(frozen=True)
class Page:
    """One page of the list."""

    jobs: tuple[Listed, ...]
    #: How to ask for the next one; none when there is none, or no way to ask was shown.
    following: Query | None
    #: The list says that it ends here.
    ended: bool
    #: Each item was readable, by its id at least.
    clear: bool
    #: The upstream's clock when it answered; none where it did not say, or a cache answered in its place.
    served_at: datetime | None
    #: A cache gave this answer: it may be older than it looks.
    stale: bool


@dataclass(frozen=True)
class Silent:
    """The upstream does not answer with a list of jobs."""

    reason: str


PageAnswer = Page | Silent | answers.Unreadable
Sighting = Listed | answers.Missing | answers.Unreadable

#: Statuses that say that there is no such route, or none that takes this question.
_NO_LIST = frozenset({400, 404, 405, 410, 422, 501})


def page(answer: reading.Answer, now: datetime) -> PageAnswer:
    """What the answer to ``GET /jobs`` means."""
    status = answer.status_code
    if status in _NO_LIST:
        return Silent(f"status_{status}")
    if status != 200:
        return answers.Unreadable(f"status_{status}", status, reading.retry_after_s(answer.headers, now))
    if answer.body is None:
        return answers.Unreadable("cut_or_too_large", status)
    decoded = reading.decoded(answer)
    found = _items(decoded)
    if found is None:
        return Silent("unreadable_answer")
    jobs = [listed(item) for item in found]
    readable = tuple(job for job in jobs if job is not None)
    if found and not readable:
        return Silent("unreadable_items")
    stale = answer.headers.get("age", "").strip() not in ("", "0")
    following, ended = _onward(decoded) if isinstance(decoded, dict) else (None, False)
    return Page(
        jobs=readable,
        following=following,
        ended=ended,
        clear=len(readable) == len(found),
        served_at=None if stale else reading.date(answer.headers),
        stale=stale,
    )


def sighting(answer: reading.Answer, upstream_job_id: str, now: datetime) -> Sighting:
    """Whether the upstream has a job of that id, by its answer to ``GET /jobs/{id}``, and what it shows of it."""
    status = answer.status_code
    if status == 404:
        return answers.Missing()
    if status != 200:
        return answers.Unreadable(f"status_{status}", status, reading.retry_after_s(answer.headers, now))
    body = reading.decoded(answer)
    if not isinstance(body, dict) or not isinstance(body.get("status"), str):
        return answers.Unreadable("unreadable_answer", status)
    shown = listed({_IDS[0]: upstream_job_id, **body})
    if shown is None or shown.upstream_job_id != upstream_job_id:
        return answers.Unreadable("another_job", status)
    return shown


def listed(item: object) -> Listed | None:
    """One job of the list; none if not even its id can be read."""
    if not isinstance(item, dict):
        return None
    job_id = identifier(item)
    if job_id is None:
        return None
    return Listed(
        upstream_job_id=job_id,
        model=_model(item),
        created_at=_moment(_first(item, _CREATED)),
        prompt=_prompt(item),
        cost_micros=reading.micros(_first(item, _COSTS)),
    )


def identifier(item: Mapping[str, Any]) -> str | None:
    """The id of a job in any of its spellings; none if there is none that could be one."""
    job_id = _first(item, _IDS)
    if isinstance(job_id, str) and 0 < len(job_id) <= _MAX_ID and job_id.isprintable():
        return job_id
    return None


def _items(decoded: object) -> list[Any] | None:
    if isinstance(decoded, list):
        return decoded
    if not isinstance(decoded, dict):
        return None
    for name in _PLACES:
        place = decoded.get(name)
        if isinstance(place, list):
            return place
        if name == "data" and isinstance(place, dict):
            return _items(place)
    return None


def _first(item: Mapping[str, Any], names: tuple[str, ...]) -> object:
    return next((item[name] for name in names if item.get(name) is not None), None)


def _model(item: Mapping[str, Any]) -> str | None:
    shown = _first(item, _MODELS)
    if isinstance(shown, dict):
        shown = _first(shown, ("apiId", "id"))
    return shown if isinstance(shown, str) and shown else None


def _prompt(item: Mapping[str, Any]) -> str | None:
    for place in (item, *(item.get(name) for name in _INPUTS)):
        if isinstance(place, dict) and isinstance(place.get("prompt"), str):
            return str(place["prompt"])
    return None


def _moment(value: object) -> datetime | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return reading.moment(value)
    try:
        seconds = float(value)
        return datetime.fromtimestamp(seconds / 1000 if abs(seconds) >= _MILLISECONDS_FROM else seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _onward(body: Mapping[str, Any]) -> tuple[Query | None, bool]:
    """How to ask for the next page, and whether the list says that there is none."""
    for place in _paging(body):
        named = [name for name in _CURSORS if name in place]
        cursors = (_cursor(place[name]) for name in named)
        if cursor := next((cursor for cursor in cursors if cursor is not None), None):
            return cursor, False
        number, pages, more = _whole(place.get("page")), _whole(_first(place, _PAGES)), _first(place, _MORE)
        following = None if number is None else (("page", str(number + 1)),)
        if number is not None and pages is not None:
            return (following, False) if number < pages else (None, True)
        if more is True:
            return following, False
        if more is False or named:
            return None, True
    return None, False


def _paging(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield body
    for name in (*_PAGING, "data"):
        if isinstance(body.get(name), dict):
            yield body[name]


def _cursor(value: object) -> Query | None:
    """A cursor as it is, or the query of an address; of the address itself nothing is used (pixeldojo.md 2.13)."""
    if _whole(value) is not None:
        return (("cursor", str(value)),)
    if not isinstance(value, str) or not value or len(value) > _MAX_QUERY:
        return None
    if value.startswith(("http://", "https://", "/", "?")):
        try:
            query = tuple(parse_qsl(urlsplit(value).query))
        except ValueError:
            return None
        return query or None
    return (("cursor", value),)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
