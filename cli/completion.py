"""``torii completion``: prints what makes a shell complete torii's commands, options and values. Installs nothing.

The shell then asks torii itself, by an environment variable; the answer comes from the command tree, and no store or
gateway is asked.
"""

import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final

import typer
from typer import _completion_classes, _completion_shared  # typer has no public way to print a script

from cli.screen import AsJson

app = typer.Typer(add_completion=False)

_PROGRAM: Final = "torii"
#: By this variable a shell asks.
VARIABLE: Final = "_TORII_COMPLETE"


class Shell(StrEnum):
    """The shells that are known."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@app.command()
def completion(
    shell: Annotated[Shell, typer.Argument(help="Which shell it is for.")],
    as_json: AsJson = False,
) -> None:
    """Print the lines that make a shell complete torii's commands, options and values.

    For bash, in ~/.bashrc: eval "$(torii completion bash)". For zsh, in ~/.zshrc after compinit:
    eval "$(torii completion zsh)". For fish: torii completion fish > ~/.config/fish/completions/torii.fish
    """
    del as_json
    script = _completion_shared.get_completion_script(prog_name=_PROGRAM, complete_var=VARIABLE, shell=shell)
    sys.stdout.write(script + "\n")


def prepare(environ: Mapping[str, str]) -> None:
    """Make the framework answer a shell that asks; do nothing for everybody else."""
    if VARIABLE in environ:
        _completion_classes.completion_init()
