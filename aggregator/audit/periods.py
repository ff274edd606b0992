"""Billing periods, recounted: the boundaries around a moment are written down and the moment is looked up in them."""

from bisect import bisect_right
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib.resources import files
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from aggregator.audit.times import EPOCH

_KNOWN_MAX: Final = 64
_MILLISECOND: Final = timedelta(milliseconds=1)
_DAYS: Final = {"DAY": 1, "WEEK": 7}


class Period(NamedTuple):
    """[start, end) in ms; interval NONE has no end."""

    start: int
    end: int | None


class Calendar:
    """The billing periods of a subscription (contract rule 5)."""

    def __init__(self, anchor: int, interval: str, zone: str) -> None:
        self._zone = _zone(zone)
        self._anchor = (EPOCH + anchor * _MILLISECOND).astimezone(self._zone).replace(tzinfo=None)
        self._interval = interval
        self._always = Period(anchor, None)
        self._known: list[Period] = []

    def period_at(self, at: int) -> Period:
        """The period that holds a moment."""
        if self._interval == "NONE":
            return self._always
        place = bisect_right(self._known, at, key=lambda known: known.start)
        if place:
            known = self._known[place - 1]
            assert known.end is not None
            if at < known.end:
                return known
        found = self._find(at)
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known.append(found)
        self._known.sort()
        return found

    def _find(self, at: int) -> Period:
        """Of the boundaries around the moment, the last one that is not after it and the one that follows."""
        local = (EPOCH + at * _MILLISECOND).astimezone(self._zone).replace(tzinfo=None)
        walls = self._months_around(local) if self._interval == "MONTH" else self._days_around(local)
        bounds = sorted(
            (wall.replace(tzinfo=self._zone, fold=0).astimezone(UTC) - EPOCH) // _MILLISECOND for wall in walls
        )
        place = bisect_right(bounds, at)
        return Period(bounds[place - 1], bounds[place])

    def _months_around(self, local: datetime) -> list[datetime]:
        walls = []
        for months in range(-2, 3):
            year, month = divmod(local.year * 12 + local.month - 1 + months, 12)
            day = min(self._anchor.day, monthrange(year, month + 1)[1])
            walls.append(self._anchor.replace(year=year, month=month + 1, day=day))
        return walls

    def _days_around(self, local: datetime) -> list[datetime]:
        length = _DAYS[self._interval]
        behind = (local.date() - self._anchor.date()).days % length
        date = local.date() - timedelta(days=behind)
        return [datetime.combine(date + timedelta(days=n * length), self._anchor.time()) for n in range(-2, 4)]


@lru_cache(maxsize=1_024)
def _zone(name: str) -> ZoneInfo:
    """From the pinned tzdata package and not from the machine: the same periods everywhere."""
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)
