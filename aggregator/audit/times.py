"""Times, recounted: RFC 3339 text to milliseconds by way of the standard library's datetime."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SECOND_MS: Final = 1_000
_MILLISECOND: Final = timedelta(milliseconds=1)
_TEXT_MAX: Final = 64
_FIRST: Final = (datetime(2000, 1, 1, tzinfo=UTC) - EPOCH) // _MILLISECOND
_END: Final = (datetime(2101, 1, 1, tzinfo=UTC) - EPOCH) // _MILLISECOND

_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?"
    r"([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?"
).fullmatch
_OWN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z").fullmatch


def time_of(value: Any) -> int | None:
    """Milliseconds since 1970 UTC of what a caller sent; None where it is no time, or outside the years 2000-2100."""
    if type(value) is not str or len(value) > _TEXT_MAX or not _RFC_3339(value):
        return None
    try:
        moment = datetime.fromisoformat(value.upper())
    except ValueError:
        return None
    at = _milliseconds(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))
    return at if _FIRST <= at < _END else None


def own_time(text: Any) -> int:
    """Milliseconds of a time that Tally has written; raises ValueError for one that it would have written otherwise."""
    if not isinstance(text, str) or not _OWN(text):
        raise ValueError(f"{text!r} is not a time with milliseconds in UTC")
    return _milliseconds(datetime.fromisoformat(text))


@lru_cache(maxsize=4_096)
def frequent_own_time(text: str) -> int:
    """As own_time(), for those that come many times over."""
    return own_time(text)


def optional_own_time(text: Any) -> int | None:
    """As own_time(), None for None."""
    return None if text is None else own_time(text)


@lru_cache(maxsize=4_096)
def time_text(at: int) -> str:
    """'2026-01-01T00:00:00.000Z' of milliseconds since 1970."""
    return (EPOCH + timedelta(milliseconds=at)).isoformat(timespec="milliseconds")[:-6] + "Z"


def _milliseconds(moment: datetime) -> int:
    return (moment - EPOCH) // _MILLISECOND
