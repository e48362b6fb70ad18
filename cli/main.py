"""The ``torii`` command's entry point: runs one command and turns a mistake of its user's into one line.

Never shows a traceback for such a mistake; one for a bug of ours is left to Python.
"""

import os
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated

import typer
from typer.main import get_command

from cli import completion, menu, mistakes
from cli.failures import Failure
from gateway import errors

app = typer.Typer(
    cls=menu.Menu,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"torii {metadata.version('torii')}\n")
        raise typer.Exit


@app.callback()
def torii(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Torii, the gateway in front of PixelDojo.

    Start here: torii up
    """


def run(arguments: Sequence[str]) -> int:
    """Carry out one command line; returns the exit status."""
    as_json = "--json" in arguments
    completion.prepare(os.environ)
    try:
        status = get_command(app)(args=list(arguments), prog_name="torii", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has left, such as `head`; Python's own flush at exit must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (errors.ToriiError, Failure, typer.TyperException, OSError) as error:
        return mistakes.report(error, as_json=as_json)
    except KeyboardInterrupt:
        return 130
    return status if isinstance(status, int) else 0


def main() -> None:
    """Run the process's own command line, and end with its status."""
    sys.exit(run(sys.argv[1:]))
