"""The peers that are measured beside Torii: which versions, and each in an environment of its own. Measures nothing.

They go into a folder of the user's cache, or of ``TORII_BENCH_PEERS``, never into Torii's own environment. What cannot
be installed here is said with its reason.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

PYTHON: Final = sys.executable
_FOLDER: Final = "TORII_BENCH_PEERS"
_INSTALL_WITHIN_S: Final = 900
_SHOWN: Final = 200
#: What the installers may know of this environment: where packages come from is its owner's business.
_KEPT: Final = ("PATH", "HOME", "LANG", "PIP_", "NPM_CONFIG_", "npm_config_", "SSL_", "HTTP", "http", "no_proxy")


class NotToBeHad(Exception):
    """A peer cannot be installed on this machine; the message says why."""


@dataclass(frozen=True)
class Peer:
    """One peer: how it is installed, started and asked. ``{folder}``, ``{port}`` and ``{config}`` are filled in."""

    name: str
    version: str
    steps: tuple[tuple[str, ...], ...]
    command: tuple[str, ...]
    environment: Mapping[str, str]
    #: ``UPSTREAM`` is the port of the API behind it.
    headers: Mapping[str, str]


_LITELLM: Final = "1.106.2"
_PORTKEY: Final = "1.15.2"

PEERS: Final = (
    Peer(
        name="LiteLLM",
        version=_LITELLM,
        steps=(
            (PYTHON, "-m", "venv", "{folder}"),
            ("{folder}/bin/pip", "install", "--no-input", "--quiet", f"litellm[proxy]=={_LITELLM}"),
        ),
        command=(
            *("{folder}/bin/litellm", "--config", "{config}", "--host", "127.0.0.1", "--port", "{port}"),
            *("--num_workers", "1", "--telemetry", "False"),
        ),
        # Its list of prices comes from the network otherwise.
        environment=MappingProxyType({"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}),
        headers=MappingProxyType({}),
    ),
    Peer(
        name="Portkey",
        version=_PORTKEY,
        steps=(
            (
                *("npm", "install", "--prefix", "{folder}", "--ignore-scripts", "--no-audit", "--no-fund"),
                f"@portkey-ai/gateway@{_PORTKEY}",
            ),
        ),
        command=(
            *("node", "{folder}/node_modules/@portkey-ai/gateway/build/start-server.js"),
            *("--port={port}", "--headless"),
        ),
        environment=MappingProxyType({"NODE_ENV": "production"}),
        headers=MappingProxyType(
            {
                "x-portkey-config": '{"provider":"openai","api_key":"made-up","cache":{"mode":"simple"},'
                '"custom_host":"http://127.0.0.1:UPSTREAM/v1"}'
            }
        ),
    ),
)


def litellm_config(upstream_port: int, model: str, key: str) -> dict[str, Any]:
    """LiteLLM's settings: one model, one key, its cache turned on."""
    behind = {"model": "openai/dall-e-3", "api_base": f"http://127.0.0.1:{upstream_port}/v1", "api_key": "made-up"}
    return {
        "model_list": [{"model_name": model, "litellm_params": behind}],
        "general_settings": {"master_key": key},
        "litellm_settings": {"cache": True, "cache_params": {"type": "local"}, "telemetry": False},
    }


def installed(peer: Peer, home: Path) -> Path:
    """The folder of an installed peer under ``home``, installing it first if need be; raises ``NotToBeHad``."""
    folder = home / f"{peer.name.lower()}-{peer.version}"
    done = folder / ".installed"
    if done.exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for step in peer.steps:
        _carry_out([word.format(folder=folder) for word in step])
    done.touch()
    return folder


def home() -> Path:
    """Where peers are kept."""
    named = os.environ.get(_FOLDER)
    return Path(named) if named else Path.home() / ".cache" / "torii-bench"


def _carry_out(command: list[str]) -> None:
    kept = {name: value for name, value in os.environ.items() if name.startswith(_KEPT)}
    try:
        done = subprocess.run(command, env=kept, capture_output=True, text=True, check=False, timeout=_INSTALL_WITHIN_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotToBeHad(f"{Path(command[0]).name}: {type(error).__name__}") from error
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1][:_SHOWN]
        raise NotToBeHad(f"{Path(command[0]).name} ended with {done.returncode}: {said}")
