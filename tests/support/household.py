"""A whole gateway as `torii up` runs it, on the emulator and behind a server that errs on demand."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support import ports
from tests.support.crooked import Crooked
from tests.support.emulator import EmulatorProcess
from tests.support.process import Process

TORII = str(Path(sys.executable).with_name("torii"))
_STARTS_WITHIN_S = 90.0
_ENDS_WITHIN_S = 90


@dataclass(frozen=True)
class Household:
    """A running gateway. ``folder`` is where it was started, ``url`` its own address, ``key`` its first team's."""

    folder: Path
    settings: Mapping[str, str]
    url: str
    key: str
    admin_token: str
    emulator: EmulatorProcess
    crooked: Crooked

    def environment(self, **more: str) -> dict[str, str]:
        """What somebody in the gateway's folder has set."""
        return {"PATH": os.environ["PATH"], **self.settings, **more}

    def away(self, **more: str) -> dict[str, str]:
        """What somebody elsewhere has set: the address, behind which things may go wrong, and a key."""
        return {
            "PATH": os.environ["PATH"],
            "TORII_URL": self.crooked.url,
            "TORII_API_KEY": self.key,
            **more,
        }

    def submits(self) -> int:
        """How many paid POSTs the upstream was sent."""
        return int(self.emulator.books(jobs=False)["totals"]["submitsReceived"])

    def again(self) -> None:
        """Everything straight, and the upstream quick."""
        self.crooked.straight()
        self.emulator.reset_switches()
        self.resume()

    def pause(self) -> None:
        """Let jobs wait, for as long as a test wants to look at one that does."""
        self._ask("/admin/v1/pauses")

    def resume(self) -> None:
        """Let them go on."""
        self._ask("/admin/v1/pauses/resume")

    def _ask(self, path: str) -> None:
        headers = {"Authorization": f"Bearer {self.admin_token}"}
        answer = httpx.post(f"{self.url}{path}", json={"all": True}, headers=headers, timeout=30, trust_env=False)
        answer.raise_for_status()


@contextmanager
def household(folder: Path, **more: str) -> Iterator[Household]:
    """Start one in that folder, with more settings, and end it."""
    port = ports.free_one()
    with EmulatorProcess(time_scale=0.01) as emulator, Crooked(port) as crooked:
        settings = {
            "PIXELDOJO_API_KEY": "pd_test_key_of_the_emulator",
            "PIXELDOJO_API_BASE": emulator.api_base,
            "TORII_RESULT_HOSTS": emulator.result_host,
            "TORII_UPSTREAM_RPM": "60000",
            "TORII_PORT": str(port),
            "TORII_WORKER_METRICS_PORT": "0",
            # Links lead through the server that errs, so that downloads may go wrong too.
            "TORII_PUBLIC_URL": crooked.url,
            **more,
        }
        with Process([TORII, "up", "--json"], folder=folder, environment=settings, name="up") as process:
            process.wait_ready('"key"', _STARTS_WITHIN_S)
            said: dict[str, Any] = json.loads(process.output())
            url = f"http://{ports.LOOPBACK}:{port}"
            yield Household(folder, settings, url, said["key"], said["adminToken"], emulator, crooked)


def torii(
    words: list[str], folder: Path, environment: Mapping[str, str], **more: Any
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, as a shell would."""
    return subprocess.run(
        [TORII, *words],
        cwd=folder,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=_ENDS_WITHIN_S,
        check=False,
        **more,
    )
