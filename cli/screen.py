"""What commands print: tables and lines for people, JSON for programs. Decides nothing about what is shown.

Colours appear on a terminal alone, and never where ``NO_COLOR`` is set. Text that others wrote cannot steer it.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

#: The option that every command takes.
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

#: Without a terminal nothing is cut to a width: the reader is `grep`.
_WIDE = 400


def console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """The terminal; no text is read as markup. A quiet one says nothing."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDE
    return Console(stderr=stderr, quiet=quiet, markup=False, emoji=False, highlight=False, width=width)


def plain(value: object) -> str:
    """The text of a value, blank for none; what a terminal would take for orders is made visible."""
    text = "" if value is None else str(value)
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def encode(value: object) -> str:
    """JSON on one line; credits stay plain numbers."""
    return msgspec.json.Encoder(decimal_format="number").encode(value).decode()


def write_json(value: object) -> None:
    """JSON on stdout, indented."""
    sys.stdout.write(msgspec.json.format(encode(value), indent=2) + "\n")


def write_line(value: object) -> None:
    """JSON on stdout, on one line of its own, at once."""
    sys.stdout.write(encode(value) + "\n")
    sys.stdout.flush()


def show(value: object, said: str, *, as_json: bool) -> None:
    """JSON for programs, or the sentence for people."""
    if as_json:
        write_json(value)
    else:
        console().print(plain(said), soft_wrap=True)


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, nothing: str) -> None:
    """The rows as a table: ``columns`` gives each member's heading, ``nothing`` what is said when there are none."""
    if not rows:
        console().print(nothing)
        return
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in columns.values():
        drawn.add_column(heading, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(plain(row.get(member))) for member in columns))
    console().print(drawn)


def facts(pairs: Mapping[str, Any]) -> None:
    """What is known of one thing, a line each."""
    drawn = Table(box=None, show_header=False, pad_edge=False)
    drawn.add_column(style="bold", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in pairs.items():
        drawn.add_row(name, Text(plain(value)))
    console().print(drawn)
