"""What the admin surface is made of: deeds, each with its place over HTTP and the one function that carries it out.

The front door serves them, and the ``torii`` command carries out the same functions straight on the stores. Knows
neither a web framework nor a deed.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

import msgspec
from redis.asyncio import Redis

from gateway import errors
from gateway.clock import Clock
from gateway.errors import ToriiError
from gateway.images.catalogue import Catalogue
from gateway.settings.keyring import Keyring
from gateway.settings.values import Settings
from gateway.storage import pages
from gateway.storage.database import Database
from gateway.storage.pages import Slice
from gateway.tenancy import authority
from gateway.tenancy.authority import Authority
from service import wire
from service.described import Answer, Operation, Parameter

PREFIX: Final = "/admin/v1"
_TEXT_MAX: Final = 500


Word = TypeVar("Word", bound=StrEnum)
Body = TypeVar("Body", bound="Wanted")


class Wanted(wire.Shape, forbid_unknown_fields=True):
    """The body of a request: its members, and no others."""


@dataclass(frozen=True)
class Office:
    """What deeds are carried out with."""

    settings: Settings
    keys: Keyring
    database: Database
    catalogue: Catalogue
    clock: Clock
    #: None where a command was told of no Redis.
    redis: Redis | None


@dataclass(frozen=True)
class Csv:
    """An answer as comma-separated values."""

    text: str


@dataclass(frozen=True)
class Ask:
    """One request for a deed, wherever it came from."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Mapping[str, object]

    def named(self, name: str) -> str:
        """A part of the path; ``NotFound`` for a text that can name nothing."""
        text = self.path[name]
        if not text.isprintable() or len(text) > _TEXT_MAX:
            raise errors.NotFound(param=name)
        return text

    def text(self, name: str) -> str | None:
        """A text of the query."""
        text = self.query.get(name)
        if text is not None and (not text.isprintable() or not 1 <= len(text) <= _TEXT_MAX):
            raise errors.InvalidParameter(f"{name}: use 1 to {_TEXT_MAX} characters that can be printed", param=name)
        return text

    def word(self, name: str, words: type[Word]) -> Word | None:
        """One of the words that the query may say."""
        text = self.text(name)
        try:
            return None if text is None else words(text)
        except ValueError:
            raise errors.InvalidParameter(f"{name}: use one of {', '.join(words)}", param=name) from None

    def moment(self, name: str) -> datetime | None:
        """A moment of the query, in RFC 3339."""
        text = self.text(name)
        return None if text is None else moment(name, text)

    def day(self, name: str) -> str | None:
        """A day of the query, such as ``2026-11-23``."""
        text = self.text(name)
        try:
            return None if text is None else date.fromisoformat(text).isoformat()
        except ValueError:
            raise errors.InvalidParameter(f"{name}: use a day such as 2026-11-23", param=name) from None

    @property
    def slice(self) -> Slice:
        """Which part of a list."""
        text = self.text("limit")
        limit = pages.LIMIT if text is None else int(text) if text.isascii() and text.isdigit() else 0
        if not 1 <= limit <= pages.LIMIT_MAX:
            raise errors.InvalidParameter(f"limit: use 1 to {pages.LIMIT_MAX}", param="limit")
        return Slice(limit, self.text("cursor"))

    def read(self, shape: type[Body]) -> Body:
        """The body in its shape; an ``InvalidRequest`` names the member that is wrong."""
        try:
            return msgspec.convert(self.body, shape)
        except msgspec.ValidationError as error:
            raise _mistake(str(error)) from None


Act = Callable[[Office, Authority, Ask], Awaitable[Mapping[str, Any] | Csv]]


@dataclass(frozen=True)
class Deed:
    """One operation of the admin surface."""

    operation: Operation
    act: Act
    #: A key with ``manage`` may ask for it too, of its own team.
    managed: bool = False

    @property
    def status(self) -> int:
        """The status of its good answer."""
        return next(iter(self.operation.answers))

    async def carry_out(self, office: Office, given: Authority, ask: Ask) -> Mapping[str, Any] | Csv:
        """Its answer. Raises ``MissingScope`` or whatever the house has against it."""
        if not self.managed:
            authority.require_everywhere(given)
        known = {parameter.name for parameter in self.operation.parameters}
        for name in ask.query:
            if name not in known:
                raise errors.UnknownParameter(f"there is no query parameter {name[:40]!r} here", param=name[:40])
        return await self.act(office, given, ask)


LIMIT: Final = Parameter(
    "limit", "query", "At most so many.", {"type": "integer", "minimum": 1, "maximum": 200}, required=False
)
CURSOR: Final = Parameter(
    "cursor",
    "query",
    "The `nextCursor` of the page before.",
    {"type": "string", "minLength": 1, "maxLength": _TEXT_MAX},
    required=False,
)
PAGE: Final = (LIMIT, CURSOR)


def place(name: str, described: str, **schema: object) -> Parameter:
    """A parameter in the path."""
    return Parameter(name, "path", described, {"type": "string", **schema})


def choice(name: str, described: str, **schema: object) -> Parameter:
    """A parameter of the query."""
    bounds = {} if schema else {"minLength": 1, "maxLength": _TEXT_MAX}
    return Parameter(name, "query", described, {"type": "string", **bounds, **schema}, required=False)


def operation(
    method: str,
    path: str,
    name: str,
    summary: str,
    answers: tuple[str, type[wire.Shape]],
    *,
    description: str = "",
    parameters: tuple[Parameter, ...] = (),
    body: type[wire.Shape] | None = None,
    raises: tuple[type[ToriiError], ...] = (),
    status: int = 200,
    media_types: tuple[str, ...] = ("application/json",),
) -> Operation:
    """How an operation of the admin surface is described: what is the same for all is said here."""
    same: tuple[type[ToriiError], ...] = (errors.NotAuthenticated, errors.MissingScope, errors.StoreUnavailable)
    if body is not None:
        same += (errors.MalformedBody, errors.MissingParameter, errors.BodyTooLarge, errors.UnsupportedMediaType)
    if body is not None or any(parameter.place == "query" for parameter in parameters):
        same += (errors.InvalidParameter, errors.UnknownParameter)
    told, shape = answers
    return Operation(
        id=f"admin{name}",
        method=method,
        path=PREFIX + path,
        tag="Admin",
        summary=summary,
        description=description,
        parameters=parameters,
        answers={status: Answer(told, shape, media_types)},
        raises=tuple(dict.fromkeys((*same, *raises))),
        security="adminToken",
        body=body,
    )


def moment(name: str, text: str) -> datetime:
    """The moment of that text, in RFC 3339; ``InvalidParameter`` names the field."""
    try:
        at = datetime.fromisoformat(text)
        # At either end of the calendar there are times that UTC cannot spell: an OverflowError.
        return _zoned(at).astimezone(UTC)
    except (ValueError, OverflowError):
        raise errors.InvalidParameter(f"{name}: use a moment such as 2026-11-23T12:00:00Z", param=name) from None


def _zoned(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("a time without a zone")
    return at


def _mistake(said: str) -> errors.InvalidRequest:
    """The error of a body that is not in its shape, in the words of the reader that found it."""
    quoted = said.split("`")
    if said.startswith("Object contains unknown field"):
        return errors.UnknownParameter(f"there is no member {quoted[1][:60]!r} here", param=quoted[1][:60])
    if said.startswith("Object missing required field"):
        return errors.MissingParameter(f"{quoted[1]} is missing", param=quoted[1])
    what, _, where = said.partition(" - at `")
    field = where.removesuffix("`").removeprefix("$").removeprefix(".")
    return errors.InvalidParameter(f"{field}: {what[:1].lower()}{what[1:]}", param=field or None)
