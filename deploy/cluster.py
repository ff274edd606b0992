"""A Kafka cluster as its brokers describe it. Asking changes nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

Configs = Mapping[str, str]
"""Settings in force, by name."""


@dataclass(slots=True, frozen=True)
class FoundPartition:
    """A partition: the brokers that have it, and those of them that have all of it. `leader` is below 0 where it has
    none."""

    number: int
    leader: int
    replicas: frozenset[int]
    in_sync: frozenset[int]


@dataclass(slots=True, frozen=True)
class FoundTopic:
    """A topic with its settings."""

    partitions: tuple[FoundPartition, ...]
    configs: Configs

    @property
    def replicas(self) -> int:
        """How many each partition has at the least."""
        return min((len(partition.replicas) for partition in self.partitions), default=0)


@dataclass(slots=True, frozen=True)
class Cluster:
    """The brokers that are up, by number, and all topics by name; of those that were not asked for, the settings are
    empty."""

    brokers: tuple[int, ...]
    topics: Mapping[str, FoundTopic]

    @property
    def away(self) -> tuple[int, ...]:
        """The brokers that have replicas and are not up."""
        parts = [part for topic in self.topics.values() for part in topic.partitions]
        return tuple(sorted(frozenset[int]().union(*(part.replicas for part in parts)) - set(self.brokers)))

    @property
    def size(self) -> int:
        """How many brokers it has, up or not."""
        return len(self.brokers) + len(self.away)


async def describe(admin: AIOKafkaAdminClient, of_interest: Iterable[str]) -> Cluster:
    """The cluster, with the settings of these topics. Raises KafkaError."""
    brokers = tuple(sorted(broker["node_id"] for broker in (await admin.describe_cluster())["brokers"]))
    # Of all topics: to ask for one that is absent would create it where the broker is so configured.
    partitions = {
        topic["topic"]: tuple(map(_partition, topic["partitions"])) for topic in await admin.describe_topics()
    }
    configs = await _configs(admin, ConfigResourceType.TOPIC, [name for name in of_interest if name in partitions])
    return Cluster(brokers, {name: FoundTopic(found, configs.get(name, {})) for name, found in partitions.items()})


async def describe_broker(admin: AIOKafkaAdminClient, broker: int) -> Configs:
    """The settings of a broker. Raises KafkaError."""
    return (await _configs(admin, ConfigResourceType.BROKER, [str(broker)]))[str(broker)]


async def _configs(admin: AIOKafkaAdminClient, kind: ConfigResourceType, names: list[str]) -> dict[str, Configs]:
    if not names:
        return {}
    found: dict[str, Configs] = {}
    for response in await admin.describe_configs([ConfigResource(kind, name) for name in names]):
        for code, message, _, name, entries in response.resources:
            if code != 0:
                raise for_code(code)(message)
            found[name] = {entry[0]: entry[1] for entry in entries if entry[1] is not None}
    return found


def _partition(described: Mapping[str, Any]) -> FoundPartition:
    return FoundPartition(
        described["partition"], described["leader"], frozenset(described["replicas"]), frozenset(described["isr"])
    )
