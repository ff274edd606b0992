"""What the consumers of a worker give out for each record: aiokafka's own, as it was decoded.

aiokafka 0.14.0 makes of each decoded record a dataclass of eleven fields, which costs more than to read the event in
it. What it is made of has the fields that a worker needs: offset, timestamp, timestamp_type, key, value and headers.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from aiokafka.consumer.fetcher import FetchResult, PartitionRecords


def give_out_decoded_records() -> None:
    """Have all consumers of this process, which must be without deserializers, give out the records as decoded."""
    PartitionRecords._consumer_record = _NOTHING.get
    PartitionRecords.__iter__ = _records
    FetchResult.getall = _all


_NOTHING: dict[Any, Any] = {}
"""Its get(partition, record) is the record, without a call of Python for each."""


def _records(self: PartitionRecords) -> Iterator[Any]:
    """The generator itself: in aiokafka each record goes through a method that asks it for the next."""
    return iter(self._records_iterator)


def _all(self: FetchResult, records_max: int | None = None) -> list[Any]:
    """As aiokafka's, without a turn of a loop for each record."""
    if not self.check_assignment(self._topic_partition) or not self.has_more():
        return []
    records = list(islice(self._partition_records, records_max))
    self._update_position()
    if records_max is None or len(records) < records_max:
        self._partition_records = None
    return records
