"""How far behind a reader is in time."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True, frozen=True)
class Behind:
    """Where the reading of a log stands: how many records are left, and when the last one read was appended, if one
    was, in seconds of the same clock as all times here."""

    lag: int
    last_at: float | None


class Ages(Generic[Key]):
    """Knows the age in seconds that the oldest unread record of a log can have at the most.

    That record was appended after the last one that was read, and after the last time that nothing was left. The
    later of the two is the bound: after an idle hour, the first record is not an hour old.
    """

    def __init__(self) -> None:
        self._had_nothing_left: dict[Key, float] = {}
        self._first_seen: dict[Key, float] = {}

    def observe(self, now: float, logs: Mapping[Key, Behind]) -> dict[Key, float]:
        """The age of each log. One that is not among them is somebody else's now."""
        self._first_seen = {key: self._first_seen.get(key, now) for key in logs}
        left = {key: at for key, at in self._had_nothing_left.items() if key in logs}
        self._had_nothing_left = left | {key: now for key, behind in logs.items() if behind.lag == 0}
        return {key: max(0.0, now - self._bound(key, behind.last_at)) for key, behind in logs.items()}

    def _bound(self, key: Key, last_at: float | None) -> float:
        known = [at for at in (last_at, self._had_nothing_left.get(key)) if at is not None]
        return max(known, default=self._first_seen[key])
