"""Where files of a test may lie that nobody needs after it: in memory, where there is room, and else on the disk.

What a test waits for is then not the disk of a crowded machine. Nothing here asks whether a file outlives the machine.
"""

import os
import shutil
from pathlib import Path

_MOUNT = Path("/dev/shm")  # noqa: S108  everything below it is made by tempfile
#: What a run of the whole suite has at once, several times over. A container often has 64 MiB.
_ROOM_BYTES = 6 << 30


def folder() -> Path | None:
    """The folder in memory; none where there is none, or too little room in it."""
    if not os.access(_MOUNT, os.W_OK | os.X_OK) or shutil.disk_usage(_MOUNT).free < _ROOM_BYTES:
        return None
    return _MOUNT
