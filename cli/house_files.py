"""Everything that ``torii up`` keeps, all of it under ``var/``: where each file lies, its secrets, its lock, its logs.

Private: the folder is the owner's alone, and so is the file of secrets. Makes up no secret; never touches pictures.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway import errors
from gateway.settings import sources, values

VAR = Path("var")
#: Those of the kept texts that are settings, and serve other commands in the same directory as defaults.
SETTINGS = ("TORII_SECRET_KEY", "TORII_ADMIN_TOKEN", "TORII_REDIS_URL")

_ROTATE_ABOVE_BYTES = 5 * 1024 * 1024
#: Parts of a run that was killed end within 30 s.
_LAST_RUN_ENDS_WITHIN_S = 40.0
_LOOK_EVERY_S = 0.1


@dataclass(frozen=True)
class HouseFiles:
    """The files of one gateway under its ``var/``."""

    var: Path = VAR

    @property
    def secrets(self) -> Path:
        """What the first start made up, as lines of ``NAME=text``."""
        return self.var / "secrets.env"

    @property
    def valkey(self) -> Path:
        """Valkey's folder: its configuration and its append-only file."""
        return self.var / "valkey"

    @property
    def logs(self) -> Path:
        """The parts' logs."""
        return self.var / "log"

    @property
    def lock(self) -> Path:
        """Held by ``torii up`` and each of its parts for as long as they live."""
        return self.var / "up.lock"

    def prepare(self) -> None:
        """Make the folders, for the owner alone."""
        for folder in (self.var, self.valkey, self.logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.var.chmod(0o700)

    def log(self, name: str) -> Path:
        """The log of a part; one that has grown large is put aside first."""
        path = self.logs / f"{name}.log"
        if path.exists() and path.stat().st_size > _ROTATE_ABOVE_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return path

    def read(self) -> dict[str, str]:
        """The kept texts by name; none before the first start."""
        return sources.dotenv_file(self.secrets)

    def write(self, kept: Mapping[str, str]) -> None:
        """Keep these texts, for the owner's eyes alone; a crash leaves the old file or the new one."""
        new = self.secrets.with_suffix(".new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write("# Made up by `torii up`. Whoever reads this can do everything; keep it with your backups.\n")
            file.writelines(f"{name}={text}\n" for name, text in sorted(kept.items()))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.secrets)


def environment(environ: Mapping[str, str], files: HouseFiles | None = None) -> dict[str, str]:
    """``environ`` with what ``torii up`` keeps in this directory, for the settings that nothing else gives."""
    given = {**sources.dotenv_file(values.DOTENV), **{name: text for name, text in environ.items() if text}}
    kept = (files or HouseFiles()).read()
    missing = {
        name: kept[name]
        for name in SETTINGS
        if name in kept and name not in given and name + sources.FILE_SUFFIX not in given
    }
    return {**environ, **missing}


@contextlib.contextmanager
def locked(files: HouseFiles, waiting: Callable[[], None]) -> Iterator[int]:
    """Be the only ``torii up`` of this ``var/``; gives the lock's descriptor, which the parts inherit.

    Raises ``Conflict`` while another runs. One that was killed leaves parts that end by themselves: they are waited
    for, and ``waiting`` is called once.
    """
    descriptor = os.open(files.lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(descriptor, waiting)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _take(descriptor: int, waiting: Callable[[], None]) -> None:
    deadline = time.monotonic() + _LAST_RUN_ENDS_WITHIN_S
    told = False
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        owner = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        if _lives(owner):
            raise errors.Conflict(
                f"a gateway runs in this directory already (process {owner}); stop it with Ctrl-C there, "
                "or start this one in another directory"
            )
        if time.monotonic() > deadline:
            raise errors.Conflict(
                "parts of an earlier run in this directory have not ended; find them with `ps` and stop them"
            )
        if not told:
            waiting()
            told = True
        time.sleep(_LOOK_EVERY_S)


def _lives(owner: str) -> bool:
    if not owner.isdigit():
        return False
    try:
        os.kill(int(owner), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
