"""Runs schemathesis over `openapi/torii.json` against a gateway; says what is not checked, and why."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tests.fuzz.ground import Ground

DOCUMENT: Final = Path(__file__).resolve().parents[2] / "openapi" / "torii.json"
_ST: Final = Path(sys.executable).with_name("st")
#: How often a parameter of a path is the name of something that exists.
_KNOWN_SHARE: Final = 0.6
#: Statuses that are no fault of the document's when the data fit it: what the caller may spend, and how fast.
_AFFORDED: Final = ["2xx", "401", "403", "404", "409", "402", "422", "429"]
#: Operations that may answer 400 to data which fit the document, and what JSON Schema could not say or says otherwise.
#: All other checks hold for them too.
UNSAID: Final[Mapping[str, str]] = MappingProxyType(
    {
        "runModel": "a body of one model is sent to another; metadata may not hold U+0000, nor be longer than so much",
        "quoteModel": "as runModel",
        "createUpload": "a URL's host is looked up, and what it answers is looked at",
        "listUploads": "a cursor is one that an earlier page gave",
        "adminCreateTeam": "limits depend on their kind; soft is at most limit; a policy is checked by the house",
        "adminChangeTeam": "as adminCreateTeam; to JSON Schema 5.0 is an integer",
        "adminPutPolicy": "a policy is checked by the house",
        "adminCreateKey": "expiresAt lies ahead; soft is at most limit; a window is named once",
        "adminChangeKey": "to JSON Schema 5.0 is an integer; rpm and concurrency have a most",
        "adminRotateKey": "to JSON Schema 5.0 is an integer",
        "adminPutBudget": "soft is at most limit; credits have at most 6 decimals",
        "adminSettleJob": "one of two members",
        "adminAdjustLedger": "one of two members; credits have at most 6 decimals, and are not 0",
        "adminRefundLedger": "as adminAdjustLedger",
        "adminTopupUpstream": "credits have at most 6 decimals, and are not 0",
        "adminPause": "one of three members",
        "adminResume": "one of three members",
        "adminPutWebhook": "an https URL with a host that may be called",
        "adminListDeliveries": "as adminListTeams",
        "adminPutPrice": "credits have at most 6 decimals; a model has its own resolutions",
        "listJobs": "as adminListTeams",
        "listBatches": "as adminListTeams",
        "getBatch": "as adminListTeams",
        "createBatch": "each item is as the body of runModel",
        "adminPurgeCache": "one of four members",
        "adminListTeams": "a cursor is what a page before gave",
        "adminListKeys": "a cursor is what a page before gave",
        "adminListJobs": "as adminListTeams; a text must be printable; a moment has its own calendar",
        "adminListLedger": "as adminListJobs",
        "adminListAudit": "as adminListJobs",
        "adminGetUsage": "as adminListJobs",
    }
)


@dataclass(frozen=True)
class Run:
    """How much is asked, and by which seed; `max_time_s` bounds the whole run."""

    examples: int
    seed: int
    max_time_s: int
    phases: tuple[str, ...] = ("examples", "coverage", "fuzzing", "stateful")
    operations: tuple[str, ...] = ()


def command(run: Run, ground: Ground, config: Path) -> list[str]:
    """The command of that run."""
    chosen = [word for name in run.operations for word in ("--include-operation-id", name)]
    return [
        str(_ST),
        "--config-file",
        str(config),
        "run",
        str(DOCUMENT),
        "--url",
        ground.base_url,
        "--phases",
        ",".join(run.phases),
        "--max-examples",
        str(run.examples),
        "--seed",
        str(run.seed),
        "--max-time",
        str(run.max_time_s),
        "--request-timeout",
        "20",
        "--continue-on-failure",
        "--suppress-health-check",
        "all",
        *chosen,
    ]


def carry_out(run: Run, ground: Ground, folder: Path, *, capture: bool = False) -> subprocess.CompletedProcess[str]:
    """Run it; its status is 0 when every answer was as the document says."""
    config = folder / "schemathesis.toml"
    config.write_text(_toml(settings(ground)), encoding="utf-8")
    return subprocess.run(
        command(run, ground, config),
        cwd=folder,
        text=True,
        check=False,
        capture_output=capture,
        timeout=run.max_time_s + 120,
    )


def settings(ground: Ground) -> dict[str, Any]:
    """What the tool is told: who asks, what can be named, and what is not checked."""
    return {
        "warnings": False,
        "auth": {
            "openapi": {
                "teamKey": {"bearer": ground.team_key},
                "adminToken": {"bearer": ground.admin_token},
            }
        },
        "dictionaries": {name: {"values": values} for name, values in ground.known.items()},
        "parameters": {f"path.{name}": {"dictionary": name, "probability": _KNOWN_SHARE} for name in ground.known},
        "generation": {"database": "none", "allow-x00": True},
        "checks": {"positive_data_acceptance": {"expected-statuses": _AFFORDED}},
        "operations": [
            {
                "include-operation-id": name,
                "checks": {"positive_data_acceptance": {"expected-statuses": [*_AFFORDED, "400"]}},
            }
            for name in UNSAID
        ],
    }


def _toml(table: Mapping[str, Any]) -> str:
    """That table as TOML, each of its members on one line."""
    return "".join(f"{json.dumps(name)} = {_inline(value)}\n" for name, value in table.items())


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(name)} = {_inline(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_inline(inner) for inner in value) + "]"
    return json.dumps(value)  # JSON's scalars are TOML's too
