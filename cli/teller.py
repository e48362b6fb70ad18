"""What ``torii up`` says while it runs: one line a part, a spinner while something starts, news when a part dies.

Decides nothing. Text from logs cannot steer the terminal.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager

from rich.console import Console
from rich.text import Text

from cli import screen

_NAME_WIDTH = 10
_STATE_WIDTH = 10
_ADDRESS_WIDTH = 34


class Teller:
    """Speaks to one terminal, or to whatever reads instead."""

    def __init__(self, out: Console) -> None:
        self.out = out
        # A terminal that cannot draw the sign gets a plain one.
        unicode = (out.encoding or "").lower().startswith("utf")
        self._good = "✔" if unicode else "*"

    def starting(self) -> AbstractContextManager[object]:
        """A spinner for as long as parts start."""
        return self.out.status("starting…")

    def part(self, name: str, state: str, address: str, took_s: float) -> None:
        """A part is there."""
        self._line(
            name, (f"{state:<{_STATE_WIDTH}}", "green"), f"{address:<{_ADDRESS_WIDTH}}", (f"{took_s:.1f} s", "dim")
        )

    def upstream(self, base: str, emulated_s: float | None) -> None:
        """Who makes the pictures, and whether that costs."""
        if emulated_s is None:
            said = f"REAL CREDITS WILL BE SPENT: PIXELDOJO_API_KEY is set ({base})"
            self._line("upstream", (said, "bold yellow"))
        else:
            said = f"stand-in: a picture takes about {emulated_s:.0f} s and costs nothing (no PIXELDOJO_API_KEY is set)"
            self._line("upstream", (said, "dim"))

    def _line(self, name: str, *words: str | tuple[str, str]) -> None:
        # In one piece: the spinner wipes out whatever stands on an unfinished line.
        named = (f"{name:<{_NAME_WIDTH}}", "bold")
        self.out.print(Text.assemble((f"{self._good} ", "green"), named, *words), soft_wrap=True)

    def news(self, name: str, what: str) -> None:
        """Something happened to a part."""
        self.out.print(f"{name} {screen.plain(what)}", style="yellow", soft_wrap=True)

    def say(self, text: str) -> None:
        """One line."""
        self.out.print(text)

    def log_line(self, name: str, line: str) -> None:
        """A line of a part's log."""
        self.out.print(f"{name:<{_NAME_WIDTH}}| {screen.plain(line)}", style="dim", soft_wrap=True)

    def last_lines(self, lines: Sequence[str]) -> None:
        """The end of the log of a part that did not come up."""
        for line in lines:
            self.out.print(f"  {screen.plain(line)}", style="dim", soft_wrap=True)
