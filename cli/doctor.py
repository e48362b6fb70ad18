"""``torii doctor``: looks at every part and says what is wrong with it, a line each. Repairs nothing."""

import asyncio
from types import MappingProxyType
from typing import Any, Final

import typer
from rich.text import Text

from cli import checks, screen
from cli.checks import Finding, Health
from cli.screen import AsJson

app = typer.Typer(add_completion=False)

_SIGNS: Final = MappingProxyType(
    {Health.OK: ("ok", "green"), Health.WARNING: ("warning", "yellow"), Health.BROKEN: ("BROKEN", "bold red")}
)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check every part; the exit status is 1 if something is broken."""
    findings = asyncio.run(checks.everything())
    broken = any(finding.health is Health.BROKEN for finding in findings)
    if as_json:
        screen.write_json({"ok": not broken, "parts": [_shown(finding) for finding in findings]})
    else:
        _draw(findings)
    if broken:
        raise typer.Exit(1)


def _draw(findings: list[Finding]) -> None:
    out = screen.console()
    for finding in findings:
        word, style = _SIGNS[finding.health]
        line = Text.assemble((f"{finding.part:<10}", "bold"), (f"{word:<9}", style), screen.plain(finding.says))
        out.print(line, soft_wrap=True)


def _shown(finding: Finding) -> dict[str, Any]:
    return {"part": finding.part, "health": finding.health.value, "says": finding.says}
