"""Single records of `usage-events`, read again by their place: a correction needs the event that it takes back."""

import asyncio
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from aggregator.engine.halt import Halt, HaltReason
from aggregator.stream.consumer import stop_consumer
from aggregator.stream.reader import REQUEST_TIMEOUT_MS

FETCH_BYTES = 64 << 10
"""Enough for an event; a broker sends a larger record all the same where it is the first."""
SECONDS_MAX = 30

EventPlace = tuple[int, int]
"""Partition and offset."""


class Originals:
    """A reader of single records, for all partitions of the process; it connects when it is first needed."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._consumer: AIOKafkaConsumer | None = None
        self._turn = asyncio.Lock()

    async def fetch(self, places: Iterable[EventPlace]) -> dict[EventPlace, Any]:
        """The records at these places, without those that the log has deleted. Raises Halt where Kafka is silent."""
        wanted = sorted(places)
        if not wanted:
            return {}
        async with self._turn:
            consumer = await self._connected()
            found = {place: await self._record(consumer, place) for place in wanted}
            return {place: record for place, record in found.items() if record is not None}

    async def stop(self) -> None:
        """Disconnect."""
        if self._consumer is not None:
            await stop_consumer(self._consumer)

    async def _connected(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self._bootstrap,
                isolation_level="read_committed",
                enable_auto_commit=False,
                auto_offset_reset="none",
                request_timeout_ms=REQUEST_TIMEOUT_MS,
                max_partition_fetch_bytes=FETCH_BYTES,
            )
            await consumer.start()
            self._consumer = consumer
        return self._consumer

    async def _record(self, consumer: AIOKafkaConsumer, place: EventPlace) -> Any:
        number, offset = place
        partition = TopicPartition(self._topic, number)
        if offset < (await consumer.beginning_offsets([partition]))[partition]:
            return None
        consumer.assign([partition])
        consumer.seek(partition, offset)
        try:
            async with asyncio.timeout(SECONDS_MAX):
                record = await consumer.getone(partition)
        except TimeoutError as error:
            what = f"The event at {offset} in partition {number} of usage-events did not come in {SECONDS_MAX} s"
            raise Halt(HaltReason.RESTORE_STUCK, what) from error
        assert record.offset == offset, f"an event was accepted at {offset}, and the next record is at {record.offset}"
        return record
