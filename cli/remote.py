"""The way to the admin surface over HTTP, for ``--url``. Loaded with that option alone; retries nothing."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from cli import gateways, reach, screen, unreachable
from gateway import errors
from gateway.settings import sources
from service.admin_deeds import Deed

_TOKEN = "TORII_ADMIN_TOKEN"  # noqa: S105  the variable's name
_TIMEOUT_S = 60.0
#: Another try may find another answer.
_PASSING = frozenset({502, 503, 504})


class RemoteRefusal(errors.ToriiError):
    """What the gateway has against it, in its own words."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.code = code


@asynccontextmanager
async def opened(url: str, token_file: Path | None) -> AsyncIterator["Remote"]:
    """The way to the gateway at that address; ``SettingError`` without a token for it."""
    headers = {"Authorization": f"Bearer {_token(token_file)}"}
    base = gateways.address("--url", url)
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=_TIMEOUT_S) as client:
        yield Remote(client)


@dataclass(frozen=True)
class Remote:
    """The way over HTTP."""

    client: httpx.AsyncClient

    async def ask(
        self,
        deed: Deed,
        path: Mapping[str, str] | None = None,
        *,
        query: Mapping[str, str | None] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> Any:  # noqa: ANN401  see Reach
        """The answer of a deed. Raises what the gateway has against it, or that it cannot be reached."""
        named = {name: quote(text, safe="") for name, text in (path or {}).items()}
        content = None if deed.operation.body is None else screen.encode(dict(body or {})).encode()
        try:
            answer = await self.client.request(
                deed.operation.method.upper(),
                deed.operation.path.format_map(named),
                params={name: text for name, text in (query or {}).items() if text is not None},
                content=content,
                headers=None if content is None else {"Content-Type": "application/json"},
            )
        except (httpx.TransportError, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise errors.Unavailable(f"--url: the gateway cannot be reached: {unreachable.why(error)}") from error
        if not answer.is_success:
            raise _refusal(answer)
        if answer.headers.get("content-type", "").startswith("text/csv"):
            return answer.text
        try:
            return reach.read(answer.content)
        except ValueError:
            raise RemoteRefusal("not_torii", "--url: what answers there is no Torii") from None


def _refusal(answer: httpx.Response) -> errors.ToriiError:
    try:
        error = answer.json()["error"]
        code, message, param = str(error["code"]), str(error["message"]), error["param"]
    except (ValueError, KeyError, TypeError):
        code, param = "not_torii", None
        message = f"--url: what answers there is no Torii (status {answer.status_code})"
    if answer.status_code in _PASSING:
        away = errors.Unavailable(message, param=param)
        away.code = code
        return away
    return RemoteRefusal(code, message, param)


def _token(file: Path | None) -> str:
    """The token: never one that ``torii up`` keeps for its own gateway, since this may be another's."""
    if file is not None:
        text = file.read_text().strip()
    else:
        found, problems = sources.gather([_TOKEN], frozenset({_TOKEN}), os.environ, {})
        if problems:
            raise errors.SettingError(f"{_TOKEN} {problems[_TOKEN]}", param=_TOKEN)
        text = found.get(_TOKEN, "")
    token = text.partition(",")[0].strip()
    if not token or not token.isascii() or not token.isprintable():
        raise errors.SettingError(
            f"{_TOKEN}: set it, or name a file with it by --token-file; a key with `admin` or `manage` will do too",
            param=_TOKEN,
        )
    return token
