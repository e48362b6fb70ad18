"""The file of a backup: compressed lines of JSON with a checksum at the end, whole or not there. Knows no table.

The first line is a header, the last one a trailer; between them each table's name and columns, then its rows. A reader
believes nothing before it has seen the trailer and counted.
"""

import base64
import gzip
import hashlib
import os
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from gateway import errors, ids

#: What the first line says that the file is.
KIND: Final = "torii-backup"
#: Grows when a reader of before could not read it any more.
FORMAT: Final = 1
_MODE: Final = 0o600
_LEVEL: Final = 5


class Header(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What a backup is of; no secret is in it, and no credential."""

    kind: str = KIND
    format: int = FORMAT
    #: Of the program that wrote it.
    version: str
    schema_release: int
    #: The last migration that the database had.
    revision: str
    #: Nothing that happened later is in it.
    taken_at: datetime
    dialect: str
    #: Where its pictures were, without what a server would have to be told to give them.
    archive: str


class Trailer(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """How many rows each table has, and SHA-256 of every line before this one."""

    rows: dict[str, int]
    sha256: str


@dataclass(frozen=True)
class Contents:
    """What a whole file says of itself."""

    header: Header
    trailer: Trailer


class Writer:
    """Writes a file under another name; it has its own once it is whole and on the disk. An ``OSError`` leaves none."""

    def __init__(self, path: Path, header: Header) -> None:
        self._path = path
        self._draft = path.with_name(f".{path.name}.{ids.base62(8)}")
        self._hash = hashlib.sha256()
        self._rows: Counter[str] = Counter()
        self._table = ""
        # For its owner alone from the first byte on: digests, sealed secrets and prompts are in it.
        self._file = os.fdopen(os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE), "wb")
        self._packed = gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=self._file)
        self._line(header)

    def table(self, name: str, columns: Sequence[str]) -> None:
        """Begin a table."""
        self._table = name
        self._rows[name] = 0
        self._line({"table": name, "columns": list(columns)})

    def row(self, cells: Sequence[object]) -> None:
        """Add a row of the table that was begun."""
        self._rows[self._table] += 1
        self._line(cells)

    def finish(self) -> Trailer:
        """Make the file whole, durable and known by its name."""
        trailer = Trailer(rows=dict(self._rows), sha256=self._hash.hexdigest())
        self._line(trailer)
        self._packed.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._draft.replace(self._path)
        folder = os.open(self._path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return trailer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self._file.closed:
            self._file.close()
        self._draft.unlink(missing_ok=True)

    def _line(self, value: object) -> None:
        line = msgspec.json.encode(value) + b"\n"
        self._hash.update(line)
        self._packed.write(line)


@dataclass(frozen=True)
class Table:
    """The beginning of a table; the rows up to the next one are its own."""

    name: str
    columns: tuple[str, ...]


@dataclass
class _Count:
    rows: dict[str, int] = field(default_factory=dict)
    at: str = ""

    def see(self, item: Table | list[Any]) -> None:
        if isinstance(item, Table):
            self.at = item.name
            self.rows[item.name] = 0
        else:
            # Rows before any table are counted too, so that they fit no trailer.
            self.rows[self.at] = self.rows.get(self.at, 0) + 1


def header(path: Path) -> Header:
    """What the file says it is of; ``InvalidParameter`` for one that is no backup, or of a kind of later."""
    with _readable(path) as lines:
        return _header(path, next(lines, b""))


def verify(path: Path) -> Contents:
    """Read the whole file; ``InvalidParameter`` unless it is what was written, to the last byte."""
    with _readable(path) as lines:
        first = next(lines, b"")
        found = _header(path, first)
        hashed = hashlib.sha256(first)
        count = _Count()
        for line in lines:
            item = _item(path, line)
            if isinstance(item, Trailer):
                if next(lines, None) is not None or item.sha256 != hashed.hexdigest() or item.rows != count.rows:
                    raise _damaged(path, "its checksum or its counts are not those of its rows")
                return Contents(found, item)
            hashed.update(line)
            count.see(item)
    raise _damaged(path, "its end is missing")


def rows(path: Path) -> Iterator[Table | list[Any]]:
    """Each table's beginning, then its rows. Of a file that was verified."""
    with _readable(path) as lines:
        next(lines)
        for line in lines:
            item = _item(path, line)
            if isinstance(item, Trailer):
                return
            yield item


class _Lines:
    """The lines of a file; what is wrong with it is an ``InvalidParameter``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = gzip.open(path, "rb")  # noqa: SIM115  closed by whoever entered

    def __enter__(self) -> Iterator[bytes]:
        return self._each()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def _each(self) -> Iterator[bytes]:
        try:
            yield from self._file
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise _damaged(self._path, str(error).rstrip(".")) from None


def _readable(path: Path) -> _Lines:
    return _Lines(path)


def _header(path: Path, line: bytes) -> Header:
    try:
        said = msgspec.json.decode(line)
        if said["kind"] != KIND:
            raise _damaged(path, "it is not a backup of Torii")
        if said["format"] > FORMAT:
            raise _damaged(path, "it was written by a newer Torii; restore it with that one")
        return msgspec.convert(said, Header)
    except (msgspec.DecodeError, msgspec.ValidationError, KeyError, TypeError, ValueError):
        raise _damaged(path, "it is not a backup of Torii") from None


def _item(path: Path, line: bytes) -> Table | Trailer | list[Any]:
    try:
        said = msgspec.json.decode(line)
        if isinstance(said, list):
            return said
        if "table" in said:
            return Table(str(said["table"]), tuple(said["columns"]))
        return msgspec.convert(said, Trailer)
    except (msgspec.DecodeError, msgspec.ValidationError, KeyError, TypeError, ValueError):
        raise _damaged(path, "a line of it cannot be read") from None


def _damaged(path: Path, why: str) -> errors.InvalidParameter:
    return errors.InvalidParameter(f"{path} cannot be used: {why}", param="file")


def spell_bytes(data: bytes) -> str:
    """Bytes as JSON has them."""
    return base64.b64encode(data).decode()


def read_bytes(text: str) -> bytes:
    """The bytes of ``spell_bytes``."""
    return base64.b64decode(text, validate=True)


def manifest(contents: Contents, path: Path) -> Mapping[str, Any]:
    """What is told of a file: its header, its counts, its checksum and its size in bytes."""
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "sha256": contents.trailer.sha256,
        **msgspec.to_builtins(contents.header),
        "rows": contents.trailer.rows,
    }
