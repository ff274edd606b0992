"""What a broker sends of a partition: batches of records, as bytes."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

_LAST_OFFSET_DELTA, _MAX_TIMESTAMP = 23, 35
_CHECKSUM, _CHECKED, _FLAGS = 17, 21, 22
_APPEND_TIME, _CONTROL = 0x08, 0x20

ABORT = struct.pack(">HH", 0, 0)
COMMIT = struct.pack(">HH", 0, 1)
"""Keys of the records in control batches."""


class Sent(NamedTuple):
    """A record, at its offset from the first of its batch."""

    delta: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()


@dataclass(frozen=True)
class Batch:
    """Records that were sent together. `last` is the offset of the last from the first, which may be compacted away."""

    records: Sequence[Sent]
    last: int | None = None
    codec: int = 0
    producer_id: int = -1
    is_transactional: bool = False
    is_control: bool = False
    appended_at: int | None = None

    @property
    def next_delta(self) -> int:
        """Where the next batch begins, from the first of this one."""
        return (self.records[-1].delta if self.last is None else self.last) + 1

    def to_bytes(self, offset: int) -> bytes:
        """With the offset of the first."""
        builder = DefaultRecordBatchBuilder(2, self.codec, self.is_transactional, self.producer_id, 0, 0, 1 << 20)
        for record in self.records:
            assert builder.append(*record[:4], list(record.headers)) is not None
        made = bytearray(builder.build())
        struct.pack_into(">q", made, 0, offset)
        struct.pack_into(">i", made, _LAST_OFFSET_DELTA, self.next_delta - 1)
        made[_FLAGS] |= _CONTROL * self.is_control
        if self.appended_at is not None:
            made[_FLAGS] |= _APPEND_TIME
            struct.pack_into(">q", made, _MAX_TIMESTAMP, self.appended_at)
        struct.pack_into(">I", made, _CHECKSUM, calc_crc32c(made[_CHECKED:]))
        return bytes(made)


def fetch_of(batches: Sequence[Batch], offset: int = 0) -> bytes:
    """Batches one behind the other, the first at an offset."""
    made = b""
    for batch in batches:
        made += batch.to_bytes(offset)
        offset += batch.next_delta
    return made
