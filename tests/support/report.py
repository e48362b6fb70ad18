"""Keeps account of which real servers a test run used and which it could not start. Starts none itself."""

from collections.abc import Iterable
from dataclasses import dataclass, field


class UnavailableError(Exception):
    """A real server cannot be started on this machine; the message says what is missing."""


@dataclass
class Report:
    """What became of each real server in this run."""

    required: frozenset[str]
    ran: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def lines(self, known: Iterable[str]) -> list[str]:
        """Return a line for each known server: its version, why there was none, or that no test asked."""
        return [self._line(name) for name in known]

    def _line(self, name: str) -> str:
        if name in self.ran:
            return f"{name:<10} RAN          {self.ran[name]}"
        if name in self.missing:
            return f"{name:<10} COULD NOT    {self.missing[name]}: its tests were not run"
        return f"{name:<10} not asked for by the tests of this run"


def required(knob: str) -> frozenset[str]:
    """Return the names in a comma list, as `TORII_TEST_REQUIRE` has them."""
    return frozenset(name.strip() for name in knob.split(",") if name.strip())
