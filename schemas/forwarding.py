"""Where a forwarded event first arrived: what the headers of a record of `usage-forwarded` say of its origin.

The event keeps the headers it was sent with. A worker adds its own at the end, so of a name that the sender used too,
the last one counts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from schemas.timestamps import timestamp_of_own, timestamp_text

_PARTITION, _OFFSET, _TIME = "origin-partition", "origin-offset", "origin-time"
_DIGITS_MAX = 19

Headers = list[tuple[str, bytes]]


@dataclass(slots=True, frozen=True)
class Origin:
    """A place in `usage-events` and its append time in ms."""

    partition: int
    offset: int
    at: int

    def headers(self) -> Headers:
        """The headers that tell of it."""
        return [
            (_PARTITION, b"%d" % self.partition),
            (_OFFSET, b"%d" % self.offset),
            (_TIME, timestamp_text(self.at).encode()),
        ]


def split_origin(headers: Iterable[tuple[str, bytes]]) -> tuple[Headers, Origin] | None:
    """The headers as they were sent, and the origin that a worker added; None where no worker did."""
    received = list(headers)
    sent, added = received[:-3], received[-3:]
    if [name for name, _ in added] != [_PARTITION, _OFFSET, _TIME]:
        return None
    partition, offset, at = (value for _, value in added)
    try:
        return sent, Origin(_number(partition), _number(offset), timestamp_of_own(at.decode()))
    except (ValueError, AttributeError):  # the latter of a header that is null
        return None


def origin_in(headers: Mapping[str, bytes | None]) -> Origin:
    """The origin that headers tell of, each by its name. Raises ValueError and LookupError where they do
    not."""
    partition, offset, at = headers[_PARTITION], headers[_OFFSET], headers[_TIME]
    if partition is None or offset is None or at is None:
        raise ValueError("a header of the origin is null")
    return Origin(_number(partition), _number(offset), timestamp_of_own(at.decode()))


def _number(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > _DIGITS_MAX:
        raise ValueError(digits)
    return int(digits)
