"""Counts what reached the emulator and what it did. Never decides anything."""

from collections import Counter, deque
from typing import Any

RATE_WINDOW_S = 60.0


class Tally:
    """Counters since the last reset; a request counts when it has reached the server, whatever becomes of it."""

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.webhooks_sent = 0
        self.downloads_with_authorization = 0
        self.peak_requests_per_minute = 0
        self._recent: deque[float] = deque()

    def receive(self, operation: str, now: float) -> None:
        """Count a request that reached the server; downloads are not calls of the API and have no rate."""
        self.received[operation] += 1
        if operation == "download":
            return
        self._recent.append(now)
        while self._recent[0] <= now - RATE_WINDOW_S:
            self._recent.popleft()
        self.peak_requests_per_minute = max(self.peak_requests_per_minute, len(self._recent))

    def shown(self) -> dict[str, Any]:
        """Return the counters under the names of the books."""
        return {
            "submitsReceived": self.received["submit"],
            "polls": self.received["poll"],
            "lists": self.received["list"],
            "modelReads": self.received["models"],
            "replays": self.received["replay"],
            "downloads": self.received["download"],
            "downloadsWithAuthorization": self.downloads_with_authorization,
            "webhooksSent": self.webhooks_sent,
            "peakRequestsPerMinute": self.peak_requests_per_minute,
            "answers": dict(sorted(self.answered.items())),
            "faults": dict(sorted(self.faults.items())),
        }
