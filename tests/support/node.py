"""OpenAI's official client for Node, as a process that runs a script. Pinned by version and by the hash of its package.

``install-servers`` brought the package from npm and checked it; it needs no other. Nothing here reaches another host.
"""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

from tests.support.report import UnavailableError

FOLDER = Path(__file__).resolve().parents[2] / ".venv" / "share" / "node"
_WITHIN_S = 90
_PROLOGUE = """
import OpenAI from "openai";
const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.KEY });
const told = (value) => console.log(JSON.stringify(value));
"""


class NodeClient:
    """Node and the client's package."""

    def __init__(self) -> None:
        program = shutil.which("node")
        if program is None:
            raise UnavailableError("node not installed")
        if not (FOLDER / "node_modules" / "openai" / "package.json").is_file():
            raise UnavailableError("openai for Node is not there: run tests/support/install-servers")
        self._program = program

    @property
    def version(self) -> str:
        """What both say they are."""
        node = subprocess.run([self._program, "--version"], capture_output=True, text=True, check=True, timeout=20)
        package = json.loads((FOLDER / "node_modules" / "openai" / "package.json").read_text())
        return f"{node.stdout.strip()}, openai {package['version']}"

    def start(self) -> Self:
        """Nothing to start."""
        return self

    def remove(self) -> None:
        """Nothing to remove."""

    async def run(self, base_url: str, key: str, script: str) -> Any:
        """What a script told, that has a ``client`` with its default settings and tells by ``told(value)``."""
        process = await asyncio.create_subprocess_exec(
            self._program,
            "--input-type=module",
            "-e",
            _PROLOGUE + script,
            cwd=FOLDER,
            env={"BASE_URL": base_url, "KEY": key},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_WITHIN_S):
                said, complaint = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode:
            raise AssertionError(f"node ended with {process.returncode}: {complaint.decode()}")
        return json.loads(said)
