"""Logging: one event with fields a line, ours and every library's through one scrubber. Configured at entry points.

JSON lines in production, coloured lines on a terminal. Never a secret, never a prompt unless the operator asked, never
the local variables of a traceback.
"""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from json import JSONEncoder
from typing import Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from gateway.telemetry import lines, redaction, scrubbing
from gateway.telemetry.lines import Answered, RequestLines, Sheet

#: Libraries that bring handlers or levels of their own; theirs are taken away.
_LIBRARIES = ("uvicorn", "uvicorn.error", "uvicorn.access", "arq", "arq.worker", "alembic", "alembic.runtime.migration")
#: These tell of every request they send, with its URL, at a level meant for people.
_CHATTY = ("httpx", "httpcore", "asyncio", "aiosqlite", "sqlalchemy", "PIL", "urllib3")


def configure(
    *,
    json: bool | None = None,
    level: str = "INFO",
    prompts: bool = False,
    hidden: Sequence[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Send all logs to ``stream``, standard error by default: as JSON, or for people, by default if it is a terminal.

    ``level`` is a name such as ``INFO``; ``prompts`` leaves prompts in; ``hidden`` are texts masked wherever they
    occur, such as those of ``Settings.secrets()``. May be called again; the last call counts.
    """
    out = sys.stderr if stream is None else stream
    as_json = not out.isatty() if json is None else json
    shared = _shared()
    renderer: Processor = (
        _as_json
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback, timestamp_key="at"
        )
    )
    scrubber = scrubbing.Scrubber(prompts=prompts, hidden=tuple(hidden))
    last: list[Processor] = [
        structlog.processors.StackInfoRenderer(),
        # A plain traceback: those with local variables show whatever a function held.
        structlog.processors.format_exc_info,
        _Scrub(scrubber),
        renderer,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        foreign_pre_chain=shared,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    _route(handler, level)
    sheet, number = Sheet(out), logging.getLevelNamesMapping()[level]
    requests = RequestLines(scrubber, sheet) if as_json and number <= logging.INFO else None
    structlog.configure(
        # Our own lines go the same way, but for the records and handlers of logging, which cost as much again.
        processors=[*shared, *last],
        logger_factory=_Pens(sheet, requests),
        wrapper_class=structlog.make_filtering_bound_logger(number),
        cache_logger_on_first_use=False,
    )


@contextmanager
def bound(*, request_id: str | None = None, job_id: str | None = None, team_id: str | None = None) -> Iterator[None]:
    """Put these ids on every entry made inside, in this task and in those it starts; ``None`` leaves one as it is."""
    given = {"request_id": request_id, "job_id": job_id, "team_id": team_id}
    with structlog.contextvars.bound_contextvars(**{name: text for name, text in given.items() if text is not None}):
        yield


def answered(told: Answered, *, own_id: bool) -> None:
    """Write the line of a request that was answered; ``own_id`` says that the request's id is of our making."""
    pens = structlog.get_config()["logger_factory"]
    if isinstance(pens, _Pens) and pens.requests is not None:
        pens.requests.write(told, structlog.contextvars.get_contextvars(), own_id=own_id)
    else:
        structlog.get_logger(lines.LOGGER).info(lines.EVENT, **told._asdict())


def redact(text: str) -> str:
    """``text`` without anything that looks like a secret; see `redaction.redact`."""
    return redaction.redact(text)


@dataclass(frozen=True, slots=True)
class _Scrub:
    """The step before rendering: whatever a line will hold has passed here."""

    scrubber: scrubbing.Scrubber

    def __call__(self, _logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
        return self.scrubber.fields(entry)


@dataclass(frozen=True, slots=True)
class _Pens:
    """Makes what writes the lines of one module."""

    sheet: Sheet
    #: What writes the lines of requests, where they are JSON and wanted.
    requests: RequestLines | None

    def __call__(self, name: str = "", *_: object) -> "_Pen":
        return _Pen(name, self.sheet)


@dataclass(frozen=True, slots=True)
class _Pen:
    """Writes lines, whatever their level: who is called at all was asked before."""

    name: str
    sheet: Sheet

    def info(self, line: str) -> None:
        """Write the line."""
        self.sheet.write(line)

    debug = warning = error = critical = msg = info


_ENCODER: Final = JSONEncoder(ensure_ascii=False)


def _as_json(_logger: WrappedLogger, _method: str, entry: EventDict) -> str:
    """The entry as JSON; what comes here is plain already."""
    return _ENCODER.encode(entry)


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]


def _route(handler: logging.Handler, level: str) -> None:
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in _LIBRARIES:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(logging.NOTSET)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(capture=True)
