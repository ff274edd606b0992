"""A batch of Kafka's message format 2 whose records come many at a time, already written.

aiokafka 0.14.0 takes them one by one, which costs more than all else that is done with an accepted event. What it asks
of a batch that it sends is here under its names.
"""

import struct
import sys
from typing import Final

from aiokafka.record.util import calc_crc32c

from aggregator.rules.verdicts import Accepted
from schemas.plain import Compiled, compiled

_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
"""Offset, length, leader epoch, magic, CRC, attributes, last offset, first and last timestamp, producer's id and epoch,
sequence, number of records."""
_LENGTH_FROM: Final = 12
_CRC_AT: Final = 17
_CRC_FROM: Final = 21
_MAGIC: Final = 2
_TRANSACTIONAL: Final = 0x10


class WrittenBatch:
    """A batch of a transaction; all its records have one timestamp (ms), for which the broker puts its own."""

    def __init__(self, at: int, size_max: int) -> None:
        self._at = at
        self._size_max = size_max
        self._buffer = bytearray(_HEADER.size)
        self._used = _HEADER.size
        self._count = 0
        self._producer = (-1, -1, -1)
        self._is_built = False

    def add(self, writer: Compiled, accepted: list[Accepted], start: int) -> int:
        """Add events from an index on. Returns how many there was room for; an empty batch takes one of any size."""
        self._used, count = writer.records(self._buffer, self._used, accepted, start, self._count, self._size_max)
        if not count and not self._count:
            first = accepted[start : start + 1]
            self._used, count = writer.records(self._buffer, self._used, first, 0, 0, sys.maxsize)
        self._count += count
        return count

    def size(self) -> int:
        """The bytes of the batch with its header."""
        return self._used

    def record_count(self) -> int:
        """The number of its records."""
        return self._count

    def close(self) -> None:
        """Nothing is added after it is sent."""

    def closed(self) -> bool:
        """Whether nothing is added any more, so that it need not wait for more."""
        return True

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        self._producer = (producer_id, producer_epoch, base_sequence)

    def _build(self) -> bytearray:
        if not self._is_built:
            del self._buffer[self._used :]
            numbers = (_TRANSACTIONAL, self._count - 1, self._at, self._at, *self._producer, self._count)
            _HEADER.pack_into(self._buffer, 0, 0, self._used - _LENGTH_FROM, -1, _MAGIC, 0, *numbers)
            with memoryview(self._buffer) as view:
                struct.pack_into(">I", self._buffer, _CRC_AT, _crc32c(view[_CRC_FROM:]))
            self._is_built = True
        return self._buffer


def _crc32c(data: memoryview) -> int:
    crc = None if compiled is None else compiled.crc32c(data)
    return int(calc_crc32c(data)) if crc is None else crc
