"""All partitions of some topics, read committed, from offsets that are kept elsewhere."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from aggregator.stream.consumer import stop_consumer
from aggregator.stream.offsets import Offsets
from aggregator.stream.progress import Progress
from schemas.errors import OperatorError

REQUEST_TIMEOUT_MS: Final = 10_000
FETCH_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of one partition at a time: with 1 MiB a fetch is a quarter of a useful batch."""

UNREADABLE: Final = (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError)
"""What parsing raises for a record that no worker wrote."""

Records = dict[TopicPartition, list[Any]]
"""aiokafka's ConsumerRecords by partition, in the order of the log."""


class Reader:
    """Reads every partition of its topics by itself, outside any consumer group."""

    def __init__(self, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> None:
        self._consumer = consumer
        self._partitions = partitions

    async def beginnings(self) -> Offsets:
        """The offset of the oldest record of each partition."""
        return dict(await self._consumer.beginning_offsets(self._partitions))

    async def seek(self, offsets: Offsets, beginnings: Offsets) -> None:
        """Read on from these offsets. Raises OperatorError where the log no longer holds them."""
        ends = await self._consumer.end_offsets(self._partitions)
        for partition, offset in offsets.items():
            if not beginnings[partition] <= offset <= ends[partition]:
                raise OperatorError(
                    f"Partition {partition.partition} of {partition.topic} holds the offsets "
                    f"{beginnings[partition]} to {ends[partition]}, but Postgres has read it up to {offset}: it is "
                    "another cluster, a topic made anew, or records were deleted too early; "
                    "check TALLY_KAFKA and TALLY_DATABASE_URL."
                )
            self._consumer.seek(partition, offset)

    async def read(self, records_max: int, timeout_ms: int) -> Records:
        """What there is to read; nothing where nothing came in time."""
        return dict(await self._consumer.getmany(timeout_ms=timeout_ms, max_records=records_max))

    async def position(self, partition: TopicPartition) -> int:
        """The next offset to read: beyond the markers of transactions that follow the last record."""
        return int(await self._consumer.position(partition))

    async def progress(self) -> dict[TopicPartition, Progress]:
        """Where the reading stands, and how far that is from the end. Raises KafkaError where Kafka is away."""
        ends = await self._consumer.end_offsets(self._partitions)
        read = {partition: await self._consumer.position(partition) for partition in ends}
        return {partition: Progress(read[partition], max(0, end - read[partition])) for partition, end in ends.items()}


@asynccontextmanager
async def open_reader(bootstrap: str, client_id: str, topics: Sequence[str]) -> AsyncIterator[Reader]:
    """A reader of all partitions that the topics have now."""
    partitions = await partitions_of(bootstrap, client_id, topics)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        client_id=client_id,
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="none",
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        max_partition_fetch_bytes=FETCH_BYTES_MAX,
    )
    try:
        await consumer.start()
        consumer.assign(partitions)
        yield Reader(consumer, partitions)
    finally:
        await stop_consumer(consumer)


async def partitions_of(bootstrap: str, client_id: str, topics: Sequence[str]) -> list[TopicPartition]:
    """All partitions of the topics. Raises OperatorError where one of them is missing."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, client_id=client_id, request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        # Of all topics: to ask for one that is absent would create it where the broker is so configured.
        found = {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics()}
    finally:
        await admin.close()
    missing = [topic for topic in topics if topic not in found]
    if missing:
        raise OperatorError(f"Kafka has no topic {' and no topic '.join(missing)}: run 'tally topics' first.")
    return [TopicPartition(topic, number) for topic in topics for number in range(len(found[topic]))]
