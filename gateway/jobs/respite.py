"""One worker's rest from an archive that does not answer, so that not each job finds it out anew. Asks nothing.

One job that gets no answer says little: its own object may be what is wrong. Two in a row, with no answer to anybody in
between, say that it is the archive. While it rests nobody asks; then the first that gets no answer begins a new rest.
"""

from dataclasses import dataclass
from math import inf
from typing import Final

REST_S: Final = 5.0


@dataclass
class Respite:
    """What one worker process last heard from the archive, by its own monotonic clock, in seconds."""

    _until_s: float = -inf
    _answered_s: float = -inf
    _silent_to: str | None = None

    def left_s(self, now_s: float) -> float:
        """For how long nobody is to ask; 0.0 when anybody may."""
        return max(self._until_s - now_s, 0.0)

    def answered(self, now_s: float) -> None:
        """It answered somebody."""
        self._answered_s, self._until_s, self._silent_to = now_s, -inf, None

    def silent(self, job_id: str, asked_s: float, now_s: float) -> bool:
        """It did not answer a job that asked at that moment; whether it is to rest."""
        if self._answered_s >= asked_s:
            return False
        before, self._silent_to = self._silent_to, job_id
        if before in (None, job_id):
            return False
        self._until_s = now_s + REST_S
        return True
