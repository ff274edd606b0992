"""What the consumers of a worker give out for each record: aiokafka's own, as it was decoded.

aiokafka 0.14.0 makes of each decoded record a dataclass of eleven fields, which costs more than to read the event in
it. What it is made of has the fields that a worker needs: offset, timestamp, timestamp_type, key, value and headers.
"""

from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import PartitionRecords


def give_out_decoded_records() -> None:
    """Have all consumers of this process, which must be without deserializers, give out the records as decoded."""
    PartitionRecords._consumer_record = _as_it_is


def _as_it_is(_: PartitionRecords, _partition: TopicPartition, record: Any) -> Any:
    return record
