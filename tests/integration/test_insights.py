"""`tally insights` as a process: what it makes of usage-rates, and whom it tells."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaProducer

from deploy.local.ports import free_port
from deploy.log import all_records
from deploy.topics import ensure_topics
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.usage_rate import UsageRate
from tests.integration.stream_world import eventually
from tests.integration.webhook_receiver import SECRET, Receiver, receiving

ALERTS = """
[[alert]]
name = "busy"
serviceId = "svc_1"
meter = "token"
measure = "quantity"
above = 5.5
windowSeconds = 900
"""

INVOICE = """
INSERT INTO invoices (id, source, service_id, payment_plan_id, user_id, status, amount, currency)
VALUES ($1, 'MANUAL', 'svc_1', 'plan_1', 'user_1', 'OPEN', 5.25, 'USDC')
"""


@dataclass
class World:
    """Topics and a database of their own, and somebody who receives webhooks."""

    settings: Settings
    receiver: Receiver
    alerts: Path

    async def put(self, *records: tuple[bytes, bytes]) -> None:
        """Put records on usage-rates, in turn on its partitions."""
        producer = AIOKafkaProducer(bootstrap_servers=self.settings.kafka, acks="all")
        await producer.start()
        try:
            for number, (key, value) in enumerate(records):
                name = self.settings.topic(Topic.USAGE_RATES)
                await producer.send_and_wait(name, value, key=key, partition=number % self.settings.partitions)
        finally:
            await producer.stop()

    async def start(self, port: int) -> asyncio.subprocess.Process:
        """Start the insights."""
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy", "insights"),
            env={
                **os.environ,
                "TALLY_KAFKA": self.settings.kafka,
                "TALLY_DATABASE_URL": self.settings.database_url,
                "TALLY_TOPIC_PREFIX": self.settings.topic_prefix,
                "TALLY_METRICS_PORT": str(port),
                "TALLY_ALERTS": str(self.alerts),
                "TALLY_WEBHOOK_URL": self.receiver.url,
                "TALLY_WEBHOOK_SECRET": SECRET,
                "TALLY_WEBHOOK_TIMEOUT_SECONDS": "1",
            },
        )

    @asynccontextmanager
    async def insights(self) -> AsyncIterator[str]:
        """The insights at work, under this URL; see them end well."""
        port = free_port()
        process = await self.start(port)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            if process.returncode is None:
                process.terminate()
            await asyncio.wait_for(process.wait(), 30)
        assert process.returncode == 0


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as opened:
        yield opened


@pytest.fixture
async def insights_world(
    kafka_bootstrap: str,
    database_url: str,
    topic_prefix: str,
    receiver: Receiver,
    tmp_path: Path,
    database: asyncpg.Connection,
) -> World:
    settings = Settings(kafka=kafka_bootstrap, database_url=database_url, topic_prefix=topic_prefix, partitions=2)
    await ensure_topics(settings)
    alerts = tmp_path / "alerts.toml"
    alerts.write_text(ALERTS)
    return World(settings, receiver, alerts)


async def shown(url: str, path: str) -> Any:
    """What the process shows; nothing while it does not listen yet."""
    async with httpx.AsyncClient(trust_env=False) as client:
        try:
            answer = await client.get(url + path)
        except httpx.TransportError:
            return {}
    return answer.json() if path == "/rates" else answer.text


async def test_usage_becomes_rates_and_an_alert_on_the_topic_and_at_the_receiver(insights_world: World) -> None:
    world = insights_world
    rates = [UsageRate("svc_1", "token", 2, 3_000_000), UsageRate("svc_1", "token", 1, 2_600_000)]
    await world.put(*((rate.key, rate.to_json()) for rate in rates), (b"no rate", b"at all"))
    async with world.insights() as url:

        async def is_shown() -> bool:
            return bool((await shown(url, "/rates")).get("rates"))

        await eventually(is_shown)
        page = await shown(url, "/rates")
        (rate,) = page["rates"]
        assert (rate["serviceId"], rate["meter"]) == ("svc_1", "token")
        assert rate["last15Minutes"] == {
            "eventCount": 3,
            "quantity": "5.600000",
            "eventsPerSecond": "0.003333",  # 3 in 900 s
            "quantityPerSecond": "0.006222",
        }
        assert sum(page["total"]["series"]["eventCounts"]) == 3

        async def is_told() -> list[Any]:
            return world.receiver.of("usage.alert.firing")

        await eventually(is_told)
        (told,) = await is_told()
        assert told.is_signed()
        alert = told.document["data"]["alert"]
        assert alert.items() >= {"rule": "busy", "value": "5.600000", "threshold": "5.500000"}.items()
        (record,) = await all_records(world.settings, Topic.USAGE_ALERTS)
        assert json.loads(record.value) == alert
        metrics = await shown(url, "/metrics")
        assert "tally_insights_skipped_records_total 1.0" in metrics
        assert "svc_1" not in metrics


async def test_an_invoice_whose_sender_is_killed_before_it_has_kept_the_answer_comes_again_under_the_same_id(
    insights_world: World, database: asyncpg.Connection
) -> None:
    world, port = insights_world, free_port()
    first = await world.start(port)

    async def is_on() -> object:
        return await database.fetchval("SELECT count(*) FROM webhook_receiver")

    await eventually(is_on)
    world.receiver.hold()
    await database.execute(INVOICE, "inv_1")

    async def is_received() -> bool:
        return len(world.receiver.received) == 1

    await eventually(is_received)
    first.kill()
    await first.wait()
    world.receiver.release()
    assert await database.fetchval("SELECT delivered_at FROM webhook_deliveries") is None
    async with world.insights():

        async def is_delivered() -> object:
            return await database.fetchval("SELECT delivered_at FROM webhook_deliveries")

        await eventually(is_delivered)
    before, after = world.receiver.received
    assert before.id == after.id
    assert after.is_signed()
    assert after.document["data"]["invoice"]["id"] == "inv_1"
