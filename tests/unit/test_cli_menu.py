"""The list of commands: complete, quick, and of one mind with the commands themselves."""

import importlib
import subprocess
import sys

import pytest
import typer
from typer.main import get_command

from cli import menu


@pytest.mark.parametrize("name", menu.COMMANDS)
def test_each_command_is_there(name: str) -> None:
    """Each name of the list leads to a module with a command that takes --json, or whose commands do."""
    module, purpose = menu.COMMANDS[name]
    app = importlib.import_module(module).app
    assert isinstance(app, typer.Typer)
    assert purpose.endswith(".")
    command = get_command(app)
    for each in getattr(command, "commands", {name: command}).values():
        assert "--json" in [option for parameter in each.params for option in parameter.opts]


def test_help_imports_no_heavy_room() -> None:
    """The list itself needs no database driver, no web framework and no queue."""
    code = "import sys, cli.main as m; m.run(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Start here: torii up" in done.stdout
    assert not {"sqlalchemy", "litestar", "arq", "obstore", "httpx", "pydantic"} & set(done.stderr.split())
