"""A run told as a page: what ran, what was broken, what died where, and whether everything held. Measures nothing."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import machine
from gateway.jobs import states
from gateway.jobs.states import State
from tests.e2e.chaos.run import Run
from tests.e2e.chaos.truth import MICROS, Truth

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reliability.md"
BEGIN, END = "<!-- chaos: begin -->", "<!-- chaos: end -->"
_MOST_WORDS = 8
_LONGEST = 200


def render(run: Run, truth: Truth, found: Mapping[str, list[str]], versions: Mapping[str, str]) -> str:
    """The report in Markdown."""
    broken = {name: words for name, words in found.items() if words}
    parts = [
        _what_ran(run, versions),
        f"**{len(broken)} of {len(found)} invariants were broken.**" if broken else "**Every invariant held.**",
        *(f"- `{name}`: {len(words)}\n{_indented(words)}" for name, words in broken.items()),
        _figures(run, truth),
        "### Faults\n\n" + _table(("fault", "rounds"), sorted(run.faults.items())),
        "### Kills by step\n\n" + _kills(run),
    ]
    return "\n\n".join(parts)


def write(text: str) -> None:
    """Put the report between the marks of ``docs/reliability.md``."""
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def _what_ran(run: Run, versions: Mapping[str, str]) -> str:
    facts = machine.facts()
    its, installed = facts["machine"], facts["versions"]
    servers = ", ".join(f"{name} {version}" for name, version in versions.items())
    world = run.world
    stores = f"{'PostgreSQL' if world.servers.postgres else 'SQLite'} and {'S3' if world.servers.s3 else 'a folder'}"
    return (
        f"{facts['date'][:10]}; seed {run.seed}, {run.rounds} rounds in {run.seconds / 60:.1f} minutes; "
        f"{len(world.services)} services and {len(world.workers)} workers on {stores}; {its['cores']} cores of "
        f"{its['cpu']}, {its['memoryGiB']} GiB, load average {its['loadAverage']}; Python {installed['python']}, "
        f"torii {installed['torii']}, {servers}."
    )


def _figures(run: Run, truth: Truth) -> str:
    jobs = truth.jobs.values()
    ends = Counter(job.error_code or str(job.state) for job in jobs if job.state in states.ENDED)
    done = run.kills.done
    doubts = _doubts(truth)
    rows: list[tuple[str, Any]] = [
        ("orders placed", len(run.callers.orders)),
        ("jobs accepted", len(truth.jobs)),
        ("of them told to their caller", sum(order.job_id is not None for order in run.callers.orders)),
        *((f"ended as `{name}`", count) for name, count in sorted(ends.items())),
        ("not ended", sum(job.state not in states.ENDED for job in jobs)),
        ("jobs whose submission was unknown for a time", sum(doubts.values())),
        *((f"resolved: {name}", count) for name, count in sorted(doubts.items())),
        ("paid POSTs sent", truth.totals["submitsReceived"]),
        ("upstream jobs", truth.totals["submitsAccepted"]),
        ("orders with more than one upstream job", sum(len(rows) > 1 for rows in truth.upstream.values())),
        ("credits taken by the upstream", truth.totals["debited"]),
        ("credits in the ledger", f"{truth.balances_spent / MICROS:g}"),
        ("credits still held", f"{truth.balances_held / MICROS:g}"),
        ("pictures delivered", sum(len(row["files"]) for rows in truth.upstream.values() for row in rows)),
        ("pictures archived", sum(len(images) for images in truth.images.values())),
        ("pictures lost", truth.images_lost),
        ("webhooks owed, and messages received", f"{len(truth.deliveries)}, {len(truth.told)}"),
        ("kills at named steps", sum(done.values())),
        ("steps known, and killed at least once", f"{_known(run)}, {len(done)}"),
        ("starts refused while the database was away", sum(slot.refused_starts for slot in run.world.slots)),
        ("slowest answer to a caller", f"{run.callers.slowest_s:.1f} s"),
        ("answers", ", ".join(f"{name}: {count}" for name, count in sorted(run.callers.answers.items()))),
    ]
    return _table(("", ""), rows)


def _known(run: Run) -> int:
    return len(frozenset(run.kills.known("worker")) | frozenset(run.kills.known("service")))


def _doubts(truth: Truth) -> Counter[str]:
    """Jobs that were unknown, by what resolved them; from the logs, since a row forgets that it was in doubt."""
    doubted = {
        event["job_id"]
        for event in truth.events()
        if event.get("event") == "answer_booked" and event.get("answer") == "Ambiguous" and "job_id" in event
    }
    found: Counter[str] = Counter()
    for job_id in doubted:
        rows = [row for row in truth.attempts if row["job_id"] == job_id]
        if truth.jobs[job_id].state is State.SUBMISSION_UNKNOWN:
            found["not resolved"] += 1
            continue
        evidence = [str(row.get("evidence")) for row in rows if row.get("evidence")]
        found[evidence[-1] if evidence else "a late answer"] += 1
    return found


def _kills(run: Run) -> str:
    done, fruitless = run.kills.done, run.kills.fruitless
    steps = sorted({*run.kills.known("worker"), *run.kills.known("service"), *done})
    return _table(
        ("step", "kills", "ordered in vain"), [(f"`{step}`", done[step], fruitless[step] or "") for step in steps]
    )


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _indented(words: list[str]) -> str:
    shown = [line[:_LONGEST] for line in words[:_MOST_WORDS]]
    more = [f"and {len(words) - len(shown)} more"] if len(words) > len(shown) else []
    return "\n".join(f"  - {line}" for line in [*shown, *more])
