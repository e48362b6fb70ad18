"""The rate limit of the whole API: fixed windows and X-RateLimit headers (pixeldojo.md 1.9). Reads no clock."""

import math


class Limiter:
    """Counts requests of the window that began with its first one."""

    def __init__(self) -> None:
        self._began_at = 0.0
        self._used = 0

    def admit(self, now: float, limit: int, window_s: float) -> tuple[bool, dict[str, str]]:
        """Count one request; says whether it is admitted, and the headers to answer with."""
        if now >= self._began_at + window_s:
            self._began_at = now
            self._used = 0
        admitted = self._used < limit
        if admitted:
            self._used += 1
        ends_at = self._began_at + window_s
        headers = {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(limit - self._used),
            "X-RateLimit-Reset": str(math.ceil(ends_at)),
        }
        if not admitted:
            headers["Retry-After"] = str(max(1, math.ceil(ends_at - now)))
        return admitted, headers
