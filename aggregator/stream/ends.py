"""Where partitions end, with all that is in them: also what belongs to a transaction that is still open."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition

from aggregator.stream.consumer import stop_consumer
from aggregator.stream.offsets import Offsets
from aggregator.stream.reader import REQUEST_TIMEOUT_MS


class Ends:
    """Asks for ends, on a connection that fetches nothing: a broker answers the requests of a connection one after the
    other, and a fetch waits there for records."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def of(self, partitions: Sequence[TopicPartition]) -> Offsets:
        """The offset after the last record that was acknowledged. Raises KafkaError where Kafka is away."""
        return dict(await self._consumer.end_offsets(partitions))


@asynccontextmanager
async def open_ends(bootstrap: str, client_id: str) -> AsyncIterator[Ends]:
    """Somebody to ask."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        client_id=client_id,
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_uncommitted",
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )
    try:
        await consumer.start()
        yield Ends(consumer)
    finally:
        await stop_consumer(consumer)
