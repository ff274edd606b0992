"""A worker of the aggregator as a process, on a deployment of the test's own, fed through Kafka alone."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from deploy.log import all_records, ledger_of
from deploy.topics import ensure_topics
from schemas.correction import Void
from schemas.forwarding import Headers
from schemas.settings import Settings
from schemas.topics import Topic, partition_of

DECIDED_SECONDS = 60


@dataclass(frozen=True)
class Deployment:
    """Topics, a producer for whatever anybody may put there, and a place for the worker's state."""

    settings: Settings
    producer: AIOKafkaProducer
    state_dir: Path

    async def put(self, key: bytes | None, value: bytes | None, partition: int, **headers: bytes) -> int:
        """Put a record on `usage-events`; returns its offset."""
        return await self.put_on(Topic.USAGE_EVENTS, key, value, partition, list(headers.items()))

    async def put_on(
        self, topic: Topic, key: bytes | None, value: bytes | None, partition: int, headers: Headers | None = None
    ) -> int:
        """Put a record on any topic; returns its offset."""
        batch = self.producer.create_batch()  # unlike send(), it takes a record with neither key nor value
        assert batch.append(key=key, value=value, timestamp=None, headers=headers or []) is not None
        sent = await self.producer.send_batch(batch, self.settings.topic(topic), partition=partition)
        return int((await sent).offset)

    async def put_void(self, event_id: str, *unique_key: str) -> int:
        """Put a void where it belongs; returns its offset."""
        void = Void(event_id, unique_key, "a test")
        partition = partition_of(void.subscription_id, self.settings.partitions)
        return await self.put_on(Topic.USAGE_CORRECTIONS, void.subscription_id.encode(), void.to_json(), partition)

    async def put_event(self, **fields: Any) -> int:
        """Put a usage event where it belongs; returns its offset."""
        subscription_id = fields["subscriptionId"]
        partition = partition_of(subscription_id.strip(), self.settings.partitions)
        return await self.put(subscription_id.encode(), json.dumps(fields).encode(), partition)

    async def publish(self, *entries: dict[str, Any]) -> None:
        """Put entries on the catalog; `kind` says of what."""
        for entry in entries:
            kind = entry.pop("kind")
            document = json.dumps({"version": 1, **entry}).encode()
            key = f"{kind}/{entry['id']}".encode()
            await self.producer.send_and_wait(self.settings.topic(Topic.CATALOG), document, key=key)

    def worker_environment(self, **extra: str) -> dict[str, str]:
        """What makes a process a worker of this deployment."""
        return {
            **os.environ,
            "TALLY_KAFKA": self.settings.kafka,
            "TALLY_TOPIC_PREFIX": self.settings.topic_prefix,
            "TALLY_STATE_DIR": str(self.state_dir),
            "TALLY_GRACE_SECONDS": "0",
            **extra,
        }

    async def start_worker(self, **extra: str) -> asyncio.subprocess.Process:
        """Start a worker."""
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy", "--log-level", "warning", "aggregator"),
            env=self.worker_environment(**extra),
            stderr=asyncio.subprocess.PIPE,
        )

    @asynccontextmanager
    async def worker(self, **extra: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a worker until the block ends, and see it end well."""
        process = await self.start_worker(**extra)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            await process.communicate()
        assert process.returncode == 0

    async def decided(self, records: int, **others: int) -> dict[str, int]:
        """The ledger, once so many records of `usage-events` are decided, and so many of what `others` names in it."""
        async with asyncio.timeout(DECIDED_SECONDS):
            while True:
                ledger = await ledger_of(self.settings)
                if ledger["received"] >= records and all(ledger[name] >= count for name, count in others.items()):
                    return dict(ledger)
                await asyncio.sleep(0.05)

    async def closed(self, records: int) -> list[dict[str, Any]]:
        """The closed periods, once there are so many records of them."""
        async with asyncio.timeout(DECIDED_SECONDS):
            while len(found := await self.records(Topic.CLOSED_PERIODS)) < records:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return [json.loads(record.value) for record in found]

    async def records(self, topic: Topic) -> list[Any]:
        """All committed records of a topic."""
        return await all_records(self.settings, topic)


@asynccontextmanager
async def deployment(bootstrap: str, prefix: str, state_dir: Path, partitions: int = 2) -> AsyncIterator[Deployment]:
    """Topics of their own on a shared broker, with a small catalog."""
    settings = Settings(kafka=bootstrap, topic_prefix=prefix, partitions=partitions)
    await ensure_topics(settings)
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, max_batch_size=2 << 20
    )
    await producer.start()
    try:
        yield Deployment(settings, producer, state_dir)
    finally:
        await producer.stop()
