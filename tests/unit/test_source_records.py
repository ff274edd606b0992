"""The records that a worker's consumers give out are aiokafka's, with all that a worker reads of them."""

from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from aggregator.stream.source_records import give_out_decoded_records

FIELDS = ("offset", "timestamp", "timestamp_type", "key", "value")
SENT: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]] = [
    (b"key", b"value", [("reply-to", b"3"), ("é", b"")]),
    (None, b"value", []),
    (b"key", None, []),
    (b"", b"", []),
]


def records() -> list[Any]:
    """What a consumer gives out for a batch of four."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 16)
    for number, (key, value, headers) in enumerate(SENT):
        assert builder.append(number, 1_767_225_600_000 + number, key, value, headers) is not None
    batch = MemoryRecords(bytes(builder.build()))
    return list(PartitionRecords(TopicPartition("t", 3), batch, [], 0, None, None, True, READ_COMMITTED))


@pytest.fixture
def usual() -> Iterator[list[Any]]:
    """What aiokafka gives out by itself; afterwards it does so again."""
    with pytest.MonkeyPatch.context() as patched:
        for name in ("_consumer_record", "__iter__"):
            patched.setattr(PartitionRecords, name, getattr(PartitionRecords, name))
        yield records()


def test_all_that_a_worker_reads_is_there(usual: list[Any]) -> None:
    give_out_decoded_records()
    decoded = records()
    assert type(decoded[0]) is not type(usual[0]), "it made a difference"
    for mine, theirs in zip(decoded, usual, strict=True):
        assert [getattr(mine, name) for name in FIELDS] == [getattr(theirs, name) for name in FIELDS]
        assert tuple(mine.headers) == tuple(theirs.headers)
    assert [(record.key, record.value) for record in decoded] == [(key, value) for key, value, _ in SENT]
