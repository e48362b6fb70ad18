"""Shows what is added to log files, as it is added. Reads alone."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

_LOOK_EVERY_S = 0.2


async def follow(logs: Mapping[str, Path], show: Callable[[str, str], None]) -> None:
    """Give each new whole line to ``show``, with its log's name, until cancelled."""
    read = {name: path.stat().st_size if path.exists() else 0 for name, path in logs.items()}
    while True:
        for name, path in logs.items():
            if path.exists():
                with path.open("rb") as log:
                    log.seek(read[name])
                    whole, _, _ = log.read().rpartition(b"\n")
                if whole:
                    read[name] += len(whole) + 1
                    for line in whole.decode(errors="replace").splitlines():
                        show(name, line)
        await asyncio.sleep(_LOOK_EVERY_S)
