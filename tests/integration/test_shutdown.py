"""SIGTERM lets each part finish what it has in hand: nothing that was answered is lost, nothing is there twice, and it
takes less than 15 s. Load goes on while the signal arrives."""

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.kafka import LocalKafka
from deploy.local.ports import free_port
from deploy.topics import ensure_topics
from ingest.keys import Scope, create_key
from schemas.position import Position
from schemas.settings import Settings
from schemas.topics import Topic
from tests.acceptance.running import tally_up
from tests.integration.closer_world import World, calls, period
from tests.integration.gateway_load import Load
from tests.integration.running_gateway import read_topic
from tests.integration.stream_world import eventually
from tests.integration.test_worker import CATALOG, KEY, event
from tests.integration.worker import Deployment, deployment

STOP_SECONDS = 15
PARTITIONS = 2


async def start(part: str, **environment: str) -> asyncio.subprocess.Process:
    """Start a part as a process."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy", "--log-level", "warning", part), env={**os.environ, **environment}
    )


async def terminate(process: asyncio.subprocess.Process) -> float:
    """Stop a process by SIGTERM; returns how long that took, in seconds. It ends well, or this fails."""
    began = time.monotonic()
    process.terminate()
    async with asyncio.timeout(2 * STOP_SECONDS):
        await process.wait()
    assert process.returncode == 0
    return time.monotonic() - began


@asynccontextmanager
async def gateway(kafka: str, prefix: str, database_url: str, **extra: str) -> AsyncIterator[tuple[Any, str, str]]:
    """A gateway's process, its URL and a key."""
    settings = Settings(kafka=kafka, topic_prefix=prefix, partitions=PARTITIONS)
    await ensure_topics(settings)
    connection = await asyncpg.connect(database_url)
    _, key = await create_key(connection, "test", Scope)
    await connection.close()
    port = free_port()
    environment = {"TALLY_KAFKA": kafka, "TALLY_TOPIC_PREFIX": prefix, "TALLY_DATABASE_URL": database_url}
    process = await start("gateway", TALLY_HTTP_PORT=str(port), **environment, **extra)
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:

            async def is_ready() -> bool:
                try:
                    return (await client.get("/health/ready")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(is_ready)
        yield process, url, key
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def logged(kafka: str, prefix: str) -> Counter[str]:
    """How often each event key is in `usage-events`."""
    records = await read_topic(kafka, prefix + Topic.USAGE_EVENTS, PARTITIONS)
    return Counter(json.loads(record.value)["eventKey"] for record in records)


async def test_a_gateway_under_load_loses_nothing_that_it_answered(
    kafka_bootstrap: str, topic_prefix: str, database_url: str, database: asyncpg.Connection
) -> None:
    del database  # it is migrated
    async with gateway(kafka_bootstrap, topic_prefix, database_url) as (process, url, key):
        load = Load(url, key)
        running = asyncio.create_task(load.run())

        async def is_under_way() -> bool:
            return len(load.journal.answered) > 500

        await eventually(is_under_way)
        seconds = await terminate(process)
        await running
    assert seconds < STOP_SECONDS
    journal, found = load.journal, await logged(kafka_bootstrap, topic_prefix)
    journal.assert_holds_of(found)
    assert journal.unknown == set(), "Kafka was there all the time"
    assert journal.unanswered & set(found) == set(), "a connection is closed before its request is read, or is answered"
    assert set(found) == journal.answered


async def test_a_gateway_whose_broker_is_frozen_stops_all_the_same(
    tmp_path: Path, topic_prefix: str, database_url: str, database: asyncpg.Connection
) -> None:
    del database
    broker = LocalKafka(tmp_path, heap_mib=256)
    await broker.start()
    try:
        async with gateway(broker.bootstrap, topic_prefix, database_url, TALLY_ANSWER_SECONDS="1") as (
            process,
            url,
            key,
        ):
            load = Load(url, key)
            running = asyncio.create_task(load.run())

            async def is_under_way() -> bool:
                return len(load.journal.answered) > 100

            await eventually(is_under_way)
            os.kill(broker.pid, signal.SIGSTOP)
            try:
                seconds = await terminate(process)
                await running
            finally:
                os.kill(broker.pid, signal.SIGCONT)
        assert seconds < STOP_SECONDS
        assert load.journal.unknown
        load.journal.assert_holds_of(await logged(broker.bootstrap, topic_prefix))
    finally:
        await broker.stop()


# A worker


EVENTS = 12_000


@pytest.fixture
async def tally(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployment(kafka_bootstrap, topic_prefix, tmp_path / "state", PARTITIONS) as opened:
        await opened.publish(*(dict(entry) for entry in CATALOG))
        yield opened


async def put_many(tally: Deployment) -> None:
    """Put events in both partitions; those that are not at home there are forwarded."""
    topic = tally.settings.topic(Topic.USAGE_EVENTS)
    for start in range(0, EVENTS, 1_000):
        sent = [
            await tally.producer.send(topic, event(eventKey=f"tokens#{number}"), key=KEY, partition=number % PARTITIONS)
            for number in range(start, start + 1_000)
        ]
        await asyncio.gather(*sent)


async def ends(tally: Deployment, isolation_level: str) -> dict[TopicPartition, int]:
    """The ends of all that a worker writes."""
    consumer = AIOKafkaConsumer(bootstrap_servers=tally.settings.kafka, isolation_level=isolation_level)
    await consumer.start()
    try:
        written = (Topic.ACCEPTED_USAGE, Topic.USAGE_TOTALS, Topic.AGGREGATOR_POSITIONS, Topic.USAGE_FORWARDED)
        places = [TopicPartition(tally.settings.topic(topic), p) for topic in written for p in range(PARTITIONS)]
        return dict(await consumer.end_offsets(places))
    finally:
        await consumer.stop()


async def test_workers_under_load_stop_in_the_middle_and_another_goes_on(tally: Deployment) -> None:
    """The second of two stops while both work, then the first while it works alone; a third one finds all in order."""
    small = {"TALLY_BATCH_RECORDS_MAX": "50", "TALLY_GRACE_SECONDS": "3600"}
    states = [str(tally.state_dir / str(number)) for number in range(3)]
    first = await tally.start_worker(**small, TALLY_STATE_DIR=states[0])
    second = await tally.start_worker(**small, TALLY_STATE_DIR=states[1])
    try:
        putting = asyncio.create_task(put_many(tally))
        await tally.decided(EVENTS // 20)
        assert await terminate(second) < STOP_SECONDS
        at = (await tally.decided(0))["received"]
        await tally.decided(at + EVENTS // 20)
        assert await terminate(first) < STOP_SECONDS
        await putting
        assert (await tally.decided(0))["received"] < EVENTS, "it was in the middle"
        assert await ends(tally, "read_committed") == await ends(tally, "read_uncommitted"), "a transaction is open"
    finally:
        for process in (first, second):
            if process.returncode is None:
                process.kill()
                await process.wait()
    async with tally.worker(TALLY_GRACE_SECONDS="3600", TALLY_STATE_DIR=states[2]):
        ledger = await tally.decided(EVENTS, forwardedInAccepted=EVENTS // 2)
    assert (ledger["accepted"], ledger["forwarded"], ledger["duplicate"]) == (EVENTS // 2, EVENTS // 2, 0)
    positions = await tally.records(Topic.AGGREGATOR_POSITIONS)
    for partition in range(PARTITIONS):
        chain = [Position.of_json(record.value) for record in positions if record.partition == partition]
        assert all(after.prev == before.positions for before, after in pairwise(chain))


# The closer and the projector


async def test_a_closer_under_load_stops_in_the_middle_and_the_next_one_goes_on_at_once(world: World) -> None:
    count = 600
    environment = {
        "TALLY_KAFKA": world.settings.kafka,
        "TALLY_TOPIC_PREFIX": world.settings.topic_prefix,
        "TALLY_DATABASE_URL": world.settings.database_url,
        "TALLY_CLOSER_BATCH_RECORDS": "2",
        "TALLY_CLOSER_LEASE_SECONDS": "3600",
    }
    await world.close_periods(period(f"sub_{number}", calls(number)) for number in range(count))

    async def is_under_way() -> bool:
        return bool(await world.database.fetchval("SELECT count(*) > 20 FROM invoices"))

    first = await start("closer", **environment)
    await eventually(is_under_way)
    assert await terminate(first) < STOP_SECONDS
    assert await world.database.fetchval("SELECT count(*) FROM invoices") < count, "it was in the middle"
    second = await start("closer", **{**environment, "TALLY_CLOSER_BATCH_RECORDS": "1000"})
    await world.stream.all_is_read()
    assert await terminate(second) < STOP_SECONDS
    assert await world.amounts() == {(f"sub_{number}", 0): Decimal(2 * number) for number in range(count)}


async def test_a_projector_under_load_stops_in_the_middle_and_the_next_one_goes_on(
    tally: Deployment, database_url: str, database: asyncpg.Connection
) -> None:
    count = 3_000
    topic = tally.settings.topic(Topic.USAGE_TOTALS)
    total = b'{"quantity":"1.000000","eventCount":1,"periodEnd":"2026-02-01T00:00:00.000Z"}'
    keys = [json.dumps([f"sub_{number}", "2026-01-01T00:00:00.000Z", "call"]).encode() for number in range(count)]
    await asyncio.gather(*[await tally.producer.send(topic, total, key=key, partition=0) for key in keys])
    environment = {
        "TALLY_KAFKA": tally.settings.kafka,
        "TALLY_TOPIC_PREFIX": tally.settings.topic_prefix,
        "TALLY_DATABASE_URL": database_url,
    }

    async def rows() -> int:
        return int(await database.fetchval("SELECT count(*) FROM usage_totals"))

    async def is_under_way() -> bool:
        return await rows() > 0

    async def is_done() -> bool:
        return await rows() == count

    first = await start("projector", **environment, TALLY_PROJECTOR_BATCH_RECORDS="5")
    await eventually(is_under_way)
    assert await terminate(first) < STOP_SECONDS
    assert await rows() < count, "it was in the middle"
    second = await start("projector", **environment)
    await eventually(is_done)
    assert await terminate(second) < STOP_SECONDS


# All of it


async def test_tally_up_under_load_stops_within_15_seconds(tmp_path: Path) -> None:
    async with tally_up(tmp_path / "data") as running:
        load = Load(running.target.http, running.target.api_key)
        loading = asyncio.create_task(load.run())

        async def is_under_way() -> bool:
            return len(load.journal.answered) > 500

        await eventually(is_under_way)
        assert await terminate(running.process) < STOP_SECONDS
        await loading
    assert load.journal.answered
