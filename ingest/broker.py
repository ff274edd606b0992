"""The connection to Kafka: one idempotent producer at a time, made anew after it has failed.

An idempotent producer numbers its batches. One batch that fails leaves a gap in the numbers, after which the broker
refuses all others (OutOfOrderSequenceNumber): such a producer is of no more use, whatever the first error was.
"""

import asyncio
import contextlib
import logging
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.errors import OperatorError
from schemas.topics import KIB

logger = logging.getLogger(__name__)

BATCH_BYTES_MAX: Final = 512 * KIB
"""Half of what `usage-events` takes as one batch (max.message.bytes, 1 MiB)."""

_REQUEST_TIMEOUT_MS: Final = 10_000
_PAUSE_SECONDS: Final = 0.25
"""After a failed attempt to connect, all attempts of this time are answered by it."""


class BrokerAway(Exception):
    """No broker answered in time."""


class Broker:
    """Where a topic is published."""

    def __init__(self, bootstrap: str, topic: str, seconds: float) -> None:
        self.topic = topic
        self.partitions: int | None = None
        self._bootstrap = bootstrap
        self._seconds = seconds
        self._live: AIOKafkaProducer | None = None
        self._connecting: asyncio.Task[AIOKafkaProducer] | None = None
        self._away_until = 0.0
        self._stopping: set[asyncio.Task[None]] = set()

    async def producer(self) -> AIOKafkaProducer:
        """A producer that has not failed yet; `partitions` is known once this has returned.

        Raises BrokerAway, or OperatorError where the topic is not what it was made as.
        """
        if self._live is not None:
            return self._live
        if self._connecting is None:
            if asyncio.get_running_loop().time() < self._away_until:
                raise BrokerAway(f"Kafka at {self._bootstrap} is away")
            self._connecting = asyncio.create_task(self._connect())
            self._connecting.add_done_callback(self._connected)
        return await asyncio.shield(self._connecting)

    def discard(self, failed: AIOKafkaProducer) -> None:
        """Make the next producer() a new one. What the failed one still has in flight goes on in the background."""
        if self._live is failed:
            logger.warning("the Kafka producer of %s failed; a new one takes its place", self.topic)
            self._live = None
            self._stop(failed)

    async def ping(self) -> None:
        """Return if a broker answers; raises as producer() does."""
        producer = await self.producer()
        try:
            async with asyncio.timeout(self._seconds):
                await producer.client.fetch_all_metadata()
        except (KafkaError, OSError, TimeoutError) as error:
            raise BrokerAway(f"Kafka at {self._bootstrap} does not answer") from error

    async def close(self) -> None:
        """Let go of the broker; what is not acknowledged within the time allowed is left with its outcome unknown."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        if self._live is not None:
            self._stop(self._live)
            self._live = None
        if self._stopping:
            _, late = await asyncio.wait(self._stopping, timeout=self._seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    def _stop(self, producer: AIOKafkaProducer) -> None:
        task: asyncio.Task[None] = asyncio.create_task(producer.stop())
        self._stopping.add(task)
        task.add_done_callback(self._stopped)

    def _stopped(self, task: asyncio.Task[None]) -> None:
        self._stopping.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.info("a discarded Kafka producer stopped with %r", error)

    def _connected(self, task: asyncio.Task[AIOKafkaProducer]) -> None:
        self._connecting = None
        if not task.cancelled() and task.exception() is not None:
            self._away_until = asyncio.get_running_loop().time() + _PAUSE_SECONDS

    async def _connect(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=BATCH_BYTES_MAX,
            request_timeout_ms=_REQUEST_TIMEOUT_MS,
        )
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(producer.stop)
            try:
                async with asyncio.timeout(self._seconds):
                    await producer.start()
                    # Of all topics: a request that names one may create it, with the broker's own settings.
                    metadata = await producer.client.fetch_all_metadata()
            except (KafkaError, OSError, TimeoutError) as error:
                raise BrokerAway(f"Kafka at {self._bootstrap} is away") from error
            self._learn_partitions(len(metadata.partitions_for_topic(self.topic) or ()))
            undo.pop_all()
        self._live = producer
        return producer

    def _learn_partitions(self, count: int) -> None:
        if count == 0:
            raise OperatorError(f"The topic {self.topic} does not exist; create it with 'tally topics'.")
        if self.partitions not in (None, count):
            raise OperatorError(
                f"The topic {self.topic} has {count} partitions instead of {self.partitions}, which may never change;"
                " restore the topic."
            )
        self.partitions = count
