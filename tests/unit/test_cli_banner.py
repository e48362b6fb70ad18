"""What a newcomer reads after `torii up`: every line that is to be pasted stays in one piece."""

import io

import pytest
from rich.console import Console

from cli.banner import Welcome

KEY = "torii_0123456789ab_" + "k" * 49
WELCOME = Welcome("http://127.0.0.1:8700", "t" * 43, "default", KEY, emulated_s=2.0)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_nothing_to_be_copied_is_broken(width: int) -> None:
    """However narrow the terminal, key and lines are whole, and the lines have nothing around them."""
    out = io.StringIO()
    WELCOME.draw(Console(file=out, width=width, force_terminal=True, color_system=None))
    lines = out.getvalue().splitlines()
    assert WELCOME.picture_line() in lines
    assert WELCOME.order_line() in lines
    assert any(KEY in line and "key of team default" in line for line in lines)


def test_members() -> None:
    """A program gets the same, and is told whether pictures cost anything."""
    assert WELCOME.members() == {
        "url": "http://127.0.0.1:8700",
        "docs": "http://127.0.0.1:8700/schema",
        "adminToken": "t" * 43,
        "team": "default",
        "key": KEY,
        "emulated": True,
    }
