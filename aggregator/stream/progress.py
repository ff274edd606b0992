"""Whether reading gets on: a partition that has something to read and whose position stands still is stalled."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True, frozen=True)
class Progress:
    """Where the reading of a partition stands: `position` changes with all that is done, `lag` is what is left."""

    position: int
    lag: int


@dataclass(slots=True, frozen=True)
class Stall(Generic[Key]):
    """A partition that has not moved for `seconds`, though `lag` records wait."""

    key: Key
    lag: int
    seconds: float


class Stalls(Generic[Key]):
    """Remembers when each partition last moved or had nothing left. Time is any clock's, in seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._moved: dict[Key, tuple[Progress, float]] = {}

    def observe(self, now: float, partitions: Mapping[Key, Progress]) -> None:
        """Take note of where all partitions stand. One that is not among them is somebody else's now."""
        self._moved = {key: (progress, self._moved_at(key, progress, now)) for key, progress in partitions.items()}

    def stalled(self, now: float) -> list[Stall[Key]]:
        """Those that have stood still for at least as long as is borne."""
        return [
            Stall(key, progress.lag, now - moved_at)
            for key, (progress, moved_at) in self._moved.items()
            if progress.lag > 0 and now - moved_at >= self._seconds
        ]

    def _moved_at(self, key: Key, progress: Progress, now: float) -> float:
        before, moved_at = self._moved.get(key, (None, now))
        has_stood = before is not None and before.lag > 0 and before.position == progress.position
        return moved_at if has_stood else now
