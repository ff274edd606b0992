"""Topics, a database, and a process between them: what the tests of the closer and of the projector share."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from schemas.forwarding import Headers
from schemas.topics import MIB, TOPICS, Topic

PATIENCE_SECONDS = 30.0


@dataclass
class Stream:
    """What was written to the topics of one test, how far that reaches, and what a process made of it in Postgres."""

    bootstrap: str
    prefix: str
    producer: AIOKafkaProducer
    database: asyncpg.Connection
    ends: dict[TopicPartition, int] = field(default_factory=dict)

    async def append(
        self, topic: Topic, partition: int, key: bytes | None, value: bytes | None, headers: Headers | None = None
    ) -> int:
        """Write a record and return its append time in ms."""
        name = self.prefix + topic
        batch = self.producer.create_batch()  # unlike send(), it takes a record with neither key nor value
        assert batch.append(key=key, value=value, timestamp=None, headers=headers or []) is not None
        sent = await (await self.producer.send_batch(batch, name, partition=partition))
        self.ends[TopicPartition(name, partition)] = sent.offset + 1
        return int(sent.timestamp)

    async def rows(self, sql: str) -> list[tuple[object, ...]]:
        return [tuple(row) for row in await self.database.fetch(sql)]

    async def stored(self) -> dict[TopicPartition, int]:
        rows = await self.database.fetch("SELECT topic, partition, next_offset FROM stream_offsets")
        return {TopicPartition(row["topic"], row["partition"]): row["next_offset"] for row in rows}

    async def rewind(self) -> None:
        await self.database.execute("UPDATE stream_offsets SET next_offset = 0")

    async def all_is_read(self) -> None:
        async def is_read() -> bool:
            stored = await self.stored()
            return all(stored.get(partition, 0) >= end for partition, end in self.ends.items())

        await eventually(is_read)


@asynccontextmanager
async def open_stream(
    bootstrap: str, database: asyncpg.Connection, *topics: Topic, partitions: int
) -> AsyncIterator[Stream]:
    """Topics under a prefix of their own."""
    prefix = f"t{secrets.token_hex(6)}-"
    configs = {settings.topic: settings.configs for settings in TOPICS}
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics(
            [NewTopic(prefix + topic, partitions, 1, topic_configs=configs[topic]) for topic in topics]
        )
    finally:
        await admin.close()
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, max_request_size=2 * MIB
    )
    await producer.start()
    try:
        yield Stream(bootstrap, prefix, producer, database)
    finally:
        await producer.stop()


@asynccontextmanager
async def working(run: Callable[[asyncio.Event], Awaitable[None]]) -> AsyncIterator[None]:
    """A process at work; leaving it lets the process finish, and raises what it raised."""
    stop = asyncio.Event()
    task = asyncio.ensure_future(run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def eventually(condition: Callable[[], Awaitable[object]]) -> None:
    """Return once the condition holds; fail where it does not in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not await condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.02)
