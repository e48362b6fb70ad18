"""What lies in deploy/ is true to the house: its commands exist, its sources are there, and it asks for no rights."""

import importlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]
from typer.main import get_command

from cli import menu
from gateway.settings import values
from service import app
from tests.support import documents, tree

DEPLOY = tree.ROOT / "deploy"
UNITS = ("torii-serve", "torii-work")
TARGETS = {"service": ("serve", "/health/live"), "worker": ("work", "/health")}
#: What a unit must have, so that a process that was taken over has nothing to take.
HARDENED = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "MemoryDenyWriteExecute": "yes",
    "RestrictNamespaces": "yes",
    "SystemCallArchitectures": "native",
}
GUIDES = (
    "docs/runbook.md",
    "docs/production.md",
    "docs/budgets.md",
    "docs/webhook-receiver.md",
    "deploy/README.md",
)
COMMAND = re.compile(r"(?<![\w.-])torii ([a-z][^`#\n]*)")
HADOLINT = Path(sys.executable).with_name("hadolint")


def instructions(text: str) -> list[tuple[str, str]]:
    """Return a Dockerfile's instructions as (name, rest), continued lines joined and comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    parts = (line.strip().partition(" ") for line in joined.splitlines() if line.strip())
    return [(name.upper(), rest.strip()) for name, _, rest in parts]


def stages(text: str) -> dict[str, list[tuple[str, str]]]:
    """Return each stage's instructions by its name, those of the stage that it builds on before its own."""
    found: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    for name, rest in instructions(text):
        if name == "FROM":
            source, _, title = rest.partition(" AS ")
            current = found[title] = list(found.get(source, []))
        current.append((name, rest))
    return found


def last(stage: list[tuple[str, str]], name: str) -> str:
    """Return the instruction of that name that counts."""
    return [rest for each, rest in stage if each == name][-1]


def unit(text: str) -> dict[str, dict[str, list[str]]]:
    """Return a systemd unit's sections: each key's values in order, since systemd lets keys repeat."""
    found: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(section, {}).setdefault(key, []).append(value)
    return found


def unknown_commands(text: str) -> list[str]:
    """Return each `torii` command line of a document whose command, subcommand or option does not exist."""
    fenced = "\n".join(match.group(0) for match in documents.FENCED.finditer(text))
    spans = "\n".join(documents.code_words(text))
    return [found.group(0) for found in COMMAND.finditer(f"{fenced}\n{spans}") if not _known(found.group(1).split())]


def _known(words: list[str]) -> bool:
    name, *rest = words
    if name not in menu.COMMANDS:
        return False
    command = get_command(importlib.import_module(menu.COMMANDS[name][0]).app)
    below = getattr(command, "commands", None)
    if below is not None and rest:
        command = below.get(rest[0])
    options = {option for parameter in getattr(command, "params", ()) for option in parameter.opts}
    return command is not None and {word for word in rest if word.startswith("--")} <= options


def service_of(name: str) -> Mapping[str, list[str]]:
    """Return the section that says how a unit's process runs."""
    return unit((DEPLOY / "systemd" / f"{name}.service").read_text())["Service"]


@pytest.fixture(scope="module")
def dockerfile() -> str:
    """Return the Dockerfile's text."""
    return (DEPLOY / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def jobs() -> dict[str, dict[str, Any]]:
    """Return Prometheus' scrape jobs by name."""
    found = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    return {job["job_name"]: job for job in found}


@pytest.mark.parametrize("target", TARGETS)
def test_images_run_commands_that_exist(dockerfile: str, target: str) -> None:
    """Each image runs its door's command and asks that door's own page for its health."""
    command, page = TARGETS[target]
    stage = stages(dockerfile)[target]
    assert (json.loads(last(stage, "ENTRYPOINT")), json.loads(last(stage, "CMD"))) == (["torii"], [command])
    assert command in menu.COMMANDS
    check = last(stage, "HEALTHCHECK")
    script = json.loads(check[check.index("CMD") + len("CMD") :])[-1]
    compile(script, "HEALTHCHECK", "exec")
    assert f"'{page}'" in script
    assert set(re.findall(r"(?:TORII|PIXELDOJO)_\w+", " ".join(rest for _, rest in stage))) <= set(values.variables())


def test_the_service_has_the_page_its_health_check_asks() -> None:
    """The service image's health page is a route of the service."""
    assert TARGETS["service"][1] in {path for route in app.ROUTES for path in route.paths}


@pytest.mark.parametrize("target", TARGETS)
def test_images_run_without_rights(dockerfile: str, target: str) -> None:
    """Each image ends as a numbered user other than root, which Kubernetes can check."""
    user = last(stages(dockerfile)[target], "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_images_hold_what_was_pinned(dockerfile: str) -> None:
    """Every package is installed by hash from requirements/run.txt, or is the wheel that was built here."""
    installs = [rest for name, rest in instructions(dockerfile) if name == "RUN" and "pip install" in rest]
    assert installs
    for each in installs:
        assert "--require-hashes -r requirements/run.txt" in each or "--no-deps --no-index /wheels/" in each, each


def test_images_are_built_on_a_named_version(dockerfile: str) -> None:
    """The base is one release of Python, of those that the project supports, in a slim image."""
    base = next(rest for name, rest in instructions(dockerfile) if name == "ARG")
    version = re.fullmatch(r"PYTHON=3\.(\d+)-slim-\w+", base)
    supported = tomllib.loads((tree.ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert version is not None
    assert supported == ">=3.11"
    assert int(version.group(1)) >= 11


def test_the_builder_gets_what_it_copies_and_no_more(dockerfile: str) -> None:
    """Each source that is copied is in the tree and let through by .dockerignore, which lets nothing else through."""
    copied = [rest.split()[:-1] for name, rest in instructions(dockerfile) if name == "COPY" and "--from" not in rest]
    sources = {source for each in copied for source in each}
    ignore = (tree.ROOT / ".dockerignore").read_text().splitlines()
    assert ignore[1] == "*"
    assert sources == {line[1:] for line in ignore if line.startswith("!")}
    assert [source for source in sources if not (tree.ROOT / source).exists()] == []


def test_images_hold_every_package_of_the_wheel(dockerfile: str) -> None:
    """Each package that the wheel is made of is copied."""
    project = tomllib.loads((tree.ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert [name for name in packages if f"COPY {name} {name}\n" not in dockerfile] == []


def test_hadolint_finds_nothing() -> None:
    """The Dockerfile keeps hadolint's rules, without an exemption."""
    done = subprocess.run(
        [HADOLINT, "--no-color", DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_reads_every_page_of_metrics(jobs: dict[str, dict[str, Any]]) -> None:
    """Both doors and the books are scraped, with the token, at paths and default ports that exist."""
    ports = {str(values.Settings.model_fields[name].default) for name in ("port", "worker_metrics_port")}
    assert {job["metrics_path"] for job in jobs.values()} == {"/metrics", "/metrics/books"}
    for job in jobs.values():
        assert job["authorization"]["credentials_file"]
        for target in (target for each in job["static_configs"] for target in each["targets"]):
            assert target.rpartition(":")[2] in ports


def test_prometheus_reads_the_books_once(jobs: dict[str, dict[str, Any]]) -> None:
    """The books are one target with a constant instance, so that no replica multiplies a credit."""
    books = [job for job in jobs.values() if job["metrics_path"] == "/metrics/books"]
    targets = [(each["targets"], each["labels"]["instance"]) for job in books for each in job["static_configs"]]
    assert [(len(found), instance) for found, instance in targets] == [(1, "books")]


@pytest.mark.parametrize("name", UNITS)
def test_units_run_commands_that_exist(name: str) -> None:
    """Each unit is whole, and starts the torii command that it is named for."""
    found = unit((DEPLOY / "systemd" / f"{name}.service").read_text())
    assert set(found) == {"Unit", "Service", "Install"}
    command = name.removeprefix("torii-")
    assert found["Service"]["ExecStart"] == [f"/opt/torii/bin/torii {command}"]
    assert command in menu.COMMANDS


@pytest.mark.parametrize("name", UNITS)
def test_units_take_their_settings_from_files(name: str) -> None:
    """No setting stands in a unit: everything comes from environment files, the shared one being required."""
    service = service_of(name)
    assert "Environment" not in service
    assert service["EnvironmentFile"][0] == "/etc/torii/torii.env"


@pytest.mark.parametrize("name", UNITS)
def test_units_give_time_to_end(name: str) -> None:
    """A process that is told to end has longer than the 30 s it may need, and is started again when it died."""
    service = service_of(name)
    assert service["TimeoutStopSec"] == ["35"]
    assert service["KillSignal"] == ["SIGTERM"]
    assert service["Restart"] == ["always"]


@pytest.mark.parametrize("name", [*UNITS, "torii-backup"])
def test_units_are_hardened(name: str) -> None:
    """Each unit runs as a user of its own, without capabilities, on a read-only system."""
    service = service_of(name)
    assert {key: service[key][0] for key in HARDENED} == HARDENED
    assert service["User"] == ["torii"]


def test_a_timer_makes_backups() -> None:
    """Every night, also one that was missed: into the unit's own folder, and old files go after a good one alone."""
    service = service_of("torii-backup")
    assert service["Type"] == ["oneshot"]
    (start,), (after,) = service["ExecStart"], service["ExecStartPost"]
    command, place = start.removeprefix("/opt/torii/bin/torii ").split()
    assert command in menu.COMMANDS
    assert place.removeprefix("/var/lib/") in service["StateDirectory"][0].split()
    assert after.startswith(f"/usr/bin/find {place} -maxdepth 1 -name torii-*.backup ")
    timer = unit((DEPLOY / "systemd" / "torii-backup.timer").read_text())
    assert timer["Timer"]["Persistent"] == ["true"]
    assert re.fullmatch(r"\*-\*-\* \d\d:\d\d:00 UTC", timer["Timer"]["OnCalendar"][0])
    assert timer["Install"]["WantedBy"] == ["timers.target"]


@pytest.mark.parametrize("guide", GUIDES)
def test_guides_name_commands_that_exist(guide: str) -> None:
    """Each torii command that an operator is told to give exists, with its subcommand and its options."""
    text = (tree.ROOT / guide).read_text()
    assert COMMAND.search(text)
    found = unknown_commands(text)
    assert not found, tree.listed(found)


@pytest.mark.parametrize("bad", ["torii mend", "torii jobs mend JOB", "torii jobs list --sate queued"])
def test_commands_that_do_not_exist_are_found(bad: str) -> None:
    """A command, a subcommand and an option that are none are each found, in a span and in a block."""
    assert unknown_commands(f"Do `{bad}` and `torii jobs list --state queued`.") == [bad]
    assert unknown_commands(f"```sh\n{bad}\ntorii doctor\n```\n") == [bad]


def test_continued_lines_and_stages_are_understood() -> None:
    """The tests' own reader joins continued lines, drops comments, and lets a stage inherit."""
    text = "# c\nFROM a AS one\nUSER 1:1\nRUN x \\\n    # why\n    && y\nFROM one AS two\nCMD []\n"
    found = stages(text)
    assert ("RUN", "x && y") in found["one"]
    assert last(found["two"], "USER") == "1:1"


def test_repeated_keys_of_a_unit_are_understood() -> None:
    """The tests' own reader keeps every value of a key, and an empty one."""
    found = unit("[Unit]\n# why\nAfter=a\nAfter=b\n\n[Service]\nCapabilityBoundingSet=\n")
    assert found == {"Unit": {"After": ["a", "b"]}, "Service": {"CapabilityBoundingSet": [""]}}
