"""What a deployment's topics hold: read whole, committed records only."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.position import Position
from schemas.settings import Settings
from schemas.topics import TOPICS, Topic


async def ledger_of(settings: Settings) -> Counter[str]:
    """The ledgers of all partitions, added up, by their names on the wire."""
    latest = {r.partition: Position.of_json(r.value) for r in await all_records(settings, Topic.AGGREGATOR_POSITIONS)}
    counts: Counter[str] = Counter()
    for position in latest.values():
        counts.update(position.ledger.wire())
    return counts


async def all_records(settings: Settings, topic: Topic) -> list[Any]:
    """All committed records, in the order of partition and offset."""
    async with reader(settings, topic) as consumer:
        return sorted([r async for r in to_the_end(consumer)], key=lambda r: (r.partition, r.offset))


async def to_the_end(consumer: AIOKafkaConsumer) -> AsyncIterator[Any]:
    """What the consumer's partitions hold from where it stands to where they end now, each in its order."""
    ends = await consumer.end_offsets(consumer.assignment())
    while any([await consumer.position(tp) < end for tp, end in ends.items()]):
        for records in (await consumer.getmany(timeout_ms=100)).values():
            for record in records:
                yield record


@asynccontextmanager
async def reader(settings: Settings, topic: Topic) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of all partitions of a topic, from the beginning."""
    async with reader_of(settings.kafka, settings.topic(topic), _partitions(settings, topic)) as consumer:
        yield consumer


@asynccontextmanager
async def reader_of(kafka: str, topic: str, partitions: int) -> AsyncIterator[AIOKafkaConsumer]:
    """As reader(), of any topic of a cluster."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka,
        isolation_level="read_committed",
        enable_auto_commit=False,
        fetch_max_wait_ms=50,
    )
    await consumer.start()
    try:
        places = [TopicPartition(topic, number) for number in range(partitions)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        yield consumer
    finally:
        await consumer.stop()


def _partitions(settings: Settings, topic: Topic) -> int:
    own = next(known.partitions for known in TOPICS if known.topic is topic)
    return own or settings.partitions
