"""What one transaction of the projector takes in is bounded in bytes as well."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from aiokafka import TopicPartition

from aggregator.projector.batches import Table, portions
from aggregator.projector.events import PORTION_BYTES_MAX, Events
from aggregator.settings import ProjectorSettings
from schemas.topics import MIB, Topic

A, B = TopicPartition("a", 0), TopicPartition("b", 0)


@dataclass(frozen=True)
class Record:
    key: bytes | None
    value: bytes | None
    offset: int = 0
    headers: Sequence[tuple[str, bytes]] = ()


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


async def test_no_batch_of_rejected_records_exhausts_the_memory_however_large_they_are() -> None:
    place = TopicPartition(Topic.REJECTED_USAGE, 0)
    value = bytes(MIB)
    headers = {
        "reject-code": b"invalid_body",
        "reject-field": b"",
        "reject-error": b"It is none.",
        "origin-topic": b"usage-events",
        "origin-partition": b"0",
        "origin-time": b"2026-01-01T00:00:00.000Z",
    }
    records = [
        Record(None, value, offset, (*headers.items(), ("origin-offset", b"%d" % offset))) for offset in range(5_000)
    ]
    ends, sizes = [], []
    async for batch in Events(ProjectorSettings()).batches({place: records}):
        ends.append(batch.after[place])
        sizes.append(sum(len(row[-1]) for row in batch.rows[Table.REJECTED_USAGE_EVENTS]))
    assert (sum(sizes), ends[-1], sorted(ends)) == (5_000 * MIB, 5_000, ends)
    assert max(sizes) <= PORTION_BYTES_MAX
