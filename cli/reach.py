"""How a command reaches the admin surface: straight on the stores, or over HTTP with ``--url``. Knows no deed.

Each command is written once: it names a deed of the surface and reads the answer, which is the same both ways.
"""

import asyncio
import json
import os
import pwd
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Protocol, TypeVar

import typer
from redis.asyncio import Redis

from cli import access, late, screen, stores
from gateway.images import catalogue
from gateway.settings import keyring
from gateway.settings.values import Settings
from gateway.storage import pages, valkey
from gateway.tenancy.authority import Authority
from service.admin_deeds import Ask, Csv, Deed, Office

URL_HELP: Final = (
    "Ask the gateway at this address instead of the stores. \\[default: TORII_URL, where no stores are set]"
)
TOKEN_FILE_HELP: Final = "With --url: a file with the admin token. \\[default: TORII_ADMIN_TOKEN]"  # noqa: S105  a sentence

Url = Annotated[str | None, typer.Option("--url", help=URL_HELP, metavar="URL")]
TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", help=TOKEN_FILE_HELP),
]

T = TypeVar("T")


class Reach(Protocol):
    """A way to the admin surface."""

    async def ask(
        self,
        deed: Deed,
        path: Mapping[str, str] | None = None,
        *,
        query: Mapping[str, str | None] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> Any:  # noqa: ANN401  JSON, or the text of a sheet
        """The answer of a deed; credits are exact. Raises what the house, or the gateway, has against it."""


def carry_out(url: str | None, token_file: Path | None, work: Callable[[Reach], Awaitable[T]]) -> T:
    """Do the work that a command is, where its options say."""

    async def carried_out() -> T:
        async with opened(url, token_file) as reach:
            return await work(reach)

    return asyncio.run(carried_out())


def ask(
    url: str | None,
    token_file: Path | None,
    deed: Deed,
    path: Mapping[str, str] | None = None,
    *,
    query: Mapping[str, str | None] | None = None,
    body: Mapping[str, object] | None = None,
) -> Any:  # noqa: ANN401  JSON, or the text of a sheet
    """The answer of one deed: all that most commands need."""
    return carry_out(url, token_file, lambda reach: reach.ask(deed, path, query=query, body=body))


async def listed(
    reach: Reach,
    deed: Deed,
    plural: str,
    path: Mapping[str, str] | None = None,
    *,
    query: Mapping[str, str | None] | None = None,
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """The rows of a list over as many pages as it takes, or its first ``limit``."""
    rows: list[dict[str, Any]] = []
    cursor = None
    while True:
        wanted = pages.LIMIT_MAX if limit is None else min(limit - len(rows), pages.LIMIT_MAX)
        page = await reach.ask(deed, path, query={**(query or {}), "limit": str(wanted), "cursor": cursor})
        rows += page[plural]
        cursor = page["nextCursor"]
        if cursor is None or (limit is not None and len(rows) >= limit):
            return rows


def read(text: str | bytes) -> Any:  # noqa: ANN401  whatever was sent
    """JSON with its numbers as they are written."""
    return json.loads(text, parse_float=Decimal)


@asynccontextmanager
async def opened(url: str | None, token_file: Path | None) -> AsyncIterator[Reach]:
    """The way that a command's options say, or the environment where no stores are known."""
    url = access.administered(url)
    if url is not None:
        async with late.module("cli.remote").opened(url, token_file) as remote:
            yield remote
        return
    async with (
        stores.opened() as house,
        _redis(house.settings) as redis,
    ):
        office = Office(
            settings=house.settings,
            keys=keyring.derive(house.settings.secret_key),
            database=house.database,
            catalogue=catalogue.load(house.settings.catalogue),
            clock=house.clock,
            redis=redis,
        )
        yield _Local(office, Authority(f"cli:{user()}"))


@dataclass(frozen=True)
class _Local:
    """The way through the stores."""

    office: Office
    authority: Authority

    async def ask(
        self,
        deed: Deed,
        path: Mapping[str, str] | None = None,
        *,
        query: Mapping[str, str | None] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> Any:  # noqa: ANN401  see Reach
        given = {name: text for name, text in (query or {}).items() if text is not None}
        # As JSON would have brought it, so that both ways are judged alike.
        sent = json.loads(screen.encode(dict(body or {})))
        told = await deed.carry_out(self.office, self.authority, Ask(path or {}, given, sent))
        return told.text if isinstance(told, Csv) else read(screen.encode(told))


@asynccontextmanager
async def _redis(settings: Settings) -> AsyncIterator[Redis | None]:
    if settings.redis_url is None:
        yield None
        return
    redis = valkey.open(settings.reveal("redis_url"))
    try:
        yield redis
    finally:
        await redis.aclose()


def user() -> str:
    """Who runs the command: the actor that the audit log names."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())  # a container without an entry for its user
