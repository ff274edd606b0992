"""What is told of batches after their commits, outside of any transaction, and as well as it goes.

Nothing depends on it: a gateway that is told no verdict in time asks later, and live rates are approximate. So what
Kafka does not take is dropped and counted, and no batch waits for it.
"""

import asyncio
import logging
from collections import deque
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from prometheus_client import Counter

from aggregator.stream.reader import REQUEST_TIMEOUT_MS

log = logging.getLogger(__name__)

WAITING_MAX = 100_000
"""Records that wait for Kafka. More than these would come too late anyway."""

Told = tuple[tuple[int, bytes], bytes]
"""Partition, key and value of a record."""


class Feed:
    """Sends records to a topic, for all partitions of the process; `outcomes` counts them by their outcome. What comes
    within so many seconds goes together."""

    def __init__(self, bootstrap: str, topic: str, outcomes: Counter, gather_seconds: float = 0) -> None:
        self._topic = topic
        self._outcomes = outcomes
        self._gather_seconds = gather_seconds
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap, acks=1, linger_ms=0, request_timeout_ms=REQUEST_TIMEOUT_MS
        )
        self._waiting: deque[Told] = deque()
        self._sending: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect."""
        await self._producer.start()

    async def stop(self) -> None:
        """Send what waits, and disconnect."""
        if self._sending is not None:
            await asyncio.wait({self._sending})
        await self._producer.stop()

    def post(self, records: list[Told]) -> None:
        """Have these sent; returns at once."""
        room = WAITING_MAX - len(self._waiting)
        self._waiting.extend(records[:room])
        self._outcomes.labels("lost").inc(max(0, len(records) - room))
        if self._waiting and self._sending is None:
            self._sending = asyncio.create_task(self._send_all())

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(self._gather_seconds)
                await self._send_some()
        finally:
            self._sending = None

    async def _send_some(self) -> None:
        """Send as much of what waits as goes into one batch for each partition."""
        batches: dict[int, Any] = {}
        while self._waiting:
            (partition, key), value = self._waiting[0]
            if partition not in batches:
                batches[partition] = self._producer.create_batch()
            if batches[partition].append(timestamp=None, key=key, value=value) is None:
                if batches[partition].record_count() > 0:
                    break  # full: the rest goes with the next batches
                self._outcomes.labels("lost").inc()  # larger than a batch, which none is
            self._waiting.popleft()
        for partition, batch in batches.items():
            await self._send(partition, batch)

    async def _send(self, partition: int, batch: Any) -> None:
        count = batch.record_count()
        try:
            await (await self._producer.send_batch(batch, self._topic, partition=partition))
        except KafkaError as error:
            log.warning("%d records of %s were not told: %r", count, self._topic, error)
            self._outcomes.labels("lost").inc(count)
        else:
            self._outcomes.labels("sent").inc(count)
