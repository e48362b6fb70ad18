"""The log line of a request: the one that is written most, so it does not go through the steps of all others.

Looks like any other line and holds nothing that another could not: what a caller may have written is masked, what we
made ourselves is not looked through. Lines of one turn of the event loop are written together, at the turn's end.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TextIO

import msgspec

from gateway.telemetry.scrubbing import Scrubber

EVENT: Final = "request"
#: Whose lines they are.
LOGGER: Final = "service.envelope"
REQUEST_ID: Final = "request_id"

#: Texts that were looked through and hold nothing: paths and addresses come again.
_CLEAN_MAX: Final = 4096
_CLEAN_CHARACTERS: Final = 256
#: Of what is bound to a request: ids, which are texts, under names that say nothing.
_IDS: Final = frozenset({REQUEST_ID, "team_id", "key_id", "job_id", "trace_id"})

_ENCODER: Final = msgspec.json.Encoder()


class Answered(NamedTuple):
    """What a line tells of a request."""

    method: str
    path: str
    #: The template of its route: ours, as are the method's names.
    route: str
    status: int
    duration_ms: float
    client: str | None


class Sheet:
    """What lines are written on: at once, or all of one turn of the event loop together."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._waiting: list[str] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def write(self, line: str) -> None:
        """Write the line; one that cannot be written is lost, and the work it tells of goes on."""
        with suppress(OSError, ValueError):
            self._out.write(f"{line}\n")
            self._out.flush()

    def later(self, line: str) -> None:
        """Write the line once the event loop has done what it has to do now; at once where there is no loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.write(line)
            return
        if not self._waiting or loop is not self._loop:
            self._loop = loop
            loop.call_soon(self.flush)
        self._waiting.append(line)

    def flush(self) -> None:
        """Write what waits."""
        lines, self._waiting = self._waiting, []
        if lines:
            self.write("\n".join(lines))


class RequestLines:
    """Writes the lines of requests as JSON."""

    def __init__(self, scrubber: Scrubber, sheet: Sheet) -> None:
        self._scrubber = scrubber
        self._sheet = sheet
        self._clean: set[str] = set()

    def write(self, told: Answered, bound: Mapping[str, Any], *, own_id: bool) -> None:
        """Tell of a request, with what is bound to it; ``own_id`` says that its id is of our making."""
        line: dict[str, object] = {
            "method": told.method,
            "path": self._shown(told.path),
            "route": told.route,
            "status": told.status,
            "duration_ms": told.duration_ms,
            "client": None if told.client is None else self._shown(told.client),
            "event": EVENT,
        }
        for name, value in bound.items():
            if name in _IDS and isinstance(value, str):
                line[name] = value if own_id and name == REQUEST_ID else self._shown(value)
            else:
                line |= self._scrubber.fields({name: value})
        line["level"], line["logger"] = "info", LOGGER
        line["at"] = f"{datetime.now(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
        self._sheet.later(_encoded(line))

    def _shown(self, text: str) -> str:
        if text in self._clean:
            return text
        masked = self._scrubber.text(text)
        if masked == text and len(text) <= _CLEAN_CHARACTERS:
            if len(self._clean) >= _CLEAN_MAX:
                self._clean.clear()
            self._clean.add(text)
        return masked


def _encoded(line: Mapping[str, object]) -> str:
    try:
        return _ENCODER.encode(line).decode()
    except UnicodeEncodeError:
        # Half of a surrogate pair, out of a path.
        return json.dumps(line, ensure_ascii=False)
