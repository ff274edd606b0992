"""What is written in one transaction: rows by the table that they are for, and how far the topics are read then."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import asyncpg
from aiokafka import TopicPartition

from aggregator.stream.offsets import Offsets
from aggregator.stream.reader import Records
from schemas.topics import Topic

Row = tuple[Any, ...]


class Table(StrEnum):
    """A table that is copied to."""

    USAGE_TOTALS = "usage_totals"
    BILLING_PERIODS = "billing_periods"
    LEDGER = "ledger"
    USAGE_EVENTS = "usage_events"
    REJECTED_USAGE_EVENTS = "rejected_usage_events"


@dataclass(slots=True)
class Batch:
    """Rows, the offsets after the records that they come from, and how many of these could not be read."""

    after: Offsets = field(default_factory=dict)
    rows: dict[Table, list[Row]] = field(default_factory=dict)
    unreadable: Counter[Topic] = field(default_factory=Counter)


class Source(Protocol):
    """What makes rows of the records of some topics."""

    @property
    def read_timeout_ms(self) -> int:
        """How long it is content to wait for records."""

    async def begin(self, connection: asyncpg.Connection) -> None:
        """Called before the topics are read on from the offsets in Postgres."""

    def starts(self, offsets: Offsets, beginnings: Offsets) -> Offsets:
        """Where to read on, of where Postgres stands and where the topics begin."""

    def batches(self, records: Records) -> AsyncIterator[Batch]:
        """What is to be written, in this order; also without records there may be something."""


def portions(records: Records, bytes_max: int) -> Iterator[Records]:
    """The same records in the same order, of each portion so many bytes of keys and values at the most, or one record.

    What a portion becomes on its way to Postgres takes several times its bytes, so these are what bounds the memory.
    """
    portion: Records = {}
    size = 0
    for partition, some in records.items():
        for record in some:
            added = len(record.key or b"") + len(record.value or b"")
            if portion and size + added > bytes_max:
                yield portion
                portion, size = {}, 0
            portion.setdefault(partition, []).append(record)
            size += added
    if portion:
        yield portion


def after(records: Mapping[TopicPartition, list[Any]]) -> Offsets:
    """The offsets after these records."""
    return {partition: some[-1].offset + 1 for partition, some in records.items()}
