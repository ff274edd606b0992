"""The topics of a deployment: created where they are missing, verified where they exist."""

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError, for_code

from schemas.errors import OperatorError
from schemas.settings import Settings
from schemas.topics import TOPICS, TopicSettings

REPLICATION = 3
MIN_INSYNC_REPLICAS = 2
"""Of three. With one, an acknowledgement could come from a broker that is alone, and be lost with its disk."""


class TopicsDiffer(OperatorError):
    """A topic exists with other settings than the contract's."""


class KafkaAway(OperatorError):
    """No broker answers."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(f"No Kafka broker answers at {bootstrap}; start it, or set TALLY_KAFKA to one that runs.")


async def ensure_topics(settings: Settings, replication: int | None = None) -> list[str]:
    """Create the topics that are missing and verify the others; returns the names of those created.

    Without `replication`, three replicas, or as many as there are brokers.

    Raises TopicsDiffer, which names every difference, and KafkaAway.
    """
    admin = await _connect(settings.kafka)
    try:
        existing = set(await admin.list_topics())
        missing = [topic for topic in TOPICS if settings.topic(topic.topic) not in existing]
        present = [topic for topic in TOPICS if settings.topic(topic.topic) in existing]
        differences = await _differences(admin, settings, present)
        if differences:
            raise TopicsDiffer(
                f"Topics are not as they must be ({'; '.join(differences)}): alter their settings; the number of "
                "partitions is for life, so set --partitions (TALLY_PARTITIONS) to what they have."
            )
        await _create(admin, settings, missing, replication or await _replication(admin))
        return [settings.topic(topic.topic) for topic in missing]
    except KafkaError as error:
        raise OperatorError(
            f"Kafka at {settings.kafka} can't be asked for its topics ({error}): check that it is up and lets Tally "
            "describe and create topics, then run this again."
        ) from error
    finally:
        await admin.close()


async def _connect(bootstrap: str) -> AIOKafkaAdminClient:
    try:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
    except KafkaConnectionError as error:
        raise KafkaAway(bootstrap) from error
    return admin


async def _replication(admin: AIOKafkaAdminClient) -> int:
    cluster = await admin.describe_cluster()
    return min(REPLICATION, len(cluster["brokers"]))


def _partitions(settings: Settings, topic: TopicSettings) -> int:
    return topic.partitions or settings.partitions


async def _create(
    admin: AIOKafkaAdminClient, settings: Settings, topics: list[TopicSettings], replication: int
) -> None:
    if not topics:
        return
    configs = {"min.insync.replicas": str(MIN_INSYNC_REPLICAS)} if replication >= REPLICATION else {}
    response = await admin.create_topics(
        [
            NewTopic(settings.topic(t.topic), _partitions(settings, t), replication, topic_configs=configs | t.configs)
            for t in topics
        ]
    )
    for name, code, *message in response.topic_errors:
        error = for_code(code)
        if code != 0 and error is not TopicAlreadyExistsError:  # another 'tally topics' may run beside this one
            reason = message[0] if message and message[0] else error.__name__
            raise OperatorError(
                f"The topic {name} could not be created ({reason.rstrip('.')}): mend that, then run this again."
            )


async def _differences(admin: AIOKafkaAdminClient, settings: Settings, topics: list[TopicSettings]) -> list[str]:
    if not topics:
        return []
    names = {settings.topic(topic.topic): topic for topic in topics}
    found: list[str] = []
    replicated: set[str] = set()
    for described in await admin.describe_topics(list(names)):
        name, partitions = described["topic"], described["partitions"]
        expected = _partitions(settings, names[name])
        if len(partitions) != expected:
            found.append(f"{name} has {len(partitions)} partitions instead of {expected}")
        if all(len(partition["replicas"]) >= REPLICATION for partition in partitions):
            replicated.add(name)
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    for response in await admin.describe_configs(resources):
        for code, message, _, name, entries in response.resources:
            if code != 0:
                raise KafkaError(message)
            actual = {entry[0]: entry[1] for entry in entries}
            if name in replicated and (insync := int(actual["min.insync.replicas"])) < MIN_INSYNC_REPLICAS:
                found.append(f"{name} has min.insync.replicas={insync} instead of {MIN_INSYNC_REPLICAS}")
            found.extend(
                f"{name} has {key}={actual.get(key)} instead of {value}"
                for key, value in names[name].configs.items()
                if actual.get(key) != value
            )
    return found
