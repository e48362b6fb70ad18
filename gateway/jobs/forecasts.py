"""One worker's memory of what it expects of each model, so that not every look costs a calculation. Kept nowhere else.

Also whether the upstream's calls come: when some in a row did not, jobs are looked at as if there were none, until the
next one comes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.jobs import expect
from gateway.jobs.expect import Forecast
from gateway.jobs.inspection import Interval

#: A forecast that was made of at least so many jobs is good for so long.
_SETTLED = 20
_GOOD_FOR_S = 5.0
#: So many jobs in a row that ended uncalled show that nobody calls.
_MISSED = 3
_MOST_KEPT = 1000


@dataclass
class Forecasts:
    """Forecasts by model and resolution, each with the moment it was made, on this worker's monotonic clock."""

    _kept: dict[tuple[str, str], tuple[float, Forecast]] = field(default_factory=dict)
    _missed_calls: int = 0

    def find(self, model: str, resolution: str, now_s: float) -> Forecast | None:
        """The forecast in hand, if it is still good."""
        made_s, found = self._kept.get((model, resolution), (0.0, None))
        return found if now_s - made_s < _GOOD_FOR_S else None

    def make(
        self,
        model: str,
        resolution: str,
        seen: Sequence[Interval],
        typical_s: float,
        now_s: float,
        *,
        called: bool = False,
    ) -> Forecast:
        """A new forecast, kept if it will not change with the next job."""
        made = expect.forecast(seen, typical_s, called=called)
        if len(seen) >= _SETTLED:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[model, resolution] = (now_s, made)
        return made

    @property
    def calls_come(self) -> bool:
        """Whether the upstream's calls are to be counted on, where it was asked for them."""
        return self._missed_calls < _MISSED

    def note_call(self, *, came: bool) -> None:
        """Take down whether a job's end was called in."""
        before = self.calls_come
        self._missed_calls = 0 if came else self._missed_calls + 1
        if self.calls_come != before:
            self._kept.clear()
