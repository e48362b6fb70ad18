"""Where pictures are saved: a folder, or a file of the user's name. Overwrites nothing, and leaves nothing half.

What could go wrong is tried before anything is ordered, since a picture costs credits and a folder's mode does not.
"""

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from cli.failures import Failure, Status

_EXTENSIONS: Final = MappingProxyType({"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"})
#: A gateway's id becomes part of a file's name, so it may be nothing else.
_JOB_ID: Final = re.compile(r"job_[0-9A-Za-z]{1,36}", re.ASCII)
_SUFFIXES: Final = MappingProxyType({".png": "png", ".jpg": "jpg", ".jpeg": "jpg", ".webp": "webp"})


@dataclass(frozen=True)
class Place:
    """A folder, and the name of the file in it where the user chose one."""

    folder: Path
    name: str | None = None

    @property
    def wanted_format(self) -> str | None:
        """The type of picture that the file's name promises."""
        return None if self.name is None else _SUFFIXES.get(Path(self.name).suffix.lower())

    def prepare(self) -> None:
        """Make the folder if need be, and see that a file can be written there; a ``Failure`` says why it cannot."""
        if self.name is not None and (self.folder / self.name).exists():
            said = f"--out: {self.folder / self.name} exists; nothing is overwritten"
            raise Failure("file_exists", said, Status.MISTAKE, param="out")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with _Draft(self.folder) as draft:
                draft.write(b"\0")
        except OSError as error:
            said = f"--out: {error.filename}: {error.strerror or type(error).__name__}; nothing was ordered"
            raise Failure("file_error", said, Status.MISTAKE, param="out") from error

    def save(self, data: bytes, job_id: str, number: int, of: int, content_type: str) -> Path:
        """Keep picture ``number`` (from 1) of that job; the path it has now. Raises ``OSError``, which names a file."""
        with _Draft(self.folder) as draft:
            draft.write(data)
            for path in self._names(job_id, number, of, content_type):
                if draft.take(path):
                    return path
                if _same(path, data):
                    return path
        raise AssertionError("names without an end")

    def _names(self, job_id: str, number: int, of: int, content_type: str) -> Iterator[Path]:
        """The names it may have, the best first."""
        if self.name is not None:
            wanted = self.folder / self.name
            stem, suffix = wanted.stem, wanted.suffix
            stem = stem if of == 1 else f"{stem}-{number}"
        else:
            known = job_id if _JOB_ID.fullmatch(job_id) else "picture"
            stem, suffix = f"{known}-{number}", f".{_EXTENSIONS.get(content_type, 'bin')}"
        yield self.folder / f"{stem}{suffix}"
        again = 1
        while True:
            again += 1
            yield self.folder / f"{stem}.{again}{suffix}"


def place(out: str | None) -> Place:
    """What ``--out`` means: a folder where there is one, or where the text ends like one; else a file's name."""
    if out is None:
        return Place(Path())
    path = Path(out)
    if out.endswith(os.sep) or path.is_dir() or not path.suffix:
        return Place(path)
    return Place(path.parent, path.name)


class _Draft:
    """A file under a name of nobody's interest, which is gone afterwards whatever happened."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f".torii-{secrets.token_hex(8)}.part"

    def __enter__(self) -> "_Draft":
        return self

    def __exit__(self, *ended: object) -> None:
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Write it through to the disk."""
        try:
            with self._path.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            # Of a full disk the system tells no file's name.
            raise OSError(error.errno, error.strerror, str(self._path.parent)) from error

    def take(self, path: Path) -> bool:
        """Give the file its name at once and whole; false where somebody has that name."""
        try:
            os.link(self._path, path)
        except FileExistsError:
            return False
        except OSError:
            return self._take_without_links(path)
        return True

    def _take_without_links(self, path: Path) -> bool:
        """The same on a file system that knows no links: the name is reserved first."""
        try:
            path.open("xb").close()
        except FileExistsError:
            return False
        self._path.replace(path)
        return True


def _same(path: Path, data: bytes) -> bool:
    """Whether that picture is there already, from an earlier run."""
    try:
        return path.stat().st_size == len(data) and hashlib.sha256(path.read_bytes()).digest() == _digest(data)
    except OSError:
        return False


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
