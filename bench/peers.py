"""``peers``: the image route of LiteLLM's proxy and of Portkey's gateway beside Torii's, the same order each time.

Each is one process, with its cache turned on, before an image API that answers at once. What the API was asked shows
which of them answered by themselves. Torii answers from its cache, with all its checks and its log on.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Final

import httpx

from bench import floor as bare
from bench import load, machine, orders, peer_install, peer_upstream, pressure, stage
from bench.figures import Row
from bench.peer_install import Peer
from bench.plan import Plan
from bench.pressure import Saturated
from bench.stage import Gateway
from tests.support import ports
from tests.support.emulator import EmulatorProcess
from tests.support.process import Process

NAME = "peers"
_ORDER = MappingProxyType(
    {"model": stage.MODEL, "prompt": "a torii gate that everybody asks for", "response_format": "url"}
)
_READY_WITHIN_S = 90.0
#: So many orders show whether it keeps answers.
_ALIKE = 10
_KEY: Final = "sk-made-up-for-a-measurement"


def measure(plan: Plan) -> Iterator[Row]:
    """The floor, Torii, and each peer, with what it is beside Torii."""
    with (
        EmulatorProcess(time_scale=0.001) as upstream,
        stage.gateway("postgresql", upstream, TORII_UPSTREAM_RPM="6000") as gateway,
    ):
        with stage.floor(gateway.redis_url) as (process, port):
            what = load.call(port, "POST", bare.ONE_GET, body=_ORDER)
            floor = pressure.saturated(what, process.pid, plan, plan.floor_s)
        yield Row(NAME, "floor with a Redis GET", pressure.shown(floor))
        pid, what = _hit(gateway)
        ours = pressure.saturated(what, pid, plan, plan.saturated_s)
        share = pressure.share(ours, floor, "GET floor")
        yield Row(NAME, "Torii, a hit", {**pressure.shown(ours), **share, "load average": machine.load_average()})
    for peer in peer_install.PEERS:
        try:
            folder = peer_install.installed(peer, peer_install.home())
        except peer_install.NotToBeHad as error:
            yield Row(NAME, peer.name, {"not measured": str(error)})
            continue
        found, passed_on = _measured(peer, folder, plan)
        beside = {"Torii/it": ours.per_s / found.per_s, "Torii/it, by cpu": found.cpu_ms / ours.cpu_ms}
        more = {f"passed on of {_ALIKE}": passed_on, "load average": machine.load_average()}
        yield Row(NAME, f"{peer.name} {peer.version}", {**pressure.shown(found), **beside, **more})


def _hit(gateway: Gateway) -> tuple[int, load.Call]:
    """The process that serves, and an order by OpenAI's dialect that was made before; the worker has ended."""
    key = gateway.key()
    served, port = gateway.serve()
    worker = gateway.work()
    body = {**_ORDER, "seed": 7}
    with orders.Client(port, key) as client:
        client.completed(client.order(str(_ORDER["prompt"]), seed=7), within_s=60)
    worker.terminate(35)
    return served.pid, load.call(port, "POST", peer_upstream.IMAGES, key=key, body=body, expected=200)


def _measured(peer: Peer, installed: Path, plan: Plan) -> tuple[Saturated, int]:
    """What the peer gave, and how many of some orders that are all alike it passed on to the API behind it."""
    with TemporaryDirectory(prefix="torii-bench-") as name, _upstream(Path(name)) as upstream_port:
        folder, port = Path(name), ports.free_one()
        (folder / "config.json").write_text(json.dumps(peer_install.litellm_config(upstream_port, stage.MODEL, _KEY)))
        command = [word.format(folder=installed, port=port, config=folder / "config.json") for word in peer.command]
        with Process(command, folder=folder, environment=dict(peer.environment), name=peer.name) as process:
            process.wait_ready(port, _READY_WITHIN_S)
            headers = {name: value.replace("UPSTREAM", str(upstream_port)) for name, value in peer.headers.items()}
            passed_on = _passed_on(port, upstream_port, headers)
            what = load.call(port, "POST", peer_upstream.IMAGES, key=_KEY, body=_ORDER, headers=headers, expected=200)
            return pressure.saturated(what, process.pid, plan, plan.saturated_s), passed_on


def _passed_on(port: int, upstream_port: int, headers: dict[str, str]) -> int:
    with httpx.Client(trust_env=False, timeout=30.0, headers={"Authorization": f"Bearer {_KEY}", **headers}) as client:
        for _ in range(_ALIKE):
            client.post(f"http://{ports.LOOPBACK}:{port}{peer_upstream.IMAGES}", json=dict(_ORDER)).raise_for_status()
        return int(client.get(f"http://{ports.LOOPBACK}:{upstream_port}{peer_upstream.COUNT}").json())


@contextmanager
def _upstream(folder: Path) -> Iterator[int]:
    port = ports.free_one()
    command = [peer_install.PYTHON, "-m", "bench.peer_upstream", str(port)]
    with Process(command, folder=folder, environment={"PYTHONPATH": str(stage.ROOT)}, name="upstream") as process:
        process.wait_ready(port)
        yield port
