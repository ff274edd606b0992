"""Billing periods: half-open spans that tile time, by the wall clock of a subscription's time zone (contract rule 5).

Boundary number k is the anchor's wall-clock time moved by k intervals. A month without the anchor's day takes its last
day, and the next month comes back to it, because every boundary is derived from the anchor and never from its
neighbour. A wall-clock time that a clock change skips is read with the offset before the change, one that occurs twice
is read as its first occurrence (PEP 495, fold=0). So where a zone has skipped a whole day (Apia 2011-12-30), the two
boundaries of that day are one moment, there is no period between them, and its neighbours touch.
"""

from bisect import bisect_right
from calendar import monthrange
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from schemas.timestamps import aware_datetime, milliseconds, timestamp_text

_KNOWN_MAX = 32


class BillingInterval(StrEnum):
    """How long a period is; NONE never closes and is one period for all time."""

    MONTH = "MONTH"
    WEEK = "WEEK"
    DAY = "DAY"
    NONE = "NONE"


class UnknownTimeZone(ValueError):
    """There is no IANA time zone of this name."""


@dataclass(slots=True, frozen=True)
class BillingPeriod:
    """[start, end) in milliseconds since 1970 UTC; `end` is None for interval NONE, whose one period holds all time."""

    start: int
    end: int | None
    start_text: str = field(init=False, compare=False)
    json: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        end = "null" if self.end is None else f'"{timestamp_text(self.end)}"'
        object.__setattr__(self, "start_text", timestamp_text(self.start))
        object.__setattr__(self, "json", f'{{"start":"{self.start_text}","end":{end}}}')

    def __contains__(self, at: int) -> bool:
        return self.end is None or self.start <= at < self.end


_NONE = BillingPeriod(0, 0)
"""It holds no moment."""


@lru_cache(maxsize=1024)
def time_zone(name: str) -> ZoneInfo:
    """The IANA zone, from the pinned tzdata package: the same bill on every machine. Raises UnknownTimeZone."""
    place = files("tzdata") / "zoneinfo"
    parts = name.split("/")
    if not all(part and part.strip(".") for part in parts):
        raise UnknownTimeZone(name)
    try:
        with place.joinpath(*parts).open("rb") as file:
            return ZoneInfo.from_file(file, key=name)
    except (OSError, ValueError) as error:
        raise UnknownTimeZone(name) from error


class Calendar:
    """The billing periods of one subscription, from its anchor, interval and zone, which never change."""

    __slots__ = ("_anchor", "_interval", "_known", "_latest", "_starts", "_zone")

    def __init__(self, anchor: int, interval: BillingInterval, zone: str = "UTC") -> None:
        self._zone = time_zone(zone)
        self._anchor = aware_datetime(anchor).astimezone(self._zone).replace(tzinfo=None)
        self._interval = interval
        self._starts: list[int] = []
        self._known: list[BillingPeriod] = []
        self._latest = _NONE

    def period_at(self, at: int) -> BillingPeriod:
        """The period that holds a moment in ms. Usage falls into few periods, so those found are kept."""
        latest = self._latest
        if latest.end is not None and latest.start <= at < latest.end:
            return latest
        latest = self._latest = self._kept(at)
        return latest

    def _kept(self, at: int) -> BillingPeriod:
        index = bisect_right(self._starts, at)
        if index and at in (known := self._known[index - 1]):
            return known
        if len(self._known) >= _KNOWN_MAX:
            self._starts.clear()
            self._known.clear()
            index = 0
        period = self._find(at)
        self._starts.insert(index, period.start)
        self._known.insert(index, period)
        return period

    def next_period(self, period: BillingPeriod) -> BillingPeriod:
        """The period that begins where this one ends."""
        assert period.end is not None, "interval NONE has one period"
        return self.period_at(period.end)

    def _find(self, at: int) -> BillingPeriod:
        if self._interval is BillingInterval.NONE:
            return BillingPeriod(milliseconds(self._anchor.replace(tzinfo=self._zone)), None)
        number = self._number_near(at)
        start, end = self._boundary(number), self._boundary(number + 1)
        while at < start:
            number, start, end = number - 1, self._boundary(number - 1), start
        while at >= end:
            number, start, end = number + 1, end, self._boundary(number + 2)
        return BillingPeriod(start, end)

    def _number_near(self, at: int) -> int:
        wall = aware_datetime(at).astimezone(self._zone).replace(tzinfo=None)
        if self._interval is BillingInterval.MONTH:
            return (wall.year - self._anchor.year) * 12 + wall.month - self._anchor.month
        return (wall - self._anchor) // _span(self._interval)

    def _boundary(self, number: int) -> int:
        if self._interval is BillingInterval.MONTH:
            wall = _add_months(self._anchor, number)
        else:
            wall = self._anchor + number * _span(self._interval)
        return milliseconds(wall.replace(tzinfo=self._zone, fold=0).astimezone(UTC))


def _span(interval: BillingInterval) -> timedelta:
    return timedelta(days=7 if interval is BillingInterval.WEEK else 1)


def _add_months(wall: datetime, months: int) -> datetime:
    year, month = divmod(wall.year * 12 + wall.month - 1 + months, 12)
    return wall.replace(year=year, month=month + 1, day=min(wall.day, monthrange(year, month + 1)[1]))
