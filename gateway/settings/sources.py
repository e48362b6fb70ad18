"""Where the text of a setting comes from: the environment, ``.env``, and the files that ``…_FILE`` names.

Judges no value and keeps nothing. Names are exact: ``torii_port`` is not ``TORII_PORT``. An empty variable counts as
not set, as compose files pass one for each variable that is left out.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import dotenv

from gateway import errors

FILE_SUFFIX = "_FILE"


class Gathered(dict[str, str]):
    """The texts found, by variable. Shows names alone, since some of the texts are secrets."""

    def __repr__(self) -> str:
        return f"Gathered({', '.join(self)})"


def dotenv_file(path: Path | None) -> dict[str, str]:
    """The variables of a ``.env`` file; none when there is no such file.

    ``$`` means nothing in it: a password may contain one. Raises ``SettingError`` when the file cannot be read.
    """
    if path is None:
        return {}
    try:
        found = dotenv.dotenv_values(path, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise errors.SettingError(f"{path} cannot be read: {_why(error)}", param=str(path)) from None
    return {name: text for name, text in found.items() if text}


def gather(
    names: Iterable[str], secrets: frozenset[str], environ: Mapping[str, str], dotenv: Mapping[str, str]
) -> tuple[Gathered, dict[str, str]]:
    """The texts of ``names`` that are set, and by variable what is wrong with those that could not be had.

    The environment goes before ``.env``, whether it names the text or its file; each of ``secrets`` may be in a file.
    """
    found = Gathered()
    problems: dict[str, str] = {}
    for name in names:
        for source in (environ, dotenv):
            try:
                text = _one(name, source, in_file=name in secrets)
            except ValueError as error:
                problems[name] = str(error)
                break
            if text is not None:
                found[name] = text
                break
    return found, problems


def _one(name: str, source: Mapping[str, str], *, in_file: bool) -> str | None:
    text = source.get(name) or None
    path = (source.get(name + FILE_SUFFIX) or None) if in_file else None
    if path is None:
        return text
    if text is not None:
        raise ValueError(f"and {name}{FILE_SUFFIX} are both set; keep one")
    return _content(name, Path(path))


def _content(name: str, path: Path) -> str:
    try:
        text = path.read_bytes().decode()
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot be read from the file that {name}{FILE_SUFFIX} names: {_why(error)}") from None
    # One newline is the editor's or `echo`'s; any further one is the operator's, and left to the shape to judge.
    text = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
    if not text:
        raise ValueError(f"is empty in the file that {name}{FILE_SUFFIX} names")
    return text


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else "not a usable path"
