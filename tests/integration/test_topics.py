"""Topics made and verified on a real Kafka, whose brokers learn of them each in its own time."""

import asyncio
import re
from collections.abc import Iterable

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import UnknownTopicOrPartitionError

from deploy import topics
from deploy.cluster import Cluster, describe
from deploy.topics import TopicsDiffer, ensure_topics
from schemas.errors import OperatorError
from schemas.settings import Settings
from schemas.topics import TOPICS, Topic


@pytest.fixture
def settings(kafka_bootstrap: str, topic_prefix: str) -> Settings:
    return Settings(kafka=kafka_bootstrap, topic_prefix=topic_prefix, partitions=1)


@pytest.fixture
def late_broker(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Knows of no topic the first time it is asked, and of all but not of their settings the second time."""
    answers: list[str] = []

    async def described(admin: AIOKafkaAdminClient, of_interest: Iterable[str]) -> Cluster:
        cluster = await describe(admin, of_interest)
        answers.append("nothing" if not answers else "no settings" if len(answers) == 1 else "all")
        match answers[-1]:
            case "nothing":
                return Cluster(cluster.brokers, {})
            case "no settings":
                raise UnknownTopicOrPartitionError
            case _:
                return cluster

    monkeypatch.setattr(topics, "describe", described)
    return answers


async def test_each_is_made_once(settings: Settings) -> None:
    assert await ensure_topics(settings) == [settings.topic(topic.topic) for topic in TOPICS]
    assert await ensure_topics(settings) == []


async def test_a_late_broker_is_asked_again(settings: Settings, late_broker: list[str]) -> None:
    late_broker += ["ready", "ready"]
    await ensure_topics(settings)
    late_broker.clear()
    assert await ensure_topics(settings) == []
    assert late_broker[:3] == ["nothing", "no settings", "all"]


async def test_what_a_late_broker_did_not_know_of_is_verified(settings: Settings, late_broker: list[str]) -> None:
    name = settings.topic(Topic.USAGE_EVENTS)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 3, 1)])
    finally:
        await admin.close()
    with pytest.raises(TopicsDiffer, match=f"{name} has 3 partitions instead of 1"):
        await ensure_topics(settings)
    assert late_broker[:3] == ["nothing", "no settings", "all"]


async def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def mute(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    writers: list[asyncio.StreamWriter] = []
    monkeypatch.setattr(topics, "PATIENCE_SECONDS", 1)
    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    try:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        said = f"Kafka at {address} did not tell of its topics within 1 seconds: check that its brokers are up"
        with pytest.raises(OperatorError, match=re.escape(said)):
            await ensure_topics(Settings(kafka=address, partitions=1))
        assert writers
    finally:
        for writer in writers:
            writer.close()
        server.close()
        await server.wait_closed()
