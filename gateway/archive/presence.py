"""Whether an object is still in the archive, asked at most once a minute for each, where its bytes are not read.

Remembers, within bounds, what it saw and never what it missed. Reads no picture.
"""

import math
from collections import OrderedDict
from typing import Final

from gateway import errors
from gateway.archive.bucket import Bucket
from gateway.clock import Clock

#: As long as the cache takes a picture for present that was seen.
GOOD_FOR_S: Final = 60.0
REMEMBERED_MAX: Final = 10_000


class Presence:
    """What one process has seen of the archive."""

    def __init__(self, bucket: Bucket, clock: Clock) -> None:
        self._bucket = bucket
        self._clock = clock
        self._seen: OrderedDict[str, float] = OrderedDict()

    async def require(self, key: str) -> None:
        """Return if the object was there within the minute; ``ImageNotFound`` or ``ArchiveUnavailable`` if not."""
        now_s = self._clock.monotonic()
        if now_s - self._seen.get(key, -math.inf) < GOOD_FOR_S:
            return
        if not await self._bucket.exists(key):
            self._seen.pop(key, None)
            raise errors.ImageNotFound
        self._seen[key] = now_s
        self._seen.move_to_end(key)
        if len(self._seen) > REMEMBERED_MAX:
            self._seen.popitem(last=False)
