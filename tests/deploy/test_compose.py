"""The compose file is valid, starts nothing without its secrets, and names files, settings and ports that exist."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]

from cli import menu
from gateway.settings import values
from gateway.settings.values import Purpose
from tests.deploy import rules
from tests.support import tree

DEPLOY = tree.ROOT / "deploy"
FILE = DEPLOY / "compose.yml"
CHECKER = Path(sys.executable).with_name("check-jsonschema")
DOORS = {"service": Purpose.SERVE, "worker": Purpose.WORK, "migrate": Purpose.MIGRATE, "backup": Purpose.STORE}
#: A variable of the one who starts it: its name, how it must be given, and what it is otherwise.
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(:\?|:-)?([^}]*)\}")
SECRET = re.compile(r"SECRET|TOKEN|PASSWORD|KEY")


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    """Return the services by name."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())["services"]
    return found


def test_the_file_is_valid() -> None:
    """The file keeps the schema of Compose files."""
    command = [str(CHECKER), "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_starts_without_its_secrets() -> None:
    """Each secret has to be given: none has a default, and what else may be left out has one."""
    found = {(name, way) for name, way, _ in VARIABLE.findall(FILE.read_text())}
    assert {name for name, _ in found if SECRET.search(name)} >= {"TORII_SECRET_KEY", "POSTGRES_PASSWORD"}
    assert [name for name, way in found if way != (":?" if SECRET.search(name) else ":-")] == []


def test_no_secret_is_written_down(services: dict[str, dict[str, Any]]) -> None:
    """Every variable of a service that is a secret's is filled from outside."""
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            if SECRET.search(variable):
                assert VARIABLE.search(str(value)), f"{name}: {variable}"


def test_fresh_secrets_are_all_that_is_asked_for(tmp_path: Path) -> None:
    """deploy/compose/secrets gives every variable that has to be given, fresh each time, to its owner alone, once."""
    texts = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        (folder / "compose").mkdir(parents=True)
        script = folder / "compose" / "secrets"
        script.write_text((DEPLOY / "compose" / "secrets").read_text())
        assert subprocess.run(["sh", str(script)], check=False, timeout=10, capture_output=True).returncode == 0
        assert (folder / ".env").stat().st_mode & 0o777 == 0o600
        texts.append((folder / ".env").read_text())
        again = subprocess.run(["sh", str(script)], check=False, timeout=10, capture_output=True)
        assert again.returncode == 1
        assert (folder / ".env").read_text() == texts[-1]
    one, two = (
        {**dict(line.split("=", 1) for line in text.splitlines() if "=" in line and line[0] != "#")} for text in texts
    )
    needed = {name for name, way, _ in VARIABLE.findall(FILE.read_text()) if way == ":?"}
    assert needed <= set(one)
    assert {name for name in needed if one[name] == two[name]} == {"PIXELDOJO_API_KEY"}
    settings = {name: value for name, value in one.items() if name in values.variables()}
    stores = {"TORII_REDIS_URL": "redis://localhost", "TORII_HOST": "0.0.0.0"}  # noqa: S104  as in the image
    values.read(Purpose.SERVE, {**settings, **stores}, env_file=None)
    values.read(Purpose.WORK, {**settings, **stores}, env_file=None)
    assert os.access(DEPLOY / "compose" / "secrets", os.X_OK)


def test_settings_exist_and_suffice(services: dict[str, dict[str, Any]]) -> None:
    """Every variable of a door is a setting; it has those it cannot start without, and no other door's secret."""
    for name, purpose in DOORS.items():
        given = set(services[name]["environment"])
        assert given <= set(values.variables()), name
        needed = purpose.required | ({"TORII_PUBLIC_URL"} if purpose.hands_out_urls else set())
        assert needed <= given, name
        assert not given & purpose.unread, name
        assert set(services[name].get("command", ["serve"])[:1]) <= set(menu.COMMANDS)


def test_our_own_run_without_rights(services: dict[str, dict[str, Any]]) -> None:
    """What we build runs on a file system it cannot write, without capabilities, and has time to end."""
    own = [service for service in services.values() if service["image"].startswith("torii-")]
    assert len(own) == 5
    for service in own:
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["stop_grace_period"] == "35s"


def test_images_are_named_by_version(services: dict[str, dict[str, Any]]) -> None:
    """Each image of others is one version, and ours are built here from a target of the Dockerfile."""
    for service in services.values():
        if service["image"].startswith("torii-"):
            build = service.get("build", {"target": service["image"].removeprefix("torii-")})
            assert f" AS {build['target']}\n" in (DEPLOY / "Dockerfile").read_text()
        else:
            assert re.search(r":v?\d+\.\d+[\w.-]*$", service["image"]), service["image"]


def test_files_exist() -> None:
    """Each file or folder that is mounted is in the tree."""
    mounted = re.findall(r"(?:- |file: )(\./[\w./-]+)", FILE.read_text())
    assert len(mounted) >= 5
    assert [path for path in mounted if not (DEPLOY / path).exists()] == []


def test_ports_are_published_on_loopback_alone(services: dict[str, dict[str, Any]]) -> None:
    """Nothing is reached from another machine before somebody has put TLS in front of it."""
    published = [port for service in services.values() for port in service.get("ports", ())]
    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_prometheus_reads_what_the_other_configuration_reads(services: dict[str, dict[str, Any]]) -> None:
    """The compose file's Prometheus has the same jobs, pages and rules, of services and ports that are here."""
    here = yaml.safe_load((DEPLOY / "compose" / "prometheus.yml").read_text())
    there = yaml.safe_load((rules.FOLDER / "prometheus.yml").read_text())
    assert (here["global"], here["rule_files"]) == (there["global"], there["rule_files"])
    fields = ("job_name", "metrics_path", "scrape_interval", "scrape_timeout")
    assert [[job.get(field) for field in fields] for job in here["scrape_configs"]] == [
        [job.get(field) for field in fields] for job in there["scrape_configs"]
    ]
    for job in here["scrape_configs"]:
        assert job["authorization"]["credentials_file"] == "/run/secrets/torii-metrics-token"
        for found in job.get("dns_sd_configs", ()):
            assert set(found["names"]) <= set(services)
    books = next(job for job in here["scrape_configs"] if job["job_name"] == "torii-books")
    assert books["static_configs"] == [{"targets": ["service:8700"], "labels": {"instance": "books"}}]
