"""Verdicts told to those who wait for them: after the commit, outside of any transaction, and as well as it goes.

Nothing depends on an answer. Who gets none in time asks later, so what Kafka does not take is dropped and counted, and
no batch waits for it.
"""

import asyncio
import logging
from collections import deque
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from aggregator.engine import metrics
from aggregator.stream.reader import REQUEST_TIMEOUT_MS
from schemas.reply import ReplyAddress

log = logging.getLogger(__name__)

WAITING_MAX = 100_000
"""Answers that wait for Kafka. More than these would come too late anyway."""

Reply = tuple[ReplyAddress, bytes]


class Replies:
    """Sends answers, for all partitions of the process."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap, acks=1, linger_ms=0, request_timeout_ms=REQUEST_TIMEOUT_MS
        )
        self._waiting: deque[Reply] = deque()
        self._sending: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect."""
        await self._producer.start()

    async def stop(self) -> None:
        """Send what waits, and disconnect."""
        if self._sending is not None:
            await asyncio.wait({self._sending})
        await self._producer.stop()

    def post(self, replies: list[Reply]) -> None:
        """Have these sent; returns at once."""
        room = WAITING_MAX - len(self._waiting)
        self._waiting.extend(replies[:room])
        metrics.REPLIES.labels("lost").inc(max(0, len(replies) - room))
        if self._waiting and self._sending is None:
            self._sending = asyncio.create_task(self._send_all())

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                await self._send_some()
        finally:
            self._sending = None

    async def _send_some(self) -> None:
        """Send as much of what waits as goes into one batch for each partition."""
        batches: dict[int, Any] = {}
        while self._waiting:
            (partition, correlation_id), value = self._waiting[0]
            if partition not in batches:
                batches[partition] = self._producer.create_batch()
            if batches[partition].append(timestamp=None, key=correlation_id, value=value) is None:
                if batches[partition].record_count() > 0:
                    break  # full: the rest goes with the next batches
                metrics.REPLIES.labels("lost").inc()  # larger than a batch, which no verdict is
            self._waiting.popleft()
        for partition, batch in batches.items():
            await self._send(partition, batch)

    async def _send(self, partition: int, batch: Any) -> None:
        count = batch.record_count()
        try:
            await (await self._producer.send_batch(batch, self._topic, partition=partition))
        except KafkaError as error:
            log.warning("%d verdicts were not told: %r", count, error)
            metrics.REPLIES.labels("lost").inc(count)
        else:
            metrics.REPLIES.labels("sent").inc(count)
