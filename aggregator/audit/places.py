"""Where an event first stood in `usage-events`: which is its id, and what a forwarded one carries with it."""

from typing import Any, Final, NamedTuple

from aggregator.audit.evidence import Record
from aggregator.audit.times import frequent_own_time

ORIGIN_HEADERS: Final = ["origin-partition", "origin-offset", "origin-time"]

_SHIFT: Final = 48
_OFFSET_END: Final = 1 << _SHIFT
_PARTITION_END: Final = 1 << 15
_DIGITS_MAX: Final = 15


def place_of(partition: int, offset: int) -> int:
    """The one number that an event's id comes to; raises ValueError for what can be no place."""
    if not (0 <= partition < _PARTITION_END and 0 <= offset < _OFFSET_END):
        raise ValueError(f"there is no place {offset} in partition {partition}")
    return partition << _SHIFT | offset


def partition_and_offset(place: int) -> tuple[int, int]:
    """The inverse of place_of()."""
    return divmod(place, _OFFSET_END)


def id_of(place: int) -> str:
    """The id of an event."""
    return "ue_{}_{}".format(*partition_and_offset(place))


def place_of_id(value: Any) -> int | None:
    """The inverse of id_of(); None where it is no id of an event."""
    parts = value.split("_") if type(value) is str else []
    try:
        place = place_of(number_of(parts[1].encode()), number_of(parts[2].encode()))
    except (ValueError, IndexError):
        return None
    return place if id_of(place) == value else None


def number_of(digits: bytes) -> int:
    """A partition or an offset that a header holds; raises ValueError."""
    if not digits.isdigit() or len(digits) > _DIGITS_MAX:
        raise ValueError(f"{digits!r} is no number of a partition or an offset")
    return int(digits)


class Origin(NamedTuple):
    """Where a forwarded event first arrived, and the headers that it was sent with."""

    place: int
    at: int
    sent: list[tuple[str, bytes]]


def origin_of(record: Record) -> Origin | None:
    """The origin that the last three headers of a record tell of; None where they don't."""
    headers = list(record.headers)
    if [name for name, _ in headers[-3:]] != ORIGIN_HEADERS:
        return None
    partition, offset, at = (value for _, value in headers[-3:])
    try:
        place = place_of(number_of(partition), number_of(offset))
        return Origin(place, frequent_own_time(at.decode()), headers[:-3])
    except (ValueError, AttributeError):
        return None
