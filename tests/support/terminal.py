"""Runs a command on a terminal of its own, a pseudo one, and keeps what it writes there."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support import wait

_ROWS, _COLUMNS = 30, 100
_CHUNK = 65_536


class Terminal:
    """One command on a terminal; use it in a ``with``. Standard output and error are the same screen."""

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        self._written = b""
        self.process = subprocess.Popen(
            list(command), cwd=folder, env=dict(environment), stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        os.close(self._ours)

    def screen(self) -> str:
        """All that was written until now, escape sequences and all."""
        while select.select([self._ours], [], [], 0)[0]:
            try:
                piece = os.read(self._ours, _CHUNK)
            except OSError:  # Linux says EIO once the other side is closed
                break
            if not piece:
                break
            self._written += piece
        return self._written.decode(errors="replace")

    def shows(self, text: str, within_s: float) -> None:
        """Wait until a text was written."""
        wait.until_sync(lambda: text in self.screen(), timeout_s=within_s, what=f"{text!r} on the terminal")

    def interrupt(self) -> None:
        """What Ctrl-C sends."""
        self.process.send_signal(signal.SIGINT)

    def end(self, within_s: float) -> int:
        """Wait for the command's end; its status."""
        deadline_s = time.monotonic() + within_s
        while self.process.poll() is None:
            if time.monotonic() > deadline_s:
                raise AssertionError(f"not ended within {within_s} s:\n{self.screen()[-2000:]}")
            self.screen()
            time.sleep(0.02)
        self.screen()
        return self.process.returncode
