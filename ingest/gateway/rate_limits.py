"""How many requests each API key may make of this gateway."""

from typing import Final

from ingest.keys import ApiKey

BURST_SECONDS: Final = 2


class Bucket:
    """The requests that a key may make now: so many more with each second, and two seconds' worth at the most."""

    __slots__ = ("_at", "_left", "per_second")

    def __init__(self, per_second: int, at: float) -> None:
        self.per_second = per_second
        self._left: float = per_second * BURST_SECONDS
        self._at = at

    def take(self, at: float) -> bool:
        """Make a request at a moment in seconds; False where none is left, and one will be within a second."""
        grown = self._left + (at - self._at) * self.per_second
        self._left = min(grown, self.per_second * BURST_SECONDS)
        self._at = at
        if self._left < 1:
            return False
        self._left -= 1
        return True


class RateLimits:
    """A bucket for each key that has a limit: its own, or the gateway's, where 0 is none."""

    def __init__(self, requests_per_second: int) -> None:
        self._requests_per_second = requests_per_second
        self._buckets: dict[str, Bucket] = {}

    def allow(self, key: ApiKey, at: float) -> bool:
        """Count a request of the key at a moment in seconds, unless it is one too many."""
        per_second = key.requests_per_second or self._requests_per_second
        if not per_second:
            return True
        bucket = self._buckets.get(key.id)
        if bucket is None or bucket.per_second != per_second:
            bucket = self._buckets[key.id] = Bucket(per_second, at)
        return bucket.take(at)
