"""What the consumers of a worker give out for each record: no more than a worker reads of it.

aiokafka 0.14.0 decodes a fetch record by record, copies each key, value and header, and makes of all that a dataclass
of eleven fields, which costs more than to read the event in it. A worker reads offset, timestamp, timestamp_type, key,
value and headers. So it is given the records as aiokafka decoded them; or, of an uncompressed batch and with schemas/c,
records that lie in the bytes of the fetch. Those bytes stay in memory with any one of them.

Which batches are read, and up to where, is still aiokafka's to say. It takes each for one record, at the offset of the
last, and gives out the list of the batch's records for it.
"""

import struct
import sys
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords

from schemas.plain import Compiled, compiled

_LENGTH = struct.Struct(">8xi")
"""Of a batch, behind its offset; what it counts begins behind itself."""
_CHECKED_FROM = 21
"""The CRC of a batch is of all behind it."""


def give_out_decoded_records() -> None:
    """Have all consumers of this process, which must be without deserializers, give out such records."""
    fetcher.MemoryRecords = _Batches
    fetcher.PartitionRecords = _PartitionRecords
    fetcher.FetchResult = _FetchResult


class _Batch:
    """One of aiokafka's batches, of which the records are given out together."""

    offset = sys.maxsize
    """That of the last record, once they are read; before, it is not behind any position."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator["_Batch"]:
        yield self

    def records(self, offset: int) -> list[Any]:
        """Those from an offset on."""
        records = self._read(offset)
        self.offset = records[-1].offset if records else offset - 1
        return records

    def _read(self, offset: int) -> list[Any]:
        records = []
        for record in self._batch:
            if record.offset >= offset:
                records.append(record)
                offset = record.offset + 1
        return records


class _FetchedBatch(_Batch):
    """One whose records are read by schemas/c."""

    def __init__(self, batch: Any, compiled: Compiled, fetched: bytes, start: int, end: int) -> None:
        super().__init__(batch)
        self._compiled = compiled
        self._fetched = fetched
        self._start = start
        self._end = end

    def validate_crc(self) -> bool:
        """As aiokafka's, with the processor's instruction where it has one."""
        crc = self._compiled.crc32c(memoryview(self._fetched)[self._start + _CHECKED_FROM : self._end])
        return bool(self._batch.validate_crc() if crc is None else self._batch.crc == crc)

    def _read(self, offset: int) -> list[Any]:
        try:
            return self._compiled.fetched(self._fetched, self._start, self._end, offset)
        except ValueError as error:
            raise CorruptRecordException(str(error)) from error


class _Batches:
    """The batches of a fetch, as aiokafka finds them; those that it must look into itself are its own."""

    def __init__(self, fetched: bytes) -> None:
        self._batches = MemoryRecords(fetched)
        self._fetched = fetched
        self._end = 0
        self.has_next = self._batches.has_next
        self.size_in_bytes = self._batches.size_in_bytes

    def next_batch(self) -> Any:
        start, batch = self._end, self._batches.next_batch()
        self._end = start + _LENGTH.size + _LENGTH.unpack_from(self._fetched, start)[0]
        if batch.is_control_batch:
            return batch
        if compiled is None or type(batch) is not DefaultRecordBatch or batch.compression_type != batch.CODEC_NONE:
            return _Batch(batch)
        return _FetchedBatch(batch, compiled, self._fetched, start, self._end)


class _PartitionRecords(PartitionRecords):  # type: ignore[misc]  # aiokafka ships no types
    def _unpack_records(self) -> Iterator[Any]:
        return chain.from_iterable(super()._unpack_records())

    def _consumer_record(self, _: Any, batch: _Batch) -> list[Any]:
        return batch.records(self.next_fetch_offset)

    def __iter__(self) -> Iterator[Any]:
        """The iterator itself: in aiokafka each record goes through a method that asks it for the next."""
        return self._records_iterator  # type: ignore[no-any-return]

    def __next__(self) -> Any:
        record = super().__next__()
        self.next_fetch_offset = record.offset + 1
        return record


class _FetchResult(FetchResult):  # type: ignore[misc]  # aiokafka ships no types
    _partition_records: Any

    def getall(self, max_records: int | None = None) -> list[Any]:
        """As aiokafka's, without a turn of a loop for each record."""
        if not self.check_assignment(self._topic_partition) or not self.has_more():
            return []
        records = list(islice(self._partition_records, max_records))
        is_all = max_records is None or len(records) < max_records
        if not is_all:
            self._partition_records.next_fetch_offset = records[-1].offset + 1
        self._update_position()
        if is_all:
            self._partition_records = None
        return records
