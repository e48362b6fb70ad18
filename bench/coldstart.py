"""``coldstart``: ``torii up`` in an empty folder, and again in the same one, to ready and to the first picture.

Torii is installed already; what a fresh machine downloads before that is not measured. The emulator takes 1 s.
"""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.figures import Row
from bench.orders import Client
from bench.plan import Plan
from bench.stage import TORII
from tests.support import ports
from tests.support.process import Process

NAME = "coldstart"
#: Of the emulator's own 42.5 s in the middle.
_ONE_SECOND = "0.0235"
_READY_WITHIN_S = 90.0
_PICTURE_WITHIN_S = 60.0
_STOPS_WITHIN_S = 40.0


def measure(plan: Plan) -> Iterator[Row]:
    """Two rows; the plan has nothing to say here, since each start happens once."""
    del plan
    with TemporaryDirectory(prefix="torii-bench-") as folder:
        port = ports.free_one()
        for case in ("first start", "second start"):
            yield Row(NAME, case, _start(Path(folder), port))


def _start(folder: Path, port: int) -> dict[str, float | int | str]:
    command = [str(TORII), "up", "--json", "--emulator-scale", _ONE_SECOND]
    begun_s = time.perf_counter()
    with Process(command, folder=folder, environment={"TORII_PORT": str(port)}, name="up") as process:
        process.wait_ready('"key"', _READY_WITHIN_S)
        ready_s = time.perf_counter() - begun_s
        with Client(port, json.loads(process.output())["key"]) as client:
            job = client.completed(client.order("the first torii gate"), _PICTURE_WITHIN_S, every_s=0.02)
            client.picture(job["output"]["images"][0])
        picture_s = time.perf_counter() - begun_s
        process.signal(signal.SIGINT)
        process.wait_end(_STOPS_WITHIN_S)
    return {"ready s": ready_s, "first picture s": picture_s}
