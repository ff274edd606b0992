"""A gateway that listens, on real servers, with a client that holds a key."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.migrate import migrate
from ingest.gateway.serve import serve
from ingest.keys import Scope, create_key
from ingest.settings import GatewaySettings
from schemas.topics import TOPICS, Topic


@dataclass
class RunningGateway:
    """Where it is, and a client with a key of all scopes, which waits for no verdicts: there may be no worker."""

    settings: GatewaySettings
    url: str
    key: str
    client: httpx.AsyncClient

    async def post(self, path: str, body: Any, key: str | None = None) -> httpx.Response:
        """POST a JSON body under /api/v1."""
        return await self.client.post(f"/api/v1{path}", json=body, headers=self._headers(key))

    async def patch(self, path: str, body: Any, key: str | None = None) -> httpx.Response:
        """PATCH with a JSON body under /api/v1."""
        return await self.client.patch(f"/api/v1{path}", json=body, headers=self._headers(key))

    async def get(self, path: str, key: str | None = None, **parameters: Any) -> httpx.Response:
        """GET under /api/v1."""
        return await self.client.get(f"/api/v1{path}", params=parameters, headers=self._headers(key))

    async def new_key(self, scopes: Iterable[str] = tuple(Scope), services: list[str] | None = None) -> tuple[str, str]:
        """The id of a new key, and the key."""
        connection = await asyncpg.connect(self.settings.database_url)
        try:
            return await create_key(connection, "test", scopes, services)
        finally:
            await connection.close()

    async def catalog(self) -> list[tuple[str, dict[str, Any], int]]:
        """All records of the topic `catalog`: key, value, append time."""
        records = await read_topic(self.settings.kafka, self.settings.topic(Topic.CATALOG), 1)
        return [(record.key.decode(), json.loads(record.value), record.timestamp) for record in records]

    def _headers(self, key: str | None) -> dict[str, str]:
        return {"authorization": f"Bearer {key or self.key}", "prefer": "respond-async"}


@asynccontextmanager
async def running_gateway(
    kafka: str, database_url: str, topic_prefix: str, **settings: Any
) -> AsyncIterator[RunningGateway]:
    """A gateway on a database that this migrates, until the block ends and it has drained."""
    await migrate(database_url)
    configured = GatewaySettings(
        kafka=kafka, database_url=database_url, topic_prefix=topic_prefix, **{"http_port": 0, **settings}
    )
    connection = await asyncpg.connect(database_url)
    _, key = await create_key(connection, "test", Scope)
    await connection.close()
    async with serving(configured) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        yield RunningGateway(configured, url, key, client)


@asynccontextmanager
async def serving(settings: GatewaySettings) -> AsyncIterator[str]:
    """The URL of a gateway with these settings."""
    stop = asyncio.Event()
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(settings, stop, started.set_result))
    either: set[asyncio.Future[Any]] = {task, started}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    try:
        if task.done():
            task.result()
        yield started.result()
    finally:
        stop.set()
        await task


async def new_topics(kafka: str, partitions: int) -> str:
    """The topics that a gateway uses, under a prefix of their own, which is returned."""
    prefix = f"t{secrets.token_hex(6)}-"
    counts = {Topic.USAGE_EVENTS: partitions, Topic.USAGE_CORRECTIONS: partitions, Topic.CATALOG: 1}
    counts[Topic.USAGE_REPLIES] = 4  # fewer than in earnest, which a broker with many deployments is grateful for
    configs = {settings.topic: settings.configs for settings in TOPICS}
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await create_topics(
            admin, [NewTopic(prefix + topic, count, 1, topic_configs=configs[topic]) for topic, count in counts.items()]
        )
    finally:
        await admin.close()
    return prefix


async def create_topics(admin: AIOKafkaAdminClient, topics: list[NewTopic]) -> None:
    """Create topics, and return once the broker tells of them, which on a busy machine is not at once."""
    await admin.create_topics(topics)

    async def are_there() -> bool:
        return {topic.name for topic in topics} <= set(await admin.list_topics())

    await until(are_there)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Return once a condition holds, which another process or task brings about."""
    async with asyncio.timeout(60):
        while not await holds():  # noqa: ASYNC110 - nobody could set an event
            await asyncio.sleep(0.02)


async def read_topic(kafka: str, topic: str, partitions: int) -> list[Any]:
    """Every record of a topic, partition by partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False, isolation_level="read_committed")
    await consumer.start()
    try:
        places = [TopicPartition(topic, number) for number in range(partitions)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        records: list[Any] = []
        for place in places:
            while await consumer.position(place) < ends[place]:
                batches = await consumer.getmany(place, timeout_ms=50)
                records += [record for batch in batches.values() for record in batch]
        return records
    finally:
        await consumer.stop()
