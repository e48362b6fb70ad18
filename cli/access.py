"""Which gateway a caller's command asks, and with which key. Sends nothing.

A key is never taken from the command line, where every process of the machine could read it; and the key that
``torii up`` keeps for its own gateway goes to no other.
"""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cli import gateways, house_files
from cli.house_files import HouseFiles
from gateway import errors
from gateway.settings import shapes, sources, values

KEY: Final = "TORII_API_KEY"
URL: Final = "TORII_URL"
ADMIN: Final = "TORII_ADMIN_TOKEN"
STORES: Final = "TORII_SECRET_KEY"

_NAMES: Final = (KEY, URL, ADMIN, STORES, "TORII_PUBLIC_URL", "TORII_HOST", "TORII_PORT")
_SECRETS: Final = frozenset({KEY, ADMIN, STORES})
_HOST, _PORT = "127.0.0.1", "8700"
#: Where ``torii up`` keeps its first team's key.
_KEPT: Final = "FIRST_TEAM_KEY"


@dataclass(frozen=True)
class Access:
    """A gateway's base URL and a key for it."""

    url: str
    key: str = field(repr=False)


def found(url: str | None, key_file: Path | None) -> Access:
    """Where to ask and with what; ``SettingError`` where there is no key for it."""
    given = _given()
    named = url or given.get(URL)
    if key_file is not None:
        return Access(address(url), _key(str(key_file), _content(key_file)))
    if KEY in given:
        return Access(address(url), _key(KEY, given[KEY]))
    kept = {} if named is not None else HouseFiles().read()
    if _KEPT in kept:
        return Access(address(url), kept[_KEPT])
    raise errors.SettingError(
        f"{KEY}: set it to a team's key, name a file with one by --key-file, or name a team by --team", param=KEY
    )


def instead(url: str | None, token_file: Path | None, key_file: Path | None) -> Access | None:
    """A caller's way for a command that is an operator's too: none unless a key was meant, or nothing else is there."""
    if key_file is not None:
        return found(url, key_file)
    given = _given()
    if KEY not in given or token_file is not None:
        return None
    return None if (STORES if url is None else ADMIN) in given else found(url, None)


def administered(url: str | None) -> str | None:
    """The gateway to administer over HTTP: the option's, or the environment's where no stores are known; else none."""
    given = _given()
    named = url or (None if STORES in given else given.get(URL))
    return None if named is None else address(named)


def options(url: str | None, token_file: Path | None, key_file: Path | None) -> str:
    """The options by which another command finds the same gateway, as they are typed."""
    given = {"--url": url, "--token-file": token_file, "--key-file": key_file}
    return "".join(f" {name} {shlex.quote(str(value))}" for name, value in given.items() if value is not None)


def address(url: str | None) -> str:
    """The gateway's base URL: the option's, the environment's, or that of the gateway of this directory."""
    if url is not None:
        return gateways.address("--url", url)
    given = _given()
    for name in (URL, "TORII_PUBLIC_URL"):
        if name in given:
            return gateways.address(name, given[name])
    host, port = given.get("TORII_HOST", _HOST), given.get("TORII_PORT", _PORT)
    return gateways.address("TORII_HOST", f"http://{shapes.bracketed(host)}:{port}")


def _given() -> Mapping[str, str]:
    environ = house_files.environment(os.environ)
    texts, problems = sources.gather(_NAMES, _SECRETS, environ, sources.dotenv_file(values.DOTENV))
    for name, problem in problems.items():
        raise errors.SettingError(f"{name} {problem}", param=name)
    return texts


def _content(file: Path) -> str:
    try:
        return file.read_text().strip()
    except UnicodeDecodeError:
        raise errors.SettingError(f"--key-file: {file} is no text", param="key-file") from None


def _key(source: str, text: str) -> str:
    key = text.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise errors.SettingError(f"{source}: that is no key", param=source)
    return key
