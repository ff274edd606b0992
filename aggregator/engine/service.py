"""The worker's consumer group, hosted by Faust as a service: which partitions this process owns, and their tasks."""

import asyncio
import logging
import os
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError
from mode import Service

from aggregator.engine import metrics
from aggregator.engine.catalog import CatalogFollower, CatalogStore
from aggregator.engine.cluster import find_cluster
from aggregator.engine.company import Company
from aggregator.engine.feed import Feed
from aggregator.engine.halt import Halt, HaltReason
from aggregator.engine.liveness import Liveness
from aggregator.engine.originals import Originals
from aggregator.engine.partition import PATIENCE, Partition, Shared
from aggregator.engine.stores import Memory, Stores, owner_of
from aggregator.engine.watch import Watch
from aggregator.settings import AggregatorSettings
from aggregator.stream.consumer import stop_consumer
from schemas.position import SOURCES
from schemas.topics import Topic

log = logging.getLogger(__name__)

SECOND_MS = 1_000
COMMIT_SECONDS = 1.0
RATES_SECONDS = 0.5
WATCH_SECONDS = 1.0
FETCH_BYTES = 4 << 20
METADATA_MS = 5_000
"""How soon a worker notices that a partition was added, which must stop it."""


class Engine(Service):
    """Owns partitions of `usage-events` through the consumer group, one task each."""

    abstract = False

    def __init__(self, settings: AggregatorSettings, liveness: Liveness, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._settings = settings
        self._liveness = liveness
        self._has_joined = False
        self._owned: dict[int, tuple[Partition, asyncio.Task[None]]] = {}
        self._shared: Shared
        self._store: CatalogStore

    async def on_start(self) -> None:
        """Check the topics, read the catalog, join the group."""
        settings = self._settings
        names = {topic: settings.topic(topic) for topic in Topic}
        cluster = await find_cluster(settings.kafka, names)
        memory = Memory(settings.cache_mib, settings.write_buffer_mib)
        owner = owner_of(settings.app_id, settings.topic_prefix, cluster.id)
        stores = Stores(memory, Path(settings.state_dir), owner)
        self._store = CatalogStore(stores.open("catalog"))
        catalog = CatalogFollower(self._store, names[Topic.CATALOG], settings.kafka)
        await catalog.start()
        timeout_ms = settings.transaction_timeout_seconds * SECOND_MS
        company = Company(settings.linger_milliseconds)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka,
            group_id=f"{settings.topic_prefix}{settings.app_id}",
            enable_auto_commit=False,
            auto_offset_reset="none",  # what was deleted before it was read is never jumped over
            isolation_level="read_committed",
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_wait_ms=company.fetch_max_wait_ms,
            fetch_min_bytes=company.fetch_min_bytes,
            session_timeout_ms=settings.session_timeout_seconds * SECOND_MS,
            heartbeat_interval_ms=settings.session_timeout_seconds * SECOND_MS // 6,
            request_timeout_ms=timeout_ms,
            rebalance_timeout_ms=2 * timeout_ms,  # a batch in flight ends within its own timeout
            partition_assignment_strategy=(RangePartitionAssignor,),  # gives a partition of all sources to one owner
            metadata_max_age_ms=METADATA_MS,
        )
        originals = Originals(settings.kafka, names[Topic.USAGE_EVENTS])
        replies = Feed(settings.kafka, names[Topic.USAGE_REPLIES], metrics.REPLIES)
        await replies.start()
        rates = Feed(settings.kafka, names[Topic.USAGE_RATES], metrics.RATES, RATES_SECONDS)
        await rates.start()
        self._shared = Shared(
            settings, consumer, company, catalog, originals, replies, rates, stores, names, cluster.partitions
        )
        await consumer.start()
        company.follow(consumer)
        consumer.subscribe([names[topic] for topic in SOURCES], listener=_Listener(self))

    async def on_stop(self) -> None:
        """Give everything up in good order: batches in flight are finished."""
        if hasattr(self, "_shared"):
            await self.release(set(self._owned))
            await stop_consumer(self._shared.consumer)
            await self._shared.originals.stop()
            await self._shared.replies.stop()
            await self._shared.rates.stop()
            await self._shared.catalog.stop()
            self._store.close()

    def check(self, number: int) -> None:
        """End the process where a partition was added to a topic since it started."""
        if number >= self._shared.partitions:
            what = (
                f"The sources had {self._shared.partitions} partitions when the worker started, and there is a {number}"
            )
            _exit(Halt(HaltReason.PARTITIONS_CHANGED, what))

    def own(self, number: int) -> None:
        """Begin to work on a partition. Returns at once: heartbeats start only after the rebalance listener has."""
        if self.should_stop:
            return
        partition = Partition(number, self._shared)
        task = asyncio.create_task(partition.run(), name=f"partition-{number}")
        task.add_done_callback(_exit_if_failed)
        self._owned[number] = (partition, task)

    async def release(self, numbers: set[int]) -> None:
        """Stop to work on partitions. Ends the process where that takes too long: the group goes on without it by
        then, and it would own nothing for ever."""
        owned = [self._owned.pop(number) for number in numbers & set(self._owned)]
        stopping = {asyncio.create_task(partition.stop(task)): partition.number for partition, task in owned}
        if not stopping:
            return
        seconds = PATIENCE * self._settings.transaction_timeout_seconds
        stopped, late = await asyncio.wait(stopping, timeout=seconds)
        if late:
            stuck = ", ".join(str(stopping[task]) for task in late)
            _exit(Halt(HaltReason.PARTITION_STUCK, f"Partition {stuck} could not be given up within {seconds} s"))
        for task in stopped:
            task.result()

    def joined(self) -> None:
        """The group has said which partitions are this worker's, perhaps none."""
        self._has_joined = True

    @Service.task
    async def _watch(self) -> None:
        watch = Watch(self._shared.consumer, self._shared.names, self._liveness)
        while not self.should_stop:
            await self.sleep(WATCH_SECONDS)
            if self._has_joined:
                await watch.look([partition for partition, _ in self._owned.values()])

    @Service.task
    async def _commit_offsets(self) -> None:
        """For dashboards of lag only: a worker reads on from the position in its state."""
        names = self._shared.names
        while not self.should_stop:
            await self.sleep(COMMIT_SECONDS)
            offsets = {
                TopicPartition(names[Topic(topic)], number): offset
                for number, (partition, _) in self._owned.items()
                for topic, offset in (partition.positions or {}).items()
            }
            try:
                if offsets:
                    await self._shared.consumer.commit(offsets)
            except KafkaError as error:  # a rebalance is under way, or the broker is away: the next second tells
                log.debug("offsets were not committed: %r", error)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self._engine.release({tp.partition for tp in revoked})

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        counts = Counter(tp.partition for tp in assigned)
        for number, sources in counts.items():
            self._engine.check(number)
            if sources == len(SOURCES):  # else the group's leader did not know of all topics yet, and assigns anew
                self._engine.own(number)
        self._engine.joined()


def _exit_if_failed(task: asyncio.Task[None]) -> None:
    """A failed partition ends the process at once: nothing with an unknown outcome is retried inside of it."""
    if task.cancelled() or (error := task.exception()) is None:
        return
    if isinstance(error, KafkaError):
        error = Halt(HaltReason.BROKER_AWAY, f"Kafka failed {task.get_name()} ({type(error).__name__}: {error})")
    if not isinstance(error, Halt):
        log.critical("%s failed", task.get_name(), exc_info=error)
        error = Halt(HaltReason.PARTITION_FAILED, f"{task.get_name()} failed")
    _exit(error)


def _exit(halt: Halt) -> NoReturn:
    log.critical("%s", halt, extra={"reason": halt.reason.name, "exit_code": halt.exit_code})
    logging.shutdown()
    os._exit(halt.exit_code)
