"""The log, looked at from outside any consumer group: where partitions begin and end, and what stands at a place."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from aggregator.stream.consumer import stop_consumer
from aggregator.stream.offsets import Offsets

SECOND_MS: Final = 1_000
FETCH_BYTES: Final = 64 * 1024
"""Of a partition at a time: one record is wanted of each, and a larger one comes all the same."""
TAIL_OFFSETS: Final = (20, 2_000)
"""How far before the end the last record is looked for, before everything is read: where it stands there are the marks
of transactions, too, and records of those that were aborted."""


class Log:
    """Committed records only."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def begins(self, places: Iterable[TopicPartition]) -> Offsets:
        """The offset of the oldest record."""
        return dict(await self._consumer.beginning_offsets(list(places)))

    async def ends(self, places: Iterable[TopicPartition]) -> Offsets:
        """The offset after the last record that is committed."""
        return dict(await self._consumer.end_offsets(list(places)))

    async def first(self, offsets: Offsets, ends: Offsets) -> dict[TopicPartition, Any]:
        """The first record from each offset on, of those partitions that have one before their end."""
        found: dict[TopicPartition, Any] = {}
        async for place, records in self._read(offsets, ends, stop=found):
            found.setdefault(place, records[0])
        return found

    async def last(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, Any]:
        """The last record of each partition that has one."""
        places = list(places)
        begins, ends = await self.begins(places), await self.ends(places)
        found: dict[TopicPartition, Any] = {}
        for back in (*TAIL_OFFSETS, None):
            left = [place for place in places if place not in found]
            offsets = {
                place: begins[place] if back is None else max(begins[place], ends[place] - back) for place in left
            }
            async for place, records in self._read(offsets, ends):
                found[place] = records[-1]
        return found

    async def _read(
        self, offsets: Offsets, ends: Offsets, stop: Mapping[TopicPartition, Any] | None = None
    ) -> AsyncIterator[tuple[TopicPartition, list[Any]]]:
        """The records from these offsets to the ends; of a partition that is in `stop`, no more."""
        left = {place for place, offset in offsets.items() if offset < ends[place]}
        if not left:
            return
        self._consumer.assign(list(left))
        for place in left:
            self._consumer.seek(place, offsets[place])
        while left:
            for place, records in (await self._consumer.getmany(*left, timeout_ms=100)).items():
                before_end = [record for record in records if record.offset < ends[place]]
                if before_end:
                    yield place, before_end
            # Where a transaction ended, the position is beyond the last record.
            done = {place for place in left if await self._consumer.position(place) >= ends[place]}
            left -= done | set(stop or ())


@asynccontextmanager
async def open_log(bootstrap: str, seconds: float) -> AsyncIterator[Log]:
    """Somebody to ask. Raises KafkaError."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        client_id="tally-doctor",
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        request_timeout_ms=int(seconds * SECOND_MS),
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_wait_ms=50,
    )
    try:
        async with asyncio.timeout(seconds):
            await consumer.start()
        yield Log(consumer)
    finally:
        await stop_consumer(consumer)
