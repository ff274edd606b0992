"""The cluster as a worker finds it: which it is, and whether all topics are there and agree."""

from collections.abc import Mapping
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient

from aggregator.engine.halt import Halt, HaltReason
from schemas.topics import TOPICS, Topic


@dataclass(slots=True, frozen=True)
class Cluster:
    """A cluster with all topics of the deployment; `partitions` is how many `usage-events` has."""

    id: str
    partitions: int


async def find_cluster(bootstrap: str, names: Mapping[Topic, str]) -> Cluster:
    """The cluster at this address. Raises Halt where a topic is missing, or has not as many partitions as it must."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        # Of all topics: to ask for one that is absent would create it where the broker is so configured.
        described = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
        cluster_id = str((await admin.describe_cluster())["cluster_id"])
    finally:
        await admin.close()
    counts = {topic: described.get(name, 0) for topic, name in names.items()}
    partitions = counts[Topic.USAGE_EVENTS]
    for settings in TOPICS:
        if settings.topic is Topic.USAGE_ALERTS:  # no worker reads or writes it
            continue
        count, expected = counts[settings.topic], settings.partitions or partitions
        if count == 0:
            raise Halt(HaltReason.TOPIC_MISSING, f"The topic {names[settings.topic]} does not exist")
        if count != expected:
            what = f"The topic {names[settings.topic]} has {count} partitions instead of {expected}"
            raise Halt(HaltReason.PARTITIONS_CHANGED, what)
    return Cluster(cluster_id, partitions)
