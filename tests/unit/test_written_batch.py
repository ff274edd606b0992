"""A batch that is written many records at a time is the one that aiokafka would have made of them one by one."""

from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st

from aggregator.engine import transaction, written_batch
from aggregator.engine.transaction import PLACE_HEADER, Records
from aggregator.engine.written_batch import WrittenBatch
from aggregator.rules.verdicts import Accepted
from schemas.plain import compiled
from tests.unit.world import LogRecord

AT = 1_772_360_430_456
SIZE_MAX = 10_000

pytestmark = pytest.mark.skipif(compiled is None, reason="no C compiler was there when Tally was installed")


class Producer:
    """As much of a producer as gathering records needs."""

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(SIZE_MAX, 0, is_transactional=True, key_serializer=None, value_serializer=None)


def events(sizes: Sequence[int]) -> list[Accepted]:
    record = LogRecord(0, AT, b"")
    return [Accepted(b"key-%d" % n, b"%028d" % n, b"v" * size, record) for n, size in enumerate(sizes)]


def built(batch: Any) -> bytes:
    batch.close()
    batch._set_producer_state(4_000, 7, 2**31 - 1)
    size, data = batch.size(), bytes(batch._build())
    assert bytes(batch._build()) == data  # for a second try
    assert len(data) == size
    return data


def batches_of(accepted: list[Accepted], monkeypatch: pytest.MonkeyPatch, *, with_c: bool) -> list[Any]:
    with monkeypatch.context() as patched:
        patched.setattr(transaction, "BATCH_BYTES_MAX", SIZE_MAX)
        patched.setattr("time.time", lambda: AT / 1_000)
        if not with_c:
            patched.setattr(transaction, "compiled", None)
        records: Any = Records(Producer())
        for start in range(0, len(accepted), 7):
            records.add_accepted(accepted[start : start + 7])
        return list(records.batches)


@given(st.lists(st.one_of(st.integers(0, 300), st.sampled_from([63, 64, 8_191, 8_192, 9_900, 20_000])), max_size=60))
def test_byte_by_byte_what_aiokafka_makes(sizes: list[int]) -> None:
    accepted = events(sizes)
    with pytest.MonkeyPatch.context() as patched:
        one_by_one = batches_of(accepted, patched, with_c=False)
        at_once = batches_of(accepted, patched, with_c=True)
    assert [batch.record_count() for batch in at_once] == [batch.record_count() for batch in one_by_one]
    assert [built(batch) for batch in at_once] == [built(batch) for batch in one_by_one]


def test_a_batch_can_be_read() -> None:
    batch = WrittenBatch(AT, SIZE_MAX)
    accepted = events([10, 20, 30])
    assert compiled is not None
    assert batch.add(compiled, accepted, 0) == 3
    read = MemoryRecords(built(batch)).next_batch()
    assert read is not None
    assert read.validate_crc()
    assert (read.is_transactional, read.producer_id) == (True, 4_000)
    assert [(record.offset, record.timestamp, record.key, record.value) for record in read] == [
        (n, AT, event.key, event.value) for n, event in enumerate(accepted)
    ]


def test_its_records_may_be_followed_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "BATCH_BYTES_MAX", SIZE_MAX)
    records = Records(Producer())
    records.add_accepted(events([1]))
    records.append(b"key", b"value", [(PLACE_HEADER, b"place")])
    assert [batch.record_count() for batch in records.batches] == [1, 1]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (bytearray(), 0, [], 0, 0),
        (b"", 0, [], 0, 0, 100),
        (bytearray(), 1, [], 0, 0, 100),
        (bytearray(), -1, [], 0, 0, 100),
        (bytearray(), 0, (), 0, 0, 100),
        (bytearray(), 0, [], -1, 0, 100),
        (bytearray(), 0, [], 0, -1, 100),
        (bytearray(), 0, [], 0, "", 100),
        (bytearray(), 0, [Accepted("key", b"", b"", LogRecord(0, 0, b""))], 0, 0, 100),  # type: ignore[arg-type]
    ],
)
def test_what_are_no_records_is_an_error(arguments: tuple[Any, ...]) -> None:
    assert compiled is not None
    with pytest.raises(TypeError):
        compiled.records(*arguments)
    with pytest.raises(TypeError):
        compiled.records(bytearray(), 0, [object()], 0, 0, 100)


def test_keys_are_put_in_their_order() -> None:
    assert compiled is not None
    put: list[tuple[bytes, bytes]] = []
    compiled.put_places(lambda *pair: put.append(pair), b"K", {b"b": b"1", b"a": b"2", b"": b"3", b"ab": b"4"})
    assert put == [(b"K", b"3"), (b"Ka", b"2"), (b"Kab", b"4"), (b"Kb", b"1")]
    assert compiled.prefixed(b"K", [b"b", b""]) == [b"Kb", b"K"]
    for key in ("a", 1):
        with pytest.raises(TypeError):
            compiled.put_places(lambda *_: None, b"K", {key: b""})  # type: ignore[dict-item]
        with pytest.raises(TypeError):
            compiled.prefixed(b"K", [key])  # type: ignore[list-item]
    with pytest.raises(ZeroDivisionError):
        compiled.put_places(lambda *_: 1 // 0, b"K", {b"a": b""})


def test_whose_sender_may_wait_is_found() -> None:
    assert compiled is not None
    silent, waiting = LogRecord(0, AT, b""), LogRecord(1, AT, b"", headers=(("reply-to", b"x"),))
    accepted = [Accepted(b"a", b"", b"", silent), Accepted(b"b", b"", b"", waiting)]
    assert compiled.with_headers(accepted) == accepted[1:]
    for nothing in ([()], [(b"", b"", "", silent)], [object()]):
        with pytest.raises(TypeError):
            compiled.with_headers(nothing)


@given(st.binary(max_size=100))
def test_a_checksum_is_kafkas(data: bytes) -> None:
    assert compiled is not None
    assert compiled.crc32c(bytearray(data)) in (None, calc_crc32c(data))


def test_without_the_instruction_the_checksum_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = memoryview(b"123456789")
    assert written_batch._crc32c(data) == 0xE3069283  # the check value of CRC-32C
    monkeypatch.setattr(written_batch, "compiled", None)
    assert written_batch._crc32c(data) == 0xE3069283
