"""Usage that was decided is deleted from the topic, and no other."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.bench import trim
from deploy.bench.stage import producer
from deploy.topics import ensure_topics
from schemas.position import Position, first_position
from schemas.settings import Settings
from schemas.topics import Topic
from tests.integration.running_gateway import until


async def test_what_is_decided_is_deleted(kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trim, "_SECONDS", 0.05)
    settings = Settings(kafka=kafka_bootstrap, topic_prefix="trim-", partitions=2)
    await ensure_topics(settings)
    topic = settings.topic(Topic.USAGE_EVENTS)
    async with producer(settings) as sending:
        for number in range(10):
            await sending.send_and_wait(topic, b"{}", partition=number % 2)
    trimming = trim.Trim(settings)
    running = asyncio.create_task(trimming.run())
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka_bootstrap)
    try:
        await consumer.start()
        trimming.note(1, position_at(3))
        places = [TopicPartition(topic, number) for number in range(2)]

        async def are_trimmed() -> bool:
            return bool(await consumer.beginning_offsets(places) == dict(zip(places, (0, 3), strict=True)))

        await until(are_trimmed)
    finally:
        running.cancel()
        await asyncio.wait({running})
        await consumer.stop()


def position_at(offset: int) -> Position:
    """The usage before this offset is decided."""
    position = first_position(2)
    position.positions[Topic.USAGE_EVENTS] = offset
    return position
