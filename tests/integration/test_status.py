"""GET /status on real servers, of positions that were put there by hand."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from ingest.gateway.status.history import STEPS, ledger_at
from ingest.gateway.status.log import StatusLog
from ingest.gateway.status.look import SHARED_SECONDS
from schemas.position import SOURCES, Counts, Ledger, Position
from schemas.topics import TOPICS, Topic
from tests.integration.running_gateway import RunningGateway, new_topics, running_gateway
from tests.integration.stream_world import Stream, eventually, open_stream

PARTITIONS = 2
ALL = tuple(settings.topic for settings in TOPICS)


@dataclass
class World:
    """Topics and tables of no other part than the gateway."""

    stream: Stream
    gateway: RunningGateway

    async def status(self) -> dict[str, Any]:
        """The status, seen anew: what was seen within the second before is shared."""
        await asyncio.sleep(SHARED_SECONDS)
        answer = await self.gateway.get("/status")
        assert answer.status_code == 200, answer.text
        status: dict[str, Any] = answer.json()["status"]
        return status

    async def knows_a_quarter_of_an_hour(self) -> bool:
        steps = (await self.status())["rates"]["steps"]
        assert {step["received"] for step in steps} <= {0}
        return len(steps) == STEPS

    async def events(self, count: int, partition: int = 0) -> None:
        for _ in range(count):
            await self.stream.append(Topic.USAGE_EVENTS, partition, None, b"{}")

    async def commit(self, value: bytes) -> int:
        """Write a position of partition 0 as a worker does, in a transaction; returns its append time."""
        producer = AIOKafkaProducer(bootstrap_servers=self.stream.bootstrap, transactional_id=self.stream.prefix)
        await producer.start()
        try:
            async with producer.transaction():
                topic = self.stream.prefix + Topic.AGGREGATOR_POSITIONS
                sent = await producer.send_and_wait(topic, value, key=b"0", partition=0)
        finally:
            await producer.stop()
        return int(sent.timestamp)


def decided(accepted: int, before: int) -> bytes:
    """So many events of a partition are accepted."""
    ledger = Ledger().plus(Topic.USAGE_EVENTS, Counts(accepted, 0, 0))
    prev = {**dict.fromkeys([source.value for source in SOURCES], 0), Topic.USAGE_EVENTS.value: before}
    return Position({**prev, Topic.USAGE_EVENTS: accepted}, PARTITIONS, prev, ledger).to_json()


def facts(status: dict[str, Any]) -> dict[str, tuple[bool | None, str]]:
    return {part["part"]: (part["isWell"], part["fact"]) for part in status["parts"]}


@pytest.fixture
async def world(kafka_bootstrap: str, database_url: str, database: asyncpg.Connection) -> AsyncIterator[World]:
    async with (
        open_stream(kafka_bootstrap, database, *ALL, partitions=PARTITIONS) as stream,
        running_gateway(kafka_bootstrap, database_url, stream.prefix) as gateway,
    ):
        yield World(stream, gateway)


async def test_the_status_tells_what_waits_and_what_was_decided(world: World) -> None:
    status = await world.status()
    assert [(one["lag"], one["positionAt"], one["problem"]) for one in status["partitions"]] == [(0, None, None)] * 2
    assert facts(status)["workers"] == (True, "nothing waits; nothing was ever decided")
    assert facts(status)["closer"] == (False, "no closer has ever run")
    await eventually(world.knows_a_quarter_of_an_hour)

    await world.events(5)
    await world.commit(decided(3, 0))
    first = (await world.status())["partitions"][0]
    assert (first["position"], first["endOffset"], first["lag"]) == (3, 5, 2)
    assert first["waitingSince"] <= first["positionAt"]
    assert (first["ledger"]["received"], first["ledger"]["accepted"]) == (3, 3)

    at = await world.commit(decided(5, 3))
    await world.stream.append(Topic.REJECTED_USAGE, 1, None, b"")
    await world.stream.database.execute(
        "INSERT INTO stream_offsets SELECT 'projector', $1, number, 0 FROM generate_series(0, 1) AS number",
        world.stream.prefix + Topic.REJECTED_USAGE,
    )
    status = await world.status()
    assert [one["lag"] for one in status["partitions"]] == [0, 0]
    assert facts(status)["projector"][1].startswith("1 record waits, for")

    place = TopicPartition(world.stream.prefix + Topic.AGGREGATOR_POSITIONS, 0)
    log = StatusLog(world.stream.bootstrap, [place.topic], 20)
    async with log.asking(PARTITIONS) as asking:
        at_border = [ledger_at((await asking.around([place], when))[place], when) for when in (at - 60_000, at)]
        later = await asking.around([place], at + 60_000)
    await log.close()
    assert [ledger.accepted for ledger in at_border] == [0, 3]
    assert later == {}


async def test_the_status_tells_of_a_ledger_that_does_not_add_up(world: World) -> None:
    await world.events(4)
    await world.commit(decided(3, 0))
    await world.commit(decided(4, 3).replace(b'"received":4', b'"received":5'))
    status = await world.status()
    first, second = status["partitions"]
    assert first["ledger"] is None
    assert first["problem"].startswith("The ledger does not add up:")
    assert (second["ledger"]["received"], second["problem"]) == (0, None)
    assert facts(status)["workers"][1].startswith("nothing waits;")  # nobody knows of this partition
    is_well, fact = facts(status)["ledger"]
    assert not is_well
    assert fact.startswith("partition 0: The ledger does not add up:")


async def test_records_behind_an_open_transaction_wait(world: World) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=world.stream.bootstrap, transactional_id=f"{world.stream.prefix}open")
    await producer.start()
    try:
        async with producer.transaction():
            await producer.send_and_wait(world.stream.prefix + Topic.USAGE_EVENTS, b"{}", partition=1)
            status = await world.status()
    finally:
        await producer.stop()
    assert [(one["lag"], one["waitingSince"]) for one in status["partitions"]] == [(0, None), (1, None)]
    assert facts(status)["workers"][1].startswith("1 record waits, behind a transaction that is open")


async def test_all_who_look_at_once_see_the_same(world: World) -> None:
    answers = await asyncio.gather(*(world.gateway.get("/status") for _ in range(5)))
    assert len({answer.json()["status"]["at"] for answer in answers}) == 1


async def test_the_status_says_which_topic_is_missing(kafka_bootstrap: str, database_url: str) -> None:
    prefix = await new_topics(kafka_bootstrap, 1)
    async with running_gateway(kafka_bootstrap, database_url, prefix) as gateway:
        status = (await gateway.get("/status")).json()["status"]
    assert facts(status)["kafka"][0] is False
    assert "create it with 'tally topics'" in facts(status)["kafka"][1]
    assert facts(status)["workers"] == (None, "unknown: Kafka does not answer")
    assert status["partitions"] == []
