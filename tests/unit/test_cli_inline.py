"""Pictures in the terminal: which terminals are sure to show them, and what they are sent."""

import base64
import io
import re

import pytest
from PIL import Image

from cli import inline
from cli.inline import Protocol


def png(side: int) -> bytes:
    """A picture of that side."""
    made = io.BytesIO()
    Image.effect_noise((side, side), 90).save(made, "PNG")
    return made.getvalue()


@pytest.mark.parametrize(
    ("environ", "spoken"),
    [
        ({}, None),
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "dumb", "TERM_PROGRAM": "iTerm.app"}, None),
        ({"TERM": "xterm-kitty"}, Protocol.KITTY),
        ({"TERM": "xterm-ghostty"}, Protocol.KITTY),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux-0/default,1,0"}, None),  # noqa: S108  a text, no file
        ({"TERM": "screen.xterm-256color", "LC_TERMINAL": "iTerm2"}, None),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, Protocol.ITERM),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, Protocol.ITERM),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, Protocol.ITERM),
        ({"TERM": "xterm-256color", "KONSOLE_VERSION": "230800"}, Protocol.KITTY),
        ({"TERM": "xterm-256color", "KONSOLE_VERSION": "200400"}, None),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "vscode"}, None),
    ],
)
def test_terminals(environ: dict[str, str], spoken: Protocol | None) -> None:
    """Only a terminal that surely shows pictures is sent one, and no multiplexer is."""
    assert inline.spoken(environ) is spoken


def test_kitty() -> None:
    """The terminal kitty gets a small PNG in pieces of at most 4096 characters, and is asked to answer nothing."""
    drawn = inline.drawn(png(900), Protocol.KITTY)
    pieces = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", drawn)
    assert pieces[0][0] == "a=T,f=100,q=2,c=40,m=1"
    assert {head for head, _ in pieces[1:-1]} == {"m=1"}
    assert pieces[-1][0] == "m=0"
    assert max(len(text) for _, text in pieces) == 4096
    with Image.open(io.BytesIO(base64.b64decode("".join(text for _, text in pieces)))) as found:
        assert (found.format, found.size) == ("PNG", (640, 640))
    assert "".join(f"\x1b_G{head};{text}\x1b\\" for head, text in pieces) + "\n" == drawn


def test_iterm() -> None:
    """iTerm2 gets the same as a file of a told size."""
    drawn = inline.drawn(png(20), Protocol.ITERM)
    found = re.fullmatch(r"\x1b\]1337;File=size=(\d+);width=40;preserveAspectRatio=1;inline=1:([^\a]*)\a\n", drawn)
    assert found
    assert len(base64.b64decode(found[2])) == int(found[1])
