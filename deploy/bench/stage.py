"""A broker with usage in its topics, on which something is measured."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaProducer

from deploy.bench.trim import BROKER_SETTINGS
from deploy.bench.workload import Expected, Workload, publish_catalog, publish_usage
from deploy.local.kafka import LocalKafka
from deploy.topics import ensure_topics
from schemas.settings import Settings


@dataclass(frozen=True)
class Stage:
    """A broker of its own, the deployment whose topics it has, and what must come out of the usage in them."""

    settings: Settings
    kafka: LocalKafka
    directory: Path
    workload: Workload
    expected: Expected
    is_trimmed: bool = False
    """Whether the topic need not keep what is decided, see bench.trim."""


@asynccontextmanager
async def stage(workload: Workload, *, is_trimmed: bool = False) -> AsyncIterator[Stage]:
    """One with all of the workload in `usage-events`, until the block ends; then nothing is left of it."""
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as directory:
        kafka = LocalKafka(Path(directory) / "kafka", to_measure=True, settings=BROKER_SETTINGS if is_trimmed else {})
        await kafka.start()
        try:
            settings = Settings(kafka=kafka.bootstrap, topic_prefix="run-", partitions=workload.partitions)
            await ensure_topics(settings)
            async with producer(settings) as publishing:
                await publish_catalog(publishing, settings, workload)
                expected = await publish_usage(publishing, settings, workload)
            yield Stage(settings, kafka, Path(directory), workload, expected, is_trimmed)
        finally:
            await kafka.stop()


@asynccontextmanager
async def producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """A producer whose batches are large."""
    started = AIOKafkaProducer(
        bootstrap_servers=settings.kafka, acks="all", enable_idempotence=True, max_batch_size=1 << 20
    )
    await started.start()
    try:
        yield started
    finally:
        await started.stop()
