"""What is written together: batch after batch of what the records of `closed-periods` settle."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from aggregator.closer.assembly import Assembly, Hold, Invoice
from aggregator.stream.offsets import Offsets
from aggregator.stream.reader import Reader, Records

READ_TIMEOUT_MS: Final = 500
RECORDS_PER_TURN: Final = 16
"""So many take about 1.5 ms; then whatever waits for Postgres has its turn."""


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
        self._assemblies = {tp: Assembly(tp.partition, offset) for tp, offset in offsets.items()}

    async def following(self) -> Batch:
        """The next batch, empty where nothing came in time."""
        return await self._assembled(await self._reader.read(self._records_max, READ_TIMEOUT_MS))

    async def _assembled(self, records: Records) -> Batch:
        """What these records settle. Where the parts of a period are not all there yet, it waits for a later batch."""
        batch = Batch()
        for partition, some in records.items():
            assembly = self._assemblies[partition]
            for number, record in enumerate(some):
                if number % RECORDS_PER_TURN == 0:
                    await asyncio.sleep(0)
                for settled in assembly.add(record.offset, record.value):
                    if isinstance(settled, Invoice):
                        batch.invoices.append(settled)
                    else:
                        batch.holds.append(settled)
            if assembly.next_offset > self._offsets[partition]:
                batch.before[partition] = self._offsets[partition]
                batch.after[partition] = self._offsets[partition] = assembly.next_offset
        return batch
