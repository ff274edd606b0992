"""Three brokers: every topic on all of them, and no acknowledgement from one alone."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.topics import TopicsDiffer, ensure_topics
from schemas.settings import Settings
from schemas.topics import TOPICS, Topic
from tests.chaos.cluster import Cluster
from tests.chaos.parts import Part

TOPIC = str(Topic.USAGE_EVENTS)
SECONDS = 30


@pytest.fixture
async def three_brokers(tmp_path: Path) -> AsyncIterator[Settings]:
    cluster = Cluster(tmp_path)
    parts = [Part(command, "kafka", lambda _: None) for command in await cluster.prepare()]
    try:
        await asyncio.gather(*(part.start(part.command, wait=True) for part in parts))
        await cluster.formed()
        yield Settings(kafka=cluster.bootstrap, partitions=1)
    finally:
        for part in parts:
            await part.stop(signal.SIGKILL)
        await cluster.release()


async def test_three_replicas_come_with_two_in_sync(three_brokers: Settings) -> None:
    assert len(await ensure_topics(three_brokers)) == len(TOPICS)
    admin = AIOKafkaAdminClient(bootstrap_servers=three_brokers.kafka)
    await admin.start()
    try:
        async with asyncio.timeout(SECONDS):  # each broker learns of a new topic in its own time
            while not all(replicas := await _replicas(admin)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert {count for counts in replicas for count in counts} == {3}
        assert await ensure_topics(three_brokers) == []

        resource = ConfigResource(ConfigResourceType.TOPIC, TOPIC, {"min.insync.replicas": "1"})
        await admin.alter_configs([resource])
    finally:
        await admin.close()
    with pytest.raises(TopicsDiffer, match=r"usage-events has min\.insync\.replicas=1 instead of 2"):
        await _verified_for(SECONDS, three_brokers)


async def _replicas(admin: AIOKafkaAdminClient) -> list[list[int]]:
    """How many replicas each partition of each topic has, as far as the broker that answers knows of them."""
    topics = await admin.describe_topics([str(topic) for topic in Topic])
    return [[len(partition["replicas"]) for partition in topic["partitions"]] for topic in topics]


async def _verified_for(seconds: float, settings: Settings) -> None:
    """Verify again and again, because a change reaches each broker in its own time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                await ensure_topics(settings)
