"""A rehearsal told as a part of ``docs/reliability.md``, between marks of its own. Measures nothing."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from bench import machine
from gateway.jobs import states
from tests.e2e.chaos import report as chaos_report
from tests.e2e.chaos.truth import MICROS, Truth
from tests.e2e.rehearsal.play import Rehearsal

BEGIN, END = "<!-- rehearsal: begin -->", "<!-- rehearsal: end -->"
_SHOWN = 8


def render(
    played: Rehearsal, truth: Truth, found: Mapping[str, list[str]], versions: Mapping[str, str], *, releases: int
) -> str:
    """The report in Markdown."""
    broken = {name: words for name, words in found.items() if words}
    failed = played.crowd.failures
    verdict = (
        f"**{len(failed)} of {played.crowd.requests} requests failed.**" if failed else "**No request failed.**"
    ) + (f" **{len(broken)} of {len(found)} invariants were broken.**" if broken else " Every invariant held.")
    shown = [f"- {line}" for line in failed[:_SHOWN]]
    shown += [f"- `{name}`: {words[0][:300]}" for name, words in broken.items()]
    parts = [
        _what_ran(played, versions, releases),
        "\n".join([verdict, *shown]),
        _table(("", ""), _figures(played, truth)),
        _table(
            ("restarted", "as the release", "ready again after"),
            [(name, release or "the same", f"{took_s:.1f} s") for name, release, took_s in played.restarts],
        ),
    ]
    return "\n\n".join(parts)


def write(text: str) -> None:
    """Put the report between its marks."""
    page = chaos_report.PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    chaos_report.PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def _what_ran(played: Rehearsal, versions: Mapping[str, str], releases: int) -> str:
    facts = machine.facts()
    its = facts["machine"]
    world = played.run.world
    servers = ", ".join(f"{name} {version}" for name, version in versions.items())
    side = "two releases side by side" if releases > 1 else "one release alone, since the history has no other"
    return (
        f"{facts['date'][:10]}; {len(world.services)} services and {len(world.workers)} workers, {side}, "
        f"{played.seconds / 60:.1f} minutes; {servers}; {its['cores']} cores of {its['cpu']}, {its['memoryGiB']} GiB, "
        f"load average {its['loadAverage']}."
    )


def _figures(played: Rehearsal, truth: Truth) -> list[tuple[str, Any]]:
    crowd = played.crowd
    ends = Counter(job.error_code or str(job.state) for job in truth.jobs.values() if job.state in states.ENDED)
    return [
        ("requests", crowd.requests),
        ("failed", len(crowd.failures)),
        ("answered 503 with `Retry-After`, and asked again", crowd.retried),
        ("slowest answer", f"{crowd.slowest_s:.1f} s"),
        ("restarts", len(played.restarts)),
        ("jobs accepted", len(truth.jobs)),
        *((f"ended as `{name}`", count) for name, count in sorted(ends.items())),
        ("not ended", sum(job.state not in states.ENDED for job in truth.jobs.values())),
        ("paid POSTs sent, upstream jobs", f"{truth.totals['submitsReceived']}, {truth.totals['submitsAccepted']}"),
        ("credits taken by the upstream", truth.totals["debited"]),
        (
            "credits in the ledger, and still held",
            f"{truth.balances_spent / MICROS:g}, {truth.balances_held / MICROS:g}",
        ),
        *((f"Prometheus: {name}", f"{value:g}") for name, value in played.scraped.items()),
        ("pictures archived, lost", f"{sum(map(len, truth.images.values()))}, {truth.images_lost}"),
        ("answers", ", ".join(f"{name}: {count}" for name, count in sorted(crowd.answers.items()))),
    ]


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
