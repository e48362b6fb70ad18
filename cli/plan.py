"""What this run of ``torii up`` will be: what is made up, what was kept, and the parts. Starts nothing.

A setting that is given wins over one that is kept; a kept one over one that is made up.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from cli import addresses, house_files, roster
from cli.house_files import HouseFiles
from cli.parts import Part
from gateway.settings import values
from gateway.settings.values import Purpose, Settings

#: 32 bytes: 43 characters, more than the 32 that the settings ask for.
_SECRET_BYTES = 32
_EMULATOR_PORT = "EMULATOR_PORT"


@dataclass(frozen=True)
class Plan:
    """One run."""

    #: As the service and the worker will read them.
    settings: Settings
    #: What the two doors depend on.
    foundation: tuple[Part, ...]
    doors: tuple[Part, ...]
    #: Seconds a picture takes with the emulator; none when the real PixelDojo does the work.
    emulated_s: float | None


def draw(files: HouseFiles, given: Settings, environ: Mapping[str, str], scale: float) -> Plan:
    """The plan for what was ``given``; keeps in ``var/`` what it makes up. Raises ``SettingError``."""
    kept = files.read()
    made = {**kept, **_made_up(given, kept)}
    if made != kept:
        files.write(made)
    environment = house_files.environment(environ, files)
    foundation: list[Part] = []
    if given.redis_url is None:
        foundation.append(_valkey(files, made["TORII_REDIS_URL"]))
    if given.pixeldojo_api_key is None:
        port = int(made[_EMULATOR_PORT])
        foundation.append(roster.emulator_part(files, port, scale))
        environment |= _emulated(port)
    environment |= _worker_port(given)
    settings = values.read(Purpose.UP, environment)
    addresses.require(settings.host, settings.port, "TORII_HOST", "TORII_PORT")
    addresses.require(settings.host, settings.worker_metrics_port, "TORII_HOST", "TORII_WORKER_METRICS_PORT")
    return Plan(
        settings=settings,
        foundation=tuple(foundation),
        doors=(
            roster.service_part(files, settings, environment),
            roster.worker_part(files, settings, environment),
        ),
        emulated_s=roster.EMULATOR_FULL_S * scale if given.pixeldojo_api_key is None else None,
    )


def _made_up(given: Settings, kept: Mapping[str, str]) -> dict[str, str]:
    made: dict[str, str] = {}
    if not given.secret_key and "TORII_SECRET_KEY" not in kept:
        made["TORII_SECRET_KEY"] = secrets.token_urlsafe(_SECRET_BYTES)
    if not given.admin_token and "TORII_ADMIN_TOKEN" not in kept:
        made["TORII_ADMIN_TOKEN"] = secrets.token_urlsafe(_SECRET_BYTES)
    if given.redis_url is None:
        # The ports stay the same over restarts as long as nobody else takes them.
        earlier = urlsplit(kept.get("TORII_REDIS_URL", ""))
        password = earlier.password or secrets.token_urlsafe(_SECRET_BYTES)
        made["TORII_REDIS_URL"] = f"redis://:{password}@{addresses.LOOPBACK}:{addresses.free(earlier.port or 0)}/0"
    if given.pixeldojo_api_key is None:
        earlier_port = kept.get(_EMULATOR_PORT, "")
        made[_EMULATOR_PORT] = str(addresses.free(int(earlier_port) if earlier_port.isdigit() else 0))
    return made


def _valkey(files: HouseFiles, url: str) -> Part:
    parts = urlsplit(url)
    return roster.valkey_part(files, url, parts.port or 0, parts.password or "")


def _emulated(port: int) -> dict[str, str]:
    return {
        # Any will do: the emulator takes every key, and there is nothing behind it.
        "PIXELDOJO_API_KEY": f"pd_emulator_{secrets.token_hex(8)}",
        "PIXELDOJO_API_BASE": f"http://{addresses.LOOPBACK}:{port}/api/v1",
        "TORII_RESULT_HOSTS": f"{addresses.LOOPBACK}:{port}",
    }


def _worker_port(given: Settings) -> dict[str, str]:
    """The worker's own page: where it was asked to be, else wherever there is room."""
    if "worker_metrics_port" in given.model_fields_set and given.worker_metrics_port:
        return {}
    wanted = given.worker_metrics_port if "worker_metrics_port" not in given.model_fields_set else 0
    return {"TORII_WORKER_METRICS_PORT": str(addresses.free(wanted))}
