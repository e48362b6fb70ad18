"""`python -m tests.model`: walk through every state of the models, and say how many there are."""

import sys
import time

from tests.model import flight, life, walks


def main() -> int:
    """Walk; a broken law ends it with its trace."""
    for name, rules in walks.WALKS.items():
        began_s = time.perf_counter()
        found, ends = walks.of(rules)
        _say(f"life, {name}", found.states, found.transitions, ends, time.perf_counter() - began_s)
    began_s = time.perf_counter()
    joined, ends = flight.explored()
    _say("flight (planned)", joined.states, joined.transitions, ends, time.perf_counter() - began_s)
    sys.stdout.write(f"steps of the house: {len(walks.named(life.PLANNED))} built, {len(life.PLANNED)} planned\n")
    return 0


def _say(name: str, states: int, transitions: int, ends: int, took_s: float) -> None:
    sys.stdout.write(f"{name}: {states} states, {transitions} transitions, {ends} ends, {took_s:.1f} s\n")


if __name__ == "__main__":
    raise SystemExit(main())
