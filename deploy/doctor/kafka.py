"""The brokers, and how safely they keep what they are given."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import ApiVersionRequest

from aggregator.settings import AggregatorSettings
from deploy.cluster import Cluster, Configs, FoundTopic, describe, describe_broker
from deploy.doctor.finding import Finding, fail, named, ok, unknown, warn
from deploy.topics import MIN_INSYNC_REPLICAS, REPLICATION, KafkaAway
from schemas.settings import Settings
from schemas.topics import TOPICS

TRANSACTION_LOG, OFFSETS = "__transaction_state", "__consumer_offsets"

FETCH_API, FETCH_OF_KAFKA_4 = 1, 4
"""Kafka 4.0 took the versions of a fetch before this one away: how a client can tell (KIP-896)."""

TRUE = "true"
SECOND_MS = 1_000


@dataclass(slots=True, frozen=True)
class Brokers:
    """What the brokers say: the cluster, the settings of each (None: it did not answer), whether it is Kafka 4 or
    newer."""

    cluster: Cluster
    configs: Mapping[int, Configs | None]
    is_kafka_4: bool


async def find_brokers(settings: Settings, seconds: float) -> Brokers:
    """Ask them. Raises KafkaAway and KafkaError."""
    milliseconds = int(seconds * SECOND_MS)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka, request_timeout_ms=milliseconds)
    try:
        try:
            await admin.start()
        except KafkaError as error:
            raise KafkaAway(settings.kafka) from error
        cluster = await describe(admin, [*(settings.topic(topic.topic) for topic in TOPICS), TRANSACTION_LOG, OFFSETS])
        configs = {broker: await _configs(admin, broker) for broker in cluster.brokers}
    finally:
        await admin.close()
    return Brokers(cluster, configs, await _is_kafka_4(settings.kafka, milliseconds))


async def _configs(admin: AIOKafkaAdminClient, broker: int) -> Configs | None:
    try:
        return await describe_broker(admin, broker)
    except KafkaError:
        return None


async def _is_kafka_4(bootstrap: str, milliseconds: int) -> bool:
    client = AIOKafkaClient(bootstrap_servers=bootstrap, request_timeout_ms=milliseconds)
    try:
        await client.bootstrap()
        answer = await client.send(client.get_random_node(), ApiVersionRequest())
        return any(api == FETCH_API and least >= FETCH_OF_KAFKA_4 for api, least, _ in answer.api_versions)
    finally:
        await client.close()


def judge_brokers(found: Brokers, settings: Settings, worker: AggregatorSettings) -> Iterator[Finding]:
    """What there is to say of the brokers, whatever topics they have."""
    yield _version(found, settings.kafka)
    for name, of_topic, of_minimum in (
        (TRANSACTION_LOG, "transaction.state.log.replication.factor", "transaction.state.log.min.isr"),
        (OFFSETS, "offsets.topic.replication.factor", None),
    ):
        yield _internal(found, name, of_topic, of_minimum)
    yield from _limits(found, worker)


def _version(found: Brokers, bootstrap: str) -> Finding:
    count = found.cluster.size
    brokers = f"{count} broker{'s' if count > 1 else ''} at {bootstrap}"
    if away := [str(broker) for broker in found.cluster.away]:
        return warn(
            "kafka",
            f"{brokers}, of which broker {named(away)} is away",
            "Bring it back before another one goes: with fewer than min.insync.replicas, nothing is acknowledged.",
        )
    if not found.is_kafka_4:
        return warn(
            "kafka", f"{brokers}, older than Kafka 4.0", "Tally is tested with Kafka 4.1: upgrade the brokers to that."
        )
    if silent := [str(broker) for broker, configs in found.configs.items() if configs is None]:
        return unknown(
            "kafka",
            f"{brokers}, Kafka 4.0 or newer; of broker {named(silent)} the settings could not be read",
            "See whether it is up and reachable from here, and let this client describe the settings of brokers.",
        )
    return ok("kafka", f"{brokers}, Kafka 4.0 or newer")


def _internal(found: Brokers, name: str, of_topic: str, of_minimum: str | None) -> Finding:
    """Kafka's own topic: as it is, or where it is not there yet, as it would be."""
    topic = found.cluster.topics.get(name)
    needed = min(REPLICATION, found.cluster.size)
    replicas = _least(found, of_topic) if topic is None else topic.replicas
    minimum = MIN_INSYNC_REPLICAS if of_minimum is None else _minimum(found, topic, of_minimum)
    if replicas is None or minimum is None:
        return unknown(name, "how it is replicated could not be read", "Let this client describe brokers and topics.")
    fact = f"{replicas} of {needed} replicas" + ("" if topic is not None else ", once it is made")
    if replicas < needed:
        return fail(
            name,
            f"{fact}: what it holds is lost with one broker's disk",
            f"Reassign its partitions to {needed} brokers, and set {of_topic}={needed} on all brokers.",
        )
    if needed >= REPLICATION and minimum < MIN_INSYNC_REPLICAS:
        return fail(
            name,
            f"{fact}, of which one alone may acknowledge",
            f"Set min.insync.replicas={MIN_INSYNC_REPLICAS} on it, and {of_minimum}={MIN_INSYNC_REPLICAS} on all"
            " brokers.",
        )
    return ok(name, fact)


def _minimum(found: Brokers, topic: FoundTopic | None, of_minimum: str) -> int | None:
    if topic is None:
        return _least(found, of_minimum)
    minimum = topic.configs.get("min.insync.replicas")
    return None if minimum is None else int(minimum)


def _least(found: Brokers, name: str) -> int | None:
    """The lowest value of a setting among the brokers; None where none of them tells it."""
    return min((int(configs[name]) for configs in found.configs.values() if configs and name in configs), default=None)


def _limits(found: Brokers, worker: AggregatorSettings) -> Iterator[Finding]:
    """Whether the brokers let a worker have what it is set to ask for."""
    asked = worker.transaction_timeout_seconds * SECOND_MS
    allowed = _least(found, "transaction.max.timeout.ms")
    if allowed is not None and asked > allowed:
        yield fail(
            "worker settings",
            f"TALLY_TRANSACTION_TIMEOUT_SECONDS is {worker.transaction_timeout_seconds}, and a broker has"
            f" transaction.max.timeout.ms={allowed}: no worker can begin a transaction",
            "Lower the one or raise the other.",
        )
    session = worker.session_timeout_seconds * SECOND_MS
    for configs in filter(None, found.configs.values()):
        least, most = (int(configs.get(f"group.{end}.session.timeout.ms", session)) for end in ("min", "max"))
        if not least <= session <= most:
            yield fail(
                "worker settings",
                f"TALLY_SESSION_TIMEOUT_SECONDS is {worker.session_timeout_seconds}, and a broker allows {least} to"
                f" {most} ms: no worker can join the group",
                "Change the one or the other.",
            )
            return
