"""Writing into a local folder so that what was written is still there after a power cut. Never reads.

obstore's local store writes a file and renames it but syncs neither (seen with strace, 0.12.1): a paid picture could be
empty after a crash. So puts into a folder are made here: write, fsync, rename, fsync of every folder that changed.
"""

import os
from pathlib import Path

from gateway import ids

#: Tells the archive from the bare mount point of a disk that is not there.
_MARKER = ".torii-archive"
_MARK = b"Torii keeps its pictures here; without this file it takes the folder for an unmounted disk.\n"
_SUFFIX_LENGTH = 8


class FolderGoneError(OSError):
    """The archive's folder is not there: its disk is not mounted, or it was removed under a running process."""


class Folder:
    """A folder that holds the archive; made, and marked as such, when it is not there yet. Raises ``OSError``."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.path.mkdir(parents=True, exist_ok=True)
        if not self._is_marked():
            self._replace(self.path / _MARKER, _MARK)

    def require(self) -> None:
        """Raise `FolderGoneError` unless the folder is still the archive."""
        if not self._is_marked():
            raise FolderGoneError(f"{_MARKER} is gone from the archive's folder")

    def write(self, key: str, data: bytes) -> None:
        """Put ``data`` under ``key``: whole or not at all, and on the disk when this returns."""
        self.require()
        target = self.path / key
        self._make(target.parent)
        self._replace(target, data)

    def _is_marked(self) -> bool:
        return (self.path / _MARKER).exists()

    def _make(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._make(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)

    def _replace(self, target: Path, data: bytes) -> None:
        draft = target.with_name(f".{target.name}.{ids.base62(_SUFFIX_LENGTH)}")
        try:
            with draft.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        _sync(target.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
