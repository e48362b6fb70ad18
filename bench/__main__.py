"""``python -m bench [NAME …] [--json FILE] [--quick] [--scale X]``: measures, prints tables, compares with the goals.

Every figure comes from real processes that end with the measurement. What cannot be measured here is said, and the
exit status is 1.
"""

import argparse
import dataclasses
import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from bench import accept, coldstart, figures, flight, goals, hits, lag, machine, memory, peers, plan, reads, waiters
from bench.figures import Row
from bench.plan import Plan
from tests.support.report import UnavailableError

Measure = Callable[[Plan], Iterator[Row]]
MEASUREMENTS: Final[Mapping[str, Measure]] = MappingProxyType(
    {
        hits.NAME: hits.measure,
        accept.NAME: accept.measure,
        reads.NAME: reads.measure,
        coldstart.NAME: coldstart.measure,
        lag.NAME: lag.measure,
        waiters.NAME: waiters.measure,
        flight.NAME: flight.measure,
        memory.NAME: memory.measure,
        peers.NAME: peers.measure,
    }
)
#: What a run does that names nothing: some 20 minutes. The others take that long each, or a machine of their own.
USUAL: Final = (hits.NAME, accept.NAME, reads.NAME, peers.NAME, waiters.NAME, coldstart.NAME, lag.NAME)
#: What can go wrong with servers and processes: the rest is still measured.
_FAILURES: Final = (UnavailableError, AssertionError, RuntimeError, OSError, TimeoutError, LookupError)


def main(arguments: Sequence[str]) -> int:
    """Measure what was named, or the usual; the exit status."""
    said = asked(arguments)
    # Told to end, it ends what it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sizes = plan.QUICK if said.quick else plan.PUBLISHED
    if said.scale is not None:
        sizes = dataclasses.replace(sizes, lag_scale=said.scale)
    facts = machine.facts()
    print(_heading(facts), flush=True)
    names = list(dict.fromkeys(said.names or USUAL))
    rows: list[Row] = []
    failures: dict[str, str] = {}
    for name in names:
        measured: list[Row] = []
        try:
            for row in MEASUREMENTS[name](sizes):
                told = ", ".join(f"{name} {figures.spelled(value)}" for name, value in row.figures.items())
                print(f"… {row.bench}: {row.case}: {told}", file=sys.stderr, flush=True)
                measured.append(row)
        except _FAILURES as error:
            failures[name] = f"{type(error).__name__}: {error}"
        rows += measured
        print("\n" + (figures.table(measured) or f"{name}: nothing was measured"), flush=True)
        if name in failures:
            print(f"{name} broke off: {failures[name]}", flush=True)
    verdicts = goals.judged(rows, names)
    print("\n" + figures.table(goals.table(verdicts)), flush=True)
    if said.json is not None:
        document = {**_document(facts, sizes, rows, failures), "goals": [_verdict(each) for each in verdicts]}
        said.json.write_text(json.dumps(document, indent=2) + "\n")
    return 1 if failures else 0


def asked(arguments: Sequence[str]) -> argparse.Namespace:
    """What the command line asks for; ends the process with status 2 where it cannot be read."""
    return _parser().parse_args(arguments)


def _name(text: str) -> str:
    if text not in MEASUREMENTS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(MEASUREMENTS)}")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Run the published measurements.")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        # Not by choices: up to Python 3.11 those are held against no name at all, too.
        type=_name,
        help=f"of {', '.join(MEASUREMENTS)}; otherwise {', '.join(USUAL)}",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file too")
    parser.add_argument("--quick", action="store_true", help="short runs, for a look at the order of magnitude")
    parser.add_argument("--scale", type=float, metavar="X", help="of the durations in lag; 1 is real time")
    return parser


def _heading(facts: Mapping[str, Any]) -> str:
    machine_ = facts["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return (
        f"{facts['date']}  {machine_['cpu']}, {machine_['cores']} cores, {machine_['memoryGiB']} GiB, "
        f"fsync {machine_['fsyncMs']} ms, load average {machine_['loadAverage']}\n{versions}"
    )


def _document(
    facts: Mapping[str, Any], sizes: Plan, rows: Sequence[Row], failures: Mapping[str, str]
) -> dict[str, Any]:
    return {
        **facts,
        "plan": dataclasses.asdict(sizes),
        "results": [dataclasses.asdict(row) for row in rows],
        "failures": dict(failures),
    }


def _verdict(verdict: goals.Verdict) -> dict[str, Any]:
    return {**dataclasses.asdict(verdict.goal), "found": verdict.found, "verdict": verdict.said}


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
