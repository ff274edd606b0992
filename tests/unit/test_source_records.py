"""The records that a worker's consumers give out are aiokafka's, with all that a worker reads of them."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED
from aiokafka.errors import CorruptRecordException
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from hypothesis import example, given
from hypothesis import strategies as st

from aggregator.stream import source_records
from aggregator.stream.source_records import give_out_decoded_records
from schemas.plain import compiled
from tests.unit.fetches import ABORT, COMMIT, Batch, Sent, fetch_of

AT = 1_767_225_600_000
PARTITION = TopicPartition("t", 3)
GZIP = 1
FIELDS = ("offset", "timestamp", "timestamp_type", "key", "value", "checksum")
SENT = [
    Sent(0, AT, b"key", b"value", [("reply-to", b"3"), ("é", b""), ("none", None), ("", b"x")]),
    Sent(1, AT + 1, None, b"v" * 200, []),
    Sent(2, -1, b"key", None, []),
    Sent(3, AT + 3, b"", b"", []),
]


class Assigned:
    """As much of an assignment and a partition's state as giving out records needs."""

    active = True
    paused = False

    def __init__(self, position: int) -> None:
        self.position = position

    def state_value(self, _: TopicPartition) -> "Assigned":
        return self

    def consumed_to(self, position: int) -> None:
        self.position = position


class Fetched:
    """A fetch from an offset on that has arrived at a consumer."""

    def __init__(self, data: bytes, offset: int = 0, aborted: Sequence[tuple[int, int]] = (), **others: Any) -> None:
        options = {"check_crcs": True, "isolation_level": READ_COMMITTED, **others}
        batches = fetcher.MemoryRecords(data)
        records = fetcher.PartitionRecords(PARTITION, batches, list(aborted), offset, None, None, **options)
        self.size = batches.size_in_bytes()
        self._state = Assigned(offset)
        self._result = fetcher.FetchResult(PARTITION, assignment=self._state, partition_records=records, backoff=0)

    def take(self, records_max: int | None) -> Any:
        """The next records, and the position behind them; 0 of them is the next one."""
        if not self._result.has_more():
            return None
        records = self._result.getall(records_max) if records_max != 0 else [self._result.getone()]
        return [_fields(record) for record in records], self._state.position

    def records(self) -> list[Any]:
        """All of them, as they are given out."""
        return list(self._result.getall())


def _fields(record: Any) -> Any:
    return None if record is None else (*(getattr(record, name) for name in FIELDS), tuple(record.headers))


def _taken(data: bytes, *of: Any, takes: Sequence[int | None] = (None,), **options: Any) -> Any:
    """What comes of some takes from a fetch; an error is what it is, and ends them."""
    try:
        fetch = Fetched(data, *of, **options)
        return [fetch.take(records_max) for records_max in takes]
    except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
        return type(error)


@contextmanager
def _giving_out(*, with_c: bool) -> Iterator[None]:
    """Records are given out decoded; afterwards they are aiokafka's again."""
    with pytest.MonkeyPatch.context() as patched:
        for name in ("MemoryRecords", "PartitionRecords", "FetchResult"):
            patched.setattr(fetcher, name, getattr(fetcher, name))
        give_out_decoded_records()
        if not with_c:
            patched.setattr(source_records, "compiled", None)
        yield


WAYS = [
    pytest.param(True, id="with C", marks=pytest.mark.skipif(compiled is None, reason="no C compiler was there")),
    pytest.param(False, id="without C"),
]
_ways = pytest.mark.parametrize("with_c", WAYS)

_texts = st.text(max_size=5)
_bytes = st.none() | st.binary(max_size=70)
_sent = st.tuples(
    st.integers(1, 3),
    st.integers(-1, 3) | st.integers(AT - 100, AT + 2**40),
    _bytes,
    _bytes,
    st.lists(st.tuples(_texts, _bytes), max_size=3),
)


def _batch(records: list[Any], beyond: int | None, **fields: Any) -> Batch:
    """With gaps between the records, and with some of the last ones compacted away."""
    sent, delta = [], -1
    for gap, *others in records:
        delta += gap
        sent.append(Sent(delta, *others))
    return Batch(sent, None if beyond is None else delta + beyond, **fields)


_data_batches = st.builds(
    _batch,
    st.lists(_sent, min_size=1, max_size=5),
    st.none() | st.integers(0, 3),
    codec=st.sampled_from([0, 0, 0, GZIP]),
    producer_id=st.sampled_from([-1, 7, 8]),
    is_transactional=st.booleans(),
    appended_at=st.none() | st.integers(-1, AT),
)
_control_batches = st.builds(
    lambda key, producer_id: Batch(
        [Sent(0, AT, key, b"")], producer_id=producer_id, is_transactional=True, is_control=True
    ),
    st.sampled_from([ABORT, COMMIT]),
    st.sampled_from([7, 8]),
)
_fetches = st.lists(st.one_of(_data_batches, _data_batches, _control_batches), min_size=1, max_size=5)
_options = st.fixed_dictionaries(
    {"check_crcs": st.booleans(), "isolation_level": st.sampled_from([READ_COMMITTED, READ_UNCOMMITTED])}
)


@_ways
@given(
    _fetches,
    st.integers(0, 5),
    st.integers(0, 12),
    st.integers(0, 40),
    st.lists(st.tuples(st.sampled_from([7, 8]), st.integers(0, 30)), max_size=3),
    st.lists(st.none() | st.integers(0, 7), min_size=1, max_size=8),
    _options,
)
@example([Batch(SENT), Batch(SENT, last=9)], 0, 0, 0, [], [3, None, None], {})
@example([Batch(SENT, producer_id=7, is_transactional=True), Batch(SENT)], 0, 0, 0, [(7, 0)], [0, 0, None], {})
def test_all_that_a_worker_reads_is_there(
    with_c: bool,
    batches: list[Batch],
    first: int,
    further: int,
    cut: int,
    aborted: list[tuple[int, int]],
    takes: list[int | None],
    options: dict[str, Any],
) -> None:
    whole = fetch_of(batches, first)
    data = whole[: len(whole) - cut]
    of = data, first + further, aborted
    usual = _taken(*of, takes=takes, **options)
    assert not isinstance(usual, type)
    with _giving_out(with_c=with_c):
        assert _taken(*of, takes=takes, **options) == usual


@_ways
def test_what_was_sent_is_given_out(with_c: bool) -> None:
    data = fetch_of([Batch(SENT)], 40)
    with _giving_out(with_c=with_c):
        fetch = Fetched(data)
        given_out = fetch.take(None)
    assert given_out == (
        [
            (40, AT, 0, b"key", b"value", None, (("reply-to", b"3"), ("é", b""), ("none", None), ("", b"x"))),
            (41, AT + 1, 0, None, b"v" * 200, None, ()),
            (42, -1, 0, b"key", None, None, ()),
            (43, AT + 3, 0, b"", b"", None, ()),
        ],
        44,
    )
    assert fetch.size == len(data)


@_ways
@pytest.mark.parametrize("codec", [0, GZIP])
@pytest.mark.parametrize("magic", [0, 1])
def test_batches_of_the_older_formats_are_aiokafkas(with_c: bool, magic: int, codec: int) -> None:
    data = b""
    for first in (0, 3):
        builder = LegacyRecordBatchBuilder(magic, codec, 1 << 16)
        for number in range(first, first + 3):
            assert builder.append(number, AT + number, b"key", b"value" * 10) is not None
        data += bytes(builder.build())
    takes = [2, 0, None, None]
    usual = _taken(data, 1, takes=takes)
    with _giving_out(with_c=with_c):
        assert _taken(data, 1, takes=takes) == usual


def _damaged(data: bytes) -> Iterator[bytes]:
    for place in range(len(data)):
        yield data[:place]
        for mask in (0x01, 0x02, 0x08, 0x40, 0x80, 0xFF):
            yield data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]


@_ways
@pytest.mark.parametrize("appended_at", [None, AT])
def test_damaged_bytes_are_an_error_or_what_they_are_to_aiokafka(with_c: bool, appended_at: int | None) -> None:
    data = fetch_of([Batch(SENT, appended_at=appended_at), Batch(SENT[:1])])
    differing = 0
    for damaged in _damaged(data):
        usual = _taken(damaged, check_crcs=False)
        with _giving_out(with_c=with_c):
            found = _taken(damaged, check_crcs=False)
        is_named_badly = usual is UnicodeDecodeError and with_c
        assert found == usual or found is CorruptRecordException or is_named_badly
        differing += found != usual and not is_named_badly
    assert differing < len(data)


@pytest.mark.skipif(compiled is None, reason="no C compiler was there; aiokafka fails on such a name")
def test_a_name_of_a_header_that_is_not_utf_8_is_shown_by_its_bytes() -> None:
    data = fetch_of([Batch([Sent(0, AT, b"key", b"value", [("é", b"1"), ("named", b"2")])])]).replace(
        "é".encode(), b"\xff\xa9"
    )
    with _giving_out(with_c=True):
        [record] = Fetched(data, check_crcs=False).records()
        assert tuple(record.headers) == (("\\xff\\xa9", b"1"), ("named", b"2"))


@_ways
def test_a_checksum_that_is_wrong_is_an_error(with_c: bool) -> None:
    data = fetch_of([Batch(SENT)])
    with _giving_out(with_c=with_c):
        for place in range(17, len(data)):
            flipped = data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]
            assert _taken(flipped) is CorruptRecordException


@pytest.mark.skipif(compiled is None, reason="no C compiler was there")
def test_without_the_instruction_the_checksum_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiled is not None
    data = fetch_of([Batch(SENT)])
    usual = _taken(data)
    with _giving_out(with_c=True):
        without = SimpleNamespace(crc32c=lambda _: None, fetched=compiled.fetched)
        monkeypatch.setattr(source_records, "compiled", without)
        assert _taken(data) == usual
        assert _taken(data[:-1] + b"x") is CorruptRecordException


@_ways
def test_after_an_error_nothing_is_lost(with_c: bool) -> None:
    """What the position has not passed is fetched again."""
    data = fetch_of([Batch(SENT), Batch(SENT)])
    with _giving_out(with_c=with_c):
        fetch = Fetched(data[:-1] + b"x")
        assert len(fetch.take(3)[0]) == 3
        with pytest.raises(CorruptRecordException):
            fetch.take(None)
        assert fetch.take(None) == ([], 3)


@_ways
def test_a_fetch_that_was_sought_away_from_gives_nothing(with_c: bool) -> None:
    with _giving_out(with_c=with_c):
        fetch = Fetched(fetch_of([Batch(SENT)]))
        fetch.take(2)
        fetch._state.position = 0
        assert fetch.take(None) == ([], 0)
        assert fetch.take(None) is None


@pytest.mark.parametrize(
    "arguments", [(), (bytearray(100), 0, 100, 0), (b"x", 0, 2, 0), (b"x", -1, 1, 0), (b"x", 1, 0, 0)]
)
@pytest.mark.skipif(compiled is None, reason="no C compiler was there")
def test_what_is_no_place_in_bytes_is_an_error(arguments: tuple[Any, ...]) -> None:
    assert compiled is not None
    with pytest.raises(TypeError):
        compiled.fetched(*arguments)


@pytest.mark.skipif(compiled is None, reason="no C compiler was there")
def test_records_outlive_the_fetch_and_no_more() -> None:
    assert compiled is not None
    data = fetch_of([Batch(SENT)])
    before = sys.getrefcount(data)
    for _ in range(1_000):
        last = compiled.fetched(data, 0, len(data), 0)[-1]
        with pytest.raises(ValueError, match="should"):
            compiled.fetched(data, 0, len(data) - 1, 0)
    assert sys.getrefcount(data) == before + 1
    assert (last.key, last.value, last.headers) == (b"", b"", ())
    with pytest.raises(TypeError):
        type(last)()
    del last
    assert sys.getrefcount(data) == before
