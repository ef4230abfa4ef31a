"""Counts failures and says when there were too many."""

import heapq
from typing import Final

#: Seconds over which failures are counted.
PERIOD: Final = 60.0
#: Seconds that nobody is kept waiting for: far more than sums of floating-point numbers are off by.
_TOLERANCE: Final = 0.001


class Throttle:
    """Lets each key fail `limit` times at once, then once more every `PERIOD / limit` seconds.

    A token bucket, kept as one number per key: the moment at which its bucket is full again (the generic
    cell rate algorithm, ITU-T I.371, annex A). A key whose moment has passed needs no memory.

    Never holds more than `capacity` keys: beyond it, the keys with the fewest failures are forgotten, so
    that many keys that fail once do not wipe out the count of one that fails often.
    """

    def __init__(self, limit: int, *, capacity: int = 10_000) -> None:
        self._limit = limit
        self._interval = PERIOD / limit
        self._capacity = capacity
        self._full_at: dict[str, float] = {}

    def wait(self, key: str, now: float) -> float:
        """Seconds until `key` may be charged at `now`, a monotonic time in seconds; 0 when it may at once."""
        wait = self._full_at.get(key, now) - now + self._interval - PERIOD
        return wait if wait > _TOLERANCE else 0.0

    def charge(self, key: str, now: float) -> None:
        """Count one failure of `key`."""
        if key not in self._full_at and len(self._full_at) >= self._capacity:
            self._make_room(now)
        self._full_at[key] = max(self._full_at.get(key, now), now) + self._interval

    def refund(self, key: str, now: float) -> None:
        """Take one `charge` of `key` back."""
        full_at = self._full_at.get(key, now) - self._interval
        if full_at > now:
            self._full_at[key] = full_at
        else:
            self._full_at.pop(key, None)

    def _make_room(self, now: float) -> None:
        # A tenth at once, so that the search is paid for by many charges.
        for key in heapq.nsmallest(max(1, self._capacity // 10), self._full_at, key=self._full_at.__getitem__):
            del self._full_at[key]
