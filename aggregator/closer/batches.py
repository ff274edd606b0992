"""What is written together: batch after batch of what the records of `closed-periods` settle."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import TopicPartition

from aggregator.closer.assembly import Assembly, Hold, Invoice
from aggregator.stream.offsets import Offsets
from aggregator.stream.reader import Reader

READ_TIMEOUT_MS: Final = 500
RECORDS_PER_TURN: Final = 16
"""So many take about 1.5 ms; then whatever waits for Postgres has its turn."""
LINES_MAX: Final = 20_000
"""A batch is full with so many, or with the one invoice that has more: Postgres takes half a second for them."""


@dataclass(slots=True)
class Batch:
    """What some records settle, and how far they reach."""

    invoices: list[Invoice] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    before: Offsets = field(default_factory=dict)
    after: Offsets = field(default_factory=dict)


class Batches:
    """Reads on from `offsets`. A batch begins where the one before ended, whether or not that is written yet: where a
    write fails, these batches are of no more use."""

    def __init__(self, reader: Reader, offsets: Offsets, records_max: int) -> None:
        self._reader = reader
        self._records_max = records_max
        self._offsets = dict(offsets)
        self._waiting: deque[tuple[TopicPartition, Any]] = deque()
        self._assemblies = {tp: Assembly(tp.partition, offset) for tp, offset in offsets.items()}

    async def following(self) -> Batch:
        """The next batch, empty where nothing came in time. Where the parts of a period are not all there yet, it waits
        for a later one."""
        if not self._waiting:
            records = await self._reader.read(self._records_max, READ_TIMEOUT_MS)
            self._waiting.extend((partition, record) for partition, some in records.items() for record in some)
        batch = Batch()
        partitions: set[TopicPartition] = set()
        lines = taken = 0
        while self._waiting and lines < LINES_MAX:
            partition, record = self._waiting.popleft()
            partitions.add(partition)
            for settled in self._assemblies[partition].add(record.offset, record.value):
                if isinstance(settled, Invoice):
                    batch.invoices.append(settled)
                    lines += len(settled.bill.lines)
                else:
                    batch.holds.append(settled)
            taken += 1
            if taken % RECORDS_PER_TURN == 0:
                await asyncio.sleep(0)
        self._bound(batch, partitions)
        return batch

    def _bound(self, batch: Batch, partitions: set[TopicPartition]) -> None:
        for partition in partitions:
            before, after = self._offsets[partition], self._assemblies[partition].next_offset
            if after > before:
                batch.before[partition] = before
                batch.after[partition] = self._offsets[partition] = after
