"""What happens to the topics and state of a worker that must not, and what it makes of that."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import PolicyViolationError

from aggregator.engine import metrics
from aggregator.engine.catalog import CatalogFollower, CatalogStore
from aggregator.engine.cluster import find_cluster
from aggregator.engine.company import Company
from aggregator.engine.feed import Feed
from aggregator.engine.halt import Halt, HaltReason
from aggregator.engine.originals import Originals
from aggregator.engine.partition import Partition, Shared
from aggregator.engine.stores import Memory, Stores, owner_of
from aggregator.settings import AggregatorSettings
from aggregator.stream.consumer import stop_consumer
from deploy.log import ledger_of
from schemas.forwarding import Origin
from schemas.position import SOURCES
from schemas.topics import TOPICS, Topic
from tests.integration.test_worker import KEY, event
from tests.integration.worker import Deployment

HALT_SECONDS = 60
HOME = 0
"""One partition, so that it is known which halts the worker."""
OPEN = {"TALLY_GRACE_SECONDS": "3600"}
"""Nothing closes meanwhile."""


@asynccontextmanager
async def admin_of(tally: Deployment) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=tally.settings.kafka)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def recreate(tally: Deployment, topic: Topic, **configs: str) -> None:
    """Delete the topic and make it anew."""
    name, known = tally.settings.topic(topic), next(known for known in TOPICS if known.topic is topic)
    partitions = known.partitions or tally.settings.partitions
    async with admin_of(tally) as admin:
        await admin.delete_topics([name])
        async with asyncio.timeout(HALT_SECONDS):
            while name in await admin.list_topics():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await admin.create_topics([NewTopic(name, partitions, 1, topic_configs={**known.configs, **configs})])
        async with asyncio.timeout(HALT_SECONDS):
            while name not in await admin.list_topics():  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def delete_records(tally: Deployment, topic: Topic, partition: int = HOME) -> None:
    """Delete all that the partition holds; its offsets go on. Kafka does so only where its settings let records go."""
    name, known = tally.settings.topic(topic), next(known for known in TOPICS if known.topic is topic)
    async with admin_of(tally) as admin:
        deletable = {**known.configs, "cleanup.policy": "compact,delete"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=deletable)])
        async with asyncio.timeout(HALT_SECONDS):
            while True:
                with contextlib.suppress(PolicyViolationError):  # the broker has not heard of it yet
                    await admin.delete_records({TopicPartition(name, partition): RecordsToDelete(-1)})
                    return


async def grow(tally: Deployment, *topics: Topic) -> None:
    """Add a partition to topics."""
    async with admin_of(tally) as admin:
        count = tally.settings.partitions + 1
        await admin.create_partitions({tally.settings.topic(topic): NewPartitions(count) for topic in topics})


async def count_some(tally: Deployment) -> None:
    """A worker counts three events, one of them forwarded, and takes one back; its state is kept."""
    offset = await tally.put(KEY, event(eventKey="tokens#1"), HOME)
    await tally.put(KEY, event(eventKey="tokens#2"), HOME)
    origin = Origin(HOME, 1_000, (await tally.records(Topic.USAGE_EVENTS))[0].timestamp)
    await tally.put_on(Topic.USAGE_FORWARDED, KEY, event(eventKey="tokens#3"), HOME, origin.headers())
    await tally.put_void(f"ue_{HOME}_{offset}", "sub_active", "tokens#1")
    async with tally.worker(**OPEN):
        await counted(tally, accepted=2, forwardedInAccepted=1, voids=1)


async def counted(tally: Deployment, **counts: int) -> None:
    """Return once the ledger says so."""
    async with asyncio.timeout(HALT_SECONDS):
        while not counts.items() <= (await ledger_of(tally.settings)).items():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def opening(tally: Deployment, state_dir: Path | None = None, decided: int = 0) -> Halt | None:
    """What a worker halts for that opens the home partition with this state and decides its events up to an offset;
    None where it does not halt."""
    settings = AggregatorSettings.model_validate(
        {**tally.settings.model_dump(), "state_dir": str(state_dir or tally.state_dir), "grace_seconds": 3600}
    )
    names = {topic: settings.topic(topic) for topic in Topic}
    async with contextlib.AsyncExitStack() as stack:
        try:
            cluster = await find_cluster(settings.kafka, names)
            owner = owner_of(settings.app_id, settings.topic_prefix, cluster.id)
            stores = Stores(Memory(8, 8), Path(settings.state_dir), owner)
            catalog_store = CatalogStore(stores.open("catalog"))
            stack.callback(catalog_store.close)
            catalog = CatalogFollower(catalog_store, names[Topic.CATALOG], settings.kafka)
            stack.push_async_callback(catalog.stop)
            await catalog.start()
            consumer = AIOKafkaConsumer(
                bootstrap_servers=settings.kafka, auto_offset_reset="none", isolation_level="read_committed"
            )
            stack.push_async_callback(stop_consumer, consumer)
            await consumer.start()
            consumer.assign([TopicPartition(names[topic], HOME) for topic in SOURCES])
            originals = Originals(settings.kafka, names[Topic.USAGE_EVENTS])
            replies = Feed(settings.kafka, names[Topic.USAGE_REPLIES], metrics.REPLIES)
            rates = Feed(settings.kafka, names[Topic.USAGE_RATES], metrics.RATES)
            for feed in (replies, rates):
                stack.push_async_callback(feed.stop)
                await feed.start()
            shared = Shared(
                settings, consumer, Company(0), catalog, originals, replies, rates, stores, names, cluster.partitions
            )
            partition = Partition(HOME, shared)
            task = asyncio.create_task(partition.run())
            stack.push_async_callback(partition.stop, task)
            async with asyncio.timeout(HALT_SECONDS):
                while not task.done() and (partition.decided or {}).get(Topic.USAGE_EVENTS, -1) < decided:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            if task.done():
                task.result()
        except Halt as halt:
            return halt
    return None


async def assert_not_opened(tally: Deployment, reason: HaltReason, *words: str, state_dir: Path | None = None) -> None:
    """The home partition can't be opened with this state, for this reason and with these words."""
    halt = await opening(tally, state_dir)
    assert halt is not None, "it was opened"
    assert halt.reason is reason, halt
    assert all(word in str(halt) for word in words), halt


async def assert_halts(tally: Deployment, reason: HaltReason, *words: str, **extra: str) -> None:
    """A worker that starts now exits with the reason's code and a sentence with these words."""
    await assert_halted(await tally.start_worker(**{**OPEN, **extra}), reason, *words)


async def assert_halted(process: asyncio.subprocess.Process, reason: HaltReason, *words: str) -> None:
    try:
        async with asyncio.timeout(HALT_SECONDS):
            _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    told = said.decode()
    assert process.returncode == reason.code, told
    assert reason.remedy in told
    assert all(word in told for word in words), told
    assert "Traceback" not in told
