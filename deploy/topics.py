"""The topics of a deployment: created where they are missing, verified where they exist."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)

from deploy.cluster import Cluster, FoundTopic, describe
from schemas.errors import OperatorError
from schemas.settings import Settings
from schemas.topics import TOPICS, TopicSettings

REPLICATION = 3
MIN_INSYNC_REPLICAS = 2
"""Of three. With one, an acknowledgement could come from a broker that is alone, and be lost with its disk."""


PATIENCE_SECONDS = 30
PAUSE_SECONDS = 0.1


class TopicsDiffer(OperatorError):
    """A topic exists with other settings than the contract's."""


class KafkaAway(OperatorError):
    """No broker answers."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(f"No Kafka broker answers at {bootstrap}; start it, or set TALLY_KAFKA to one that runs.")


async def ensure_topics(settings: Settings, replication: int | None = None) -> list[str]:
    """Create the topics that are missing and verify the others; returns the names of those created.

    Without `replication`, three replicas, or as many as there are brokers.

    Raises TopicsDiffer, which names every difference, KafkaAway, and OperatorError where Kafka refuses or does not
    answer within PATIENCE_SECONDS.
    """
    try:
        async with asyncio.timeout(PATIENCE_SECONDS), _connected(settings.kafka) as admin:
            return await _ensure(admin, settings, replication)
    except TimeoutError as error:
        raise OperatorError(
            f"Kafka at {settings.kafka} did not tell of its topics within {PATIENCE_SECONDS} seconds: check that its "
            "brokers are up and that TALLY_KAFKA names one of them, then run this again."
        ) from error
    except KafkaError as error:
        raise OperatorError(
            f"Kafka at {settings.kafka} can't be asked for its topics ({error}): check that it is up and lets Tally "
            "describe and create topics, then run this again."
        ) from error


@asynccontextmanager
async def _connected(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        try:
            await admin.start()
        except KafkaConnectionError as error:
            raise KafkaAway(bootstrap) from error
        yield admin
    finally:
        await admin.close()


async def _ensure(admin: AIOKafkaAdminClient, settings: Settings, replication: int | None) -> list[str]:
    created: set[str] = set()
    while True:
        # A broker learns in its own time of topics that exist: what it does not know of is asked for again.
        with suppress(UnknownTopicOrPartitionError):
            cluster = await describe(admin, [settings.topic(topic.topic) for topic in TOPICS])
            _verify(settings, cluster)
            unknown = [topic for topic in TOPICS if settings.topic(topic.topic) not in cluster.topics.keys() | created]
            created |= await _create(admin, settings, unknown, replication or min(REPLICATION, len(cluster.brokers)))
            if all(settings.topic(topic.topic) in created for topic in unknown):
                return [name for topic in TOPICS if (name := settings.topic(topic.topic)) in created]
        await asyncio.sleep(PAUSE_SECONDS)


def _verify(settings: Settings, cluster: Cluster) -> None:
    found = [
        f"{name} has {difference}"
        for topic in TOPICS
        if (name := settings.topic(topic.topic)) in cluster.topics
        for difference in differences(settings, topic, cluster.topics[name])
    ]
    if found:
        raise TopicsDiffer(
            f"Topics are not as they must be ({'; '.join(found)}): alter their settings; the number of "
            "partitions is for life, so set --partitions (TALLY_PARTITIONS) to what they have."
        )


async def _create(
    admin: AIOKafkaAdminClient, settings: Settings, topics: list[TopicSettings], replication: int
) -> set[str]:
    """Create these; returns the names of those that did not exist."""
    if not topics:
        return set()
    configs = {"min.insync.replicas": str(MIN_INSYNC_REPLICAS)} if replication >= REPLICATION else {}
    response = await admin.create_topics(
        [
            NewTopic(
                settings.topic(t.topic), partitions_of(settings, t), replication, topic_configs=configs | t.configs
            )
            for t in topics
        ]
    )
    created = set()
    for name, code, *message in response.topic_errors:
        error = for_code(code)
        if code == 0:
            created.add(name)
        elif error is not TopicAlreadyExistsError:  # another 'tally topics' may run beside this one
            reason = message[0] if message and message[0] else error.__name__
            raise OperatorError(
                f"The topic {name} could not be created ({reason.rstrip('.')}): mend that, then run this again."
            )
    return created


def partitions_of(settings: Settings, topic: TopicSettings) -> int:
    """How many the topic has in this deployment."""
    return topic.partitions or settings.partitions


def differences(settings: Settings, topic: TopicSettings, found: FoundTopic) -> list[str]:
    """What is not as the contract has it, in words that follow the topic's name."""
    expected = partitions_of(settings, topic)
    said = []
    if len(found.partitions) != expected:
        said.append(f"{len(found.partitions)} partitions instead of {expected}")
    return said + [f"{name}={actual} instead of {value}" for name, value, actual in altered(topic, found)]


def altered(topic: TopicSettings, found: FoundTopic) -> list[tuple[str, str, str | None]]:
    """The settings that are not the contract's: name, the contract's value, and that in force."""
    expected = dict(topic.configs)
    insync = int(found.configs["min.insync.replicas"])
    if found.replicas >= REPLICATION and insync < MIN_INSYNC_REPLICAS:
        expected["min.insync.replicas"] = str(MIN_INSYNC_REPLICAS)
    return [
        (name, value, found.configs.get(name)) for name, value in expected.items() if found.configs.get(name) != value
    ]
