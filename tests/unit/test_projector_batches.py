"""What one transaction of the projector takes in is bounded in bytes as well."""

from dataclasses import dataclass

import pytest
from aiokafka import TopicPartition

from aggregator.projector.batches import portions

A, B = TopicPartition("a", 0), TopicPartition("b", 0)


@dataclass(frozen=True)
class Record:
    key: bytes | None
    value: bytes | None


def of(size: int) -> Record:
    """A record of this size, in its key and its value."""
    return Record(b"k" if size else None, bytes(size - 1) if size > 1 else None)


@pytest.mark.parametrize(
    ("sizes", "portioned"),
    [
        ({}, []),
        ({A: [0]}, [{A: [0]}]),
        ({A: [4, 6]}, [{A: [4, 6]}]),
        ({A: [4, 7]}, [{A: [4]}, {A: [7]}]),
        ({A: [11]}, [{A: [11]}]),
        ({A: [1, 99, 1]}, [{A: [1]}, {A: [99]}, {A: [1]}]),
        ({A: [3, 3], B: [3, 3]}, [{A: [3, 3], B: [3]}, {B: [3]}]),
        ({A: [5], B: [5, 10, 0]}, [{A: [5], B: [5]}, {B: [10, 0]}]),
    ],
)
def test_records_are_portioned_by_their_bytes_in_order(
    sizes: dict[TopicPartition, list[int]], portioned: list[dict[TopicPartition, list[int]]]
) -> None:
    records = {place: [of(size) for size in some] for place, some in sizes.items()}
    expected = [{place: [of(size) for size in some] for place, some in portion.items()} for portion in portioned]
    assert list(portions(records, 10)) == expected
