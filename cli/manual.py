"""``python -m cli.manual FILE``: writes the part of ``docs/cli.md`` that the command tree itself can tell.

What stands above the mark in the file is written by hand and stays. Loads every command; runs none.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import typer
from typer.main import get_command

from cli import late, menu, reach

MARK: Final = "<!-- What follows is written by `make manual`. -->"
#: In every table; told once above them all.
_EVERYWHERE: Final = frozenset({"--help", "--json"})
#: The options that say where a command works, by their help, which is the same everywhere; told once too.
_WAY: Final = frozenset({reach.URL_HELP, reach.TOKEN_FILE_HELP})
#: What stands for a value, by what its type is called.
_PLACES: Final = MappingProxyType({"int": "N", "float": "N", "Path": "FILE"})


def renewed(text: str) -> str:
    """The file's text with its generated part written anew."""
    by_hand, mark, _ = text.partition(MARK)
    if not mark:
        raise ValueError(f"the file has no line {MARK}")
    return by_hand + MARK + "\n\n" + "\n".join(_reference())


def _reference() -> Iterator[str]:
    yield "## Commands"
    yield ""
    for name, (module, purpose) in menu.COMMANDS.items():
        command = get_command(late.module(module).app)
        inner = getattr(command, "commands", None)
        if inner is None:
            yield from _one(f"torii {name}", command)
            continue
        yield f"### torii {name}"
        yield ""
        yield purpose
        yield ""
        for each, part in inner.items():
            yield from _one(f"torii {name} {each}", part, level=4)


def _one(path: str, command: Any, *, level: int = 3) -> Iterator[str]:  # noqa: ANN401  its class is private to typer
    context = typer.Context(command, info_name=path)
    parameters = [each for each in command.get_params(context) if not each.hidden]
    way = [each for each in parameters if each.help in _WAY]
    arguments = [each for each in parameters if each.param_type_name == "argument"]
    options = [
        each
        for each in parameters
        if each.param_type_name == "option" and each not in way and not _EVERYWHERE & set(each.opts)
    ]
    yield f"{'#' * level} {path}"
    yield ""
    yield f"`{' '.join([path, *(_name(each) for each in arguments), *(['[OPTIONS]'] if options or way else [])])}`"
    yield ""
    for paragraph in (command.help or "").split("\n\n"):
        yield _escaped(" ".join(paragraph.split()))
        yield ""
    if arguments or options:
        yield "| | | |"
        yield "|---|---|---|"
        for each in arguments:
            yield f"| `{_cell(_name(each))}` | | {_escaped(each.help or '')} |"
        for each in options:
            yield f"| {_flags(each)} | {_default(each)} | {_escaped(each.help or '')} |"
        yield ""
    if way:
        named = " and ".join(f"`{each.opts[0]}`" for each in way)
        yield f"Also {named}: see [where a command works](#where-a-command-works)."
        yield ""


def _name(argument: Any) -> str:  # noqa: ANN401  its class is private to typer
    name = str(argument.metavar or argument.name.upper())
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _flags(option: Any) -> str:  # noqa: ANN401  its class is private to typer
    value = "" if option.is_flag else f" {_value(option)}"
    words = [
        f"`{each}{_cell(value) if each.startswith('--') else ''}`" for each in (*option.opts, *option.secondary_opts)
    ]
    return ", ".join(words)


def _value(option: Any) -> str:  # noqa: ANN401  its class is private to typer
    choices = option.type_descriptor.choices
    if option.metavar:
        return str(option.metavar)
    if choices:
        return "|".join(str(each.value) for each in choices)
    kind = str(option.type_descriptor.annotation)
    return next((word for name, word in _PLACES.items() if name in kind), option.name.upper().replace("_", "-"))


def _default(option: Any) -> str:  # noqa: ANN401  its class is private to typer
    default = option.default
    if default is None or default in (False, (), []) or callable(default):
        return ""
    if default is True:
        return f"`{option.opts[0]}`" if option.secondary_opts else "yes"
    return f"`{getattr(default, 'value', default)}`"


def _escaped(text: str) -> str:
    """The help's text as Markdown shows it: brackets were escaped for the terminal's sake."""
    return re.sub(r"([|<>*])", r"\\\1", text.replace("\\[", "["))


def _cell(code: str) -> str:
    """Code in a table, where a bar would end the cell."""
    return code.replace("|", "\\|")


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(renewed(page.read_text()))
