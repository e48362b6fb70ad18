"""What a waiting user sees of a job, on stderr: a bar with the expected time on a terminal, else a line a change.

Decides nothing. Text of others cannot steer the terminal.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.progress_bar import ProgressBar
from rich.text import Text

from cli import screen
from cli.failures import Failure

#: The states in words for people who wait.
_WORDS: Final = MappingProxyType(
    {
        "queued": "waiting for its turn",
        "submitting": "being sent",
        "submission_unknown": "sent, and the answer was lost; looking for it",
        "running": "being made",
        "archiving": "being kept",
        "completed": "done",
        "failed": "failed",
        "cancelled": "cancelled",
    }
)
_BAR_WIDTH: Final = 30
#: A bar that is full and goes on is a lie.
_ALMOST: Final = 0.99
#: From here on a span is told in minutes.
_IN_MINUTES_S: Final = 120


class Teller(Protocol):
    """Speaks to whoever waits."""

    def waiting(self, expected_s: float | None) -> AbstractContextManager[None]:
        """For as long as the job takes, with the seconds that it should."""

    def state(self, body: dict[str, Any]) -> None:
        """The job has moved."""

    def say(self, text: str) -> None:
        """One line."""

    def again(self, failure: Failure, wait_s: float) -> None:
        """The gateway asks for patience."""


def teller(*, quiet: bool) -> Teller:
    """The one for this process's stderr."""
    out = screen.console(stderr=True)
    if quiet:
        return _Silent()
    return _Bar(out) if out.is_terminal and not out.is_dumb_terminal else _Lines(out)


def words(state: str) -> str:
    """A state in words; one that is not known is its own word."""
    return _WORDS.get(state, screen.plain(state))


class _Silent:
    """Says nothing."""

    def waiting(self, expected_s: float | None) -> AbstractContextManager[None]:
        del expected_s
        return nullcontext()

    def state(self, body: dict[str, Any]) -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def again(self, failure: Failure, wait_s: float) -> None:
        pass


@dataclass
class _Lines:
    """For a log or a pipe: a line a change."""

    out: Console

    @contextmanager
    def waiting(self, expected_s: float | None) -> Iterator[None]:
        if expected_s:
            self.say(f"it should take about {_span(expected_s)}")
        yield

    def state(self, body: dict[str, Any]) -> None:
        self.say(f"{body['jobId']}: {words(body['state'])}")

    def say(self, text: str) -> None:
        self.out.print(screen.plain(text), soft_wrap=True)

    def again(self, failure: Failure, wait_s: float) -> None:
        self.say(f"{failure.message} Trying again in {_span(wait_s)}.")


class _Bar(_Lines):
    """For a terminal: one line that moves."""

    def __init__(self, out: Console) -> None:
        super().__init__(out)
        self._progress: Progress | None = None

    @contextmanager
    def waiting(self, expected_s: float | None) -> Iterator[None]:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), _ExpectedBar(), _Left())
        with Progress(*columns, console=self.out, transient=True) as progress:
            progress.add_task("being ordered", total=expected_s)
            self._progress = progress
            try:
                yield
            finally:
                self._progress = None

    def state(self, body: dict[str, Any]) -> None:
        if self._progress is not None:
            for task in self._progress.task_ids:
                self._progress.update(task, description=words(body["state"]))

    def again(self, failure: Failure, wait_s: float) -> None:
        if self._progress is None:
            super().again(failure, wait_s)
            return
        for task in self._progress.task_ids:
            said = f"{screen.plain(failure.message)} Trying again in {_span(wait_s)}."
            self._progress.update(task, description=said)


class _ExpectedBar(BarColumn):
    """A bar that fills with time, and swings once the expected time is over."""

    def render(self, task: Task) -> ProgressBar:
        elapsed_s, total_s = task.elapsed or 0.0, task.total
        over = not total_s or elapsed_s >= total_s
        return ProgressBar(
            total=total_s or None,
            completed=min(elapsed_s, _ALMOST * (total_s or 0.0)),
            width=_BAR_WIDTH,
            pulse=over,
            animation_time=task.get_time(),
            style=self.style,
            complete_style=self.complete_style,
            finished_style=self.finished_style,
            pulse_style=self.pulse_style,
        )


class _Left(ProgressColumn):
    """How long it took so far, and how much longer it should."""

    def render(self, task: Task) -> Text:
        elapsed_s = task.elapsed or 0.0
        said = f"{elapsed_s:.0f} s"
        if task.total:
            left_s = task.total - elapsed_s
            said += f", about {_span(left_s)} left" if left_s > 0 else ", longer than expected"
        return Text(said, style="dim")


def _span(seconds: float) -> str:
    """A span as people say it."""
    whole = max(round(seconds), 1)
    return f"{whole} s" if whole < _IN_MINUTES_S else f"{whole // 60} min {whole % 60} s"
