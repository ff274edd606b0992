"""Times as whole milliseconds since 1970 UTC, and as RFC 3339 text on the wire ("2026-01-01T00:00:00.000Z")."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Final

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

SECOND_MS: Final = 1_000
DAY_MS: Final = 86_400_000
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])(?:\.([0-9]{1,9})[0-9]*)?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))?"
).fullmatch
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T").fullmatch
_CLOCK = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]").fullmatch
_TEXT_MAX: Final = 64
_DAY_SECONDS: Final = DAY_MS // SECOND_MS


def milliseconds(at: datetime) -> int:
    """Milliseconds since 1970 UTC of an aware datetime; finer digits are cut off."""
    return (at - EPOCH) // _MILLISECOND


def aware_datetime(at_ms: int) -> datetime:
    """The UTC datetime of milliseconds since 1970."""
    return EPOCH + timedelta(milliseconds=at_ms)


def optional_datetime(at_ms: int | None) -> datetime | None:
    """As aware_datetime(), None for None."""
    return None if at_ms is None else aware_datetime(at_ms)


TIMESTAMP_MIN_MS: Final = milliseconds(datetime(2000, 1, 1, tzinfo=UTC))
TIMESTAMP_MAX_MS: Final = milliseconds(datetime(2101, 1, 1, tzinfo=UTC)) - 1
ANCHOR_MIN_MS: Final = 0
"""A billing anchor may be as old as 1970, long before any usage."""


def parse_timestamp(value: Any) -> int:
    """Milliseconds since 1970 UTC of RFC 3339 text; without an offset it is UTC; years 2000-2100.

    Raises PydanticCustomError of type timestamp_invalid.
    """
    if type(value) is str:  # as Tally itself writes it: nearly all traffic
        try:
            return _DAY_MS[value[:11]] + _CLOCK_MS[value[11:19]] + _FRACTION_MS[value[19:]]
        except KeyError:
            pass
    return _parse_any(value)


def parse_anchor(value: Any) -> int:
    """As parse_timestamp(), in the years 1970-2100."""
    return _parse_any(value, ANCHOR_MIN_MS)


def _parse_any(value: Any, min_ms: int = TIMESTAMP_MIN_MS) -> int:
    match = _RFC3339(value) if type(value) is str and len(value) <= _TEXT_MAX else None
    if match is None:
        raise _invalid(min_ms)
    day, hours, minutes, seconds, fraction, sign, offset_hours, offset_minutes = match.groups()
    try:
        at_ms = milliseconds(datetime.fromisoformat(f"{day}T{hours}:{minutes}:{seconds}+00:00"))
    except ValueError:
        raise _invalid(min_ms) from None
    if fraction is not None:
        at_ms += int(fraction[:3].ljust(3, "0"))
    if sign is not None:
        offset_ms = (int(offset_hours) * 60 + int(offset_minutes)) * 60 * SECOND_MS
        at_ms += offset_ms if sign == "-" else -offset_ms
    if not min_ms <= at_ms <= TIMESTAMP_MAX_MS:
        raise _invalid(min_ms)
    return at_ms


def optional_timestamp(value: Any) -> int | None:
    """As parse_timestamp(), but null means omitted."""
    return None if value is None else parse_timestamp(value)


def optional_anchor(value: Any) -> int | None:
    """As parse_anchor(), but null means omitted."""
    return None if value is None else parse_anchor(value)


def timestamp_text(at_ms: int) -> str:
    """'2026-01-01T00:00:00.000Z' of milliseconds since 1970."""
    seconds = at_ms // SECOND_MS
    day, second = seconds // _DAY_SECONDS, seconds % _DAY_SECONDS
    return f"{_DAY_TEXT[day]}{_CLOCK_TEXT[second]}{_FRACTION_TEXT[at_ms % SECOND_MS]}"


def timestamp_of_own(text: str) -> int:
    """The inverse of timestamp_text(), of a time that Tally wrote itself: the period of an event in the years
    2000-2100 may begin before them and end after them."""
    return milliseconds(datetime.fromisoformat(text))


def optional_timestamp_of_own(text: str | None) -> int | None:
    """As timestamp_of_own(), None for None."""
    return None if text is None else timestamp_of_own(text)


@lru_cache(maxsize=1024)
def frequent_timestamp_text(at_ms: int) -> str:
    """As timestamp_text(), for times that come many times over: of a batch's append, of a period's end."""
    return timestamp_text(at_ms)


def optional_timestamp_text(at_ms: int | None) -> str | None:
    """As timestamp_text(), None for None."""
    return None if at_ms is None else frequent_timestamp_text(at_ms)


class _DayMs(dict[str, int]):
    """The milliseconds at which a day begins, by its text with the T; filled as days are asked for."""

    def __missing__(self, day: str) -> int:
        if _DAY(day) is None:
            raise KeyError(day)
        try:
            day_ms = milliseconds(datetime.fromisoformat(f"{day}00:00:00+00:00"))
        except ValueError:
            raise KeyError(day) from None
        if not TIMESTAMP_MIN_MS <= day_ms <= TIMESTAMP_MAX_MS:
            raise KeyError(day)
        self[day] = day_ms
        return day_ms


class _ClockMs(dict[str, int]):
    """The milliseconds of a day that have gone by at a time, hh:mm:ss."""

    def __missing__(self, clock: str) -> int:
        if _CLOCK(clock) is None:
            raise KeyError(clock)
        at_ms = ((int(clock[:2]) * 60 + int(clock[3:5])) * 60 + int(clock[6:])) * SECOND_MS
        self[clock] = at_ms
        return at_ms


class _DayText(dict[int, str]):
    """The inverse of _DayMs, by the number of the day since 1970."""

    def __missing__(self, day: int) -> str:
        text = self[day] = (EPOCH.date() + timedelta(days=day)).isoformat() + "T"
        return text


class _ClockText(dict[int, str]):
    """The inverse of _ClockMs, by the seconds."""

    def __missing__(self, seconds: int) -> str:
        minutes, second = divmod(seconds, 60)
        hour, minute = divmod(minutes, 60)
        text = self[seconds] = f"{hour:02d}:{minute:02d}:{second:02d}"
        return text


# What each holds is bounded: there are 36,890 days in the years 2000-2100, and a day has 86,400 seconds.
_DAY_MS: Final = _DayMs()
_CLOCK_MS: Final = _ClockMs()
_DAY_TEXT: Final = _DayText()
_CLOCK_TEXT: Final = _ClockText()
_FRACTION_TEXT: Final = tuple(f".{fraction:03d}Z" for fraction in range(SECOND_MS))
_FRACTION_MS: Final = {"Z": 0, **{text: fraction for fraction, text in enumerate(_FRACTION_TEXT)}}


def _invalid(min_ms: int = TIMESTAMP_MIN_MS) -> PydanticCustomError:
    return PydanticCustomError(
        "timestamp_invalid",
        "must be a time as in RFC 3339, such as 2026-01-31T12:00:00.000Z, in the years {first_year}-2100",
        {"first_year": aware_datetime(min_ms).year},
    )


_TEXT_SCHEMA = {
    "type": "string",
    "format": "date-time",
    "examples": ["2026-01-31T12:00:00.000Z"],
}
_SCHEMA = {
    **_TEXT_SCHEMA,
    "pattern": "^(20[0-9]{2}|2100)-",
    "description": "In the years 2000-2100; without an offset it is UTC.",
}
_ANCHOR_SCHEMA = {
    **_TEXT_SCHEMA,
    "pattern": "^(19[7-9][0-9]|20[0-9]{2}|2100)-",
    "description": "In the years 1970-2100; without an offset it is UTC.",
}

Timestamp = Annotated[
    int,
    PlainValidator(parse_timestamp),
    PlainSerializer(timestamp_text),
    WithJsonSchema(_SCHEMA, mode="validation"),
    WithJsonSchema(_TEXT_SCHEMA, mode="serialization"),
]
OptionalTimestamp = Annotated[
    int | None,
    PlainValidator(optional_timestamp),
    PlainSerializer(optional_timestamp_text),
    WithJsonSchema({"anyOf": [_SCHEMA, {"type": "null"}]}, mode="validation"),
    WithJsonSchema({"anyOf": [_TEXT_SCHEMA, {"type": "null"}]}, mode="serialization"),
]
Anchor = Annotated[
    int,
    PlainValidator(parse_anchor),
    PlainSerializer(timestamp_text),
    WithJsonSchema(_ANCHOR_SCHEMA, mode="validation"),
    WithJsonSchema(_TEXT_SCHEMA, mode="serialization"),
]
OptionalAnchor = Annotated[
    int | None,
    PlainValidator(optional_anchor),
    PlainSerializer(optional_timestamp_text),
    WithJsonSchema({"anyOf": [_ANCHOR_SCHEMA, {"type": "null"}]}, mode="validation"),
    WithJsonSchema({"anyOf": [_TEXT_SCHEMA, {"type": "null"}]}, mode="serialization"),
]
TimestampText = Annotated[str, WithJsonSchema(_TEXT_SCHEMA)]
"""A time on its way out, as timestamp_text() writes it."""
