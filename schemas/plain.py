"""The short way through plain usage events, compiled from schemas/c where there was a C compiler at the installation.

It knows the events of nearly all traffic: printable ASCII without escapes, and numbers of 64 bits. What it does not
know it leaves to Python, and without it Python does all, with the same results. Why: docs/decisions/0018.

One by one, it reads and writes events. Many at once, it also counts them, on terms that the rules set.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, cast


class Standing(Protocol):
    """The terms on which events of one subscription and period count, and what has been counted."""

    of: Any
    """What it was made for."""

    def take(self) -> tuple[int, int, int, int, list[tuple[str, int, int]]]:
        """What was counted since the last time: times of the first event and of the latest (ms), offsets of the first
        and the last, and of each meter its name, quantity (millionths) and number of events."""


class Slice(Protocol):
    """The plain events among some records, in their order."""

    keys: list[bytes]
    """The unique key of each event that has a standing, empty of the others."""
    others: list[int]
    """The indexes of all others."""

    def count(
        self,
        start: int,
        places: Sequence[bytes | None],
        taken: dict[bytes, bytes],
        accepted: list[Any],
        of_type: type[Any],
        /,
    ) -> int:
        """Count the events from an index on: each takes its key in `taken`, and its key, packed Place, value on
        `accepted-usage` and record are added to `accepted` as a named tuple of the type. Returns the index of the first
        that is not certain, or the number of all. `places` are what is stored of all keys."""


class Compiled(Protocol):
    """What schemas/c offers; None means that something is not plain."""

    def event(self, body: bytes, make: Callable[..., Any], /) -> Any:
        """What `make` makes of the members of a body: service, subscription, user, event key, quantity in millionths,
        time in ms, invoice, event id."""

    def batch(self, body: bytes, make: Callable[..., Any], /) -> list[Any] | None:
        """As event(), of each in a body that holds nothing but `usageEvents`."""

    def sent(self, *members: Any) -> bytes | None:
        """The value on `usage-events`."""

    def Slice(  # noqa: N802 - it is a class
        self,
        records: Sequence[Any],
        partition: int,
        standings: dict[str, Standing | None],
        touched: list[Standing],
        find: Callable[[str, int], Standing | None],
    ) -> Slice:
        """Read records. `standings` has one of each subscription, or None where its events are Python's; one that it
        lacks, or of another period, is found by subscription and time (ms). Those that count() has added to are put
        into `touched`."""

    def Standing(  # noqa: N802 - it is a class
        self,
        of: Any,
        service_id: str,
        user_id: str,
        period: str,
        start: int,
        end: int | None,
        ahead_ms: int,
        age_ms: int | None,
        version: int,
        sequence: int,
        scope: str | bool | None,
        next: Standing | None,  # noqa: A002 - of another period of the subscription
    ) -> Standing:
        """Terms: whose events, in which period (as JSON, and from and to when in ms: all time where it has no end),
        how much later and earlier than their request they may have occurred; as what they are written; and what their
        unique keys have beside subscription and event key: this text, with True the event's id, with None nothing."""

    def identity(self, *members: Any) -> tuple[bytes, bytes, str] | None:
        """The unique key of an event by subscription and event key, its fingerprint, and its meter."""

    def accepted(self, *fields: Any) -> bytes | None:
        """The value on `accepted-usage` of an event that was not voided."""

    def records(
        self, buffer: bytearray, used: int, accepted: list[Any], start: int, first_offset: int, limit: int, /
    ) -> tuple[int, int]:
        """Write accepted events from an index on into the buffer, behind what is used of it and up to a limit, as
        records of Kafka's message format 2: each with its key, its value, and its place as a header. Returns what is
        used now, and how many records were written."""

    def prefixed(self, prefix: bytes, keys: list[bytes], /) -> list[bytes]:
        """The keys with a prefix."""

    def put_places(self, put: Callable[[bytes, bytes], Any], prefix: bytes, taken: dict[bytes, bytes], /) -> None:
        """put(key with the prefix, place) of each key, in the order of the keys."""

    def put_fetched(self, put: Callable[[bytes, bytes], Any], prefix: bytes, records: list[Any], name: str, /) -> bool:
        """put(key with the prefix, value of the header of the name) of each record, in the order of the keys, and of
        one key in the order of the offsets. Returns whether it did: it puts none where one of the records is not of
        fetched(), or has no key. Raises KeyError where one has no such header."""

    def fetched(self, data: bytes, start: int, end: int, offset: int, /) -> list[Any]:
        """The records from an offset on of the batch that lies there in the bytes of a fetch, uncompressed and in
        message format 2. They have what aiokafka's have, the headers as a tuple; key, value and headers are made anew
        whenever they are asked for. Raises ValueError where the bytes are damaged."""

    def with_headers(self, accepted: list[Any], /) -> list[Any]:
        """The accepted events whose record has headers."""

    def crc32c(self, data: bytearray | memoryview, /) -> int | None:
        """The CRC-32C of a buffer; None where the processor has no instruction for it."""


def _load() -> Compiled | None:
    try:
        from schemas import _plain  # type: ignore[attr-defined]  # noqa: PLC0415 - it may be missing
    except ImportError:
        return None
    return cast(Compiled, _plain)


compiled: Final = _load()
