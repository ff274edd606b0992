"""A catalog of one service, one plan and one subscription; and a deployment whose database can be put back."""

import asyncio
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from aiokafka import AIOKafkaProducer

from schemas.topics import Topic
from tests.integration.running_gateway import RunningGateway, running_gateway

SERVICE: dict[str, Any] = {"id": "svc", "name": "Service"}
PLAN: dict[str, Any] = {
    "id": "plan",
    "serviceId": "svc",
    "name": "Plan",
    "pricingType": "USAGE_BASED",
    "billingInterval": "MONTH",
    "unitPrices": {"tokens": "0.000000000001"},
}
SUBSCRIPTION: dict[str, Any] = {"id": "sub", "serviceId": "svc", "paymentPlanId": "plan", "userId": "user"}


async def set_up(gateway: RunningGateway, **subscription: Any) -> None:
    """Create all three, the subscription with these fields."""
    for path, body in (
        ("/services", SERVICE),
        ("/plans", PLAN),
        ("/subscriptions", {**SUBSCRIPTION, **subscription}),
    ):
        answer = await gateway.post(path, body)
        assert answer.status_code == 201, answer.text


SECONDS = 60


class World:
    """A deployment's Kafka and Postgres; the database can be copied, and the copy put in its place."""

    def __init__(self, kafka: str, prefix: str, url: str, server: str) -> None:
        self.kafka, self.prefix, self.url = kafka, prefix, url
        self._server = server

    def gateway(self, **settings: Any) -> Any:
        return running_gateway(self.kafka, self.url, self.prefix, **settings)

    async def back_up(self) -> str:
        """A copy of the database as it is now; nobody may use it meanwhile."""
        copy = f"test_{uuid.uuid4().hex}"
        await self._execute(f'CREATE DATABASE "{copy}" TEMPLATE "{urlsplit(self.url).path[1:]}"')
        return copy

    async def restore(self, copy: str) -> None:
        """Have the copy take the place of the database."""
        name = urlsplit(self.url).path[1:]
        await self._execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await self._execute(f'ALTER DATABASE "{copy}" RENAME TO "{name}"')

    async def tally(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, output and errors of a command."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy", "--log-level", "warning", *arguments),
            env={
                **os.environ,
                "TALLY_KAFKA": self.kafka,
                "TALLY_TOPIC_PREFIX": self.prefix,
                "TALLY_DATABASE_URL": self.url,
                "TALLY_HTTP_PORT": "0",
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(SECONDS):
            out, errors = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), errors.decode()

    async def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        async with self.connection() as connection:
            return [tuple(row) for row in await connection.fetch(sql)]

    @asynccontextmanager
    async def connection(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        connection = await asyncpg.connect(self.url)
        try:
            yield connection
        finally:
            await connection.close()

    async def publish(self, key: str, entry: dict[str, Any]) -> None:
        """Put an entry on the topic, as a gateway on another database would."""
        producer = AIOKafkaProducer(bootstrap_servers=self.kafka)
        await producer.start()
        try:
            topic = self.prefix + Topic.CATALOG
            await producer.send_and_wait(topic, json.dumps(entry).encode(), key=key.encode(), partition=0)
        finally:
            await producer.stop()

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self._server)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()
