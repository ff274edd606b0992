"""Who reads a ledger beside the totals must find in them all that it says was counted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from schemas.position import Ledger, Position
from schemas.topics import Topic
from schemas.totals import MeterTotal, total_key
from tests.integration.projector_world import END, ONE, START, World, open_world
from tests.integration.stream_world import eventually


@pytest.fixture
async def world(kafka_bootstrap: str, database_url: str, database: asyncpg.Connection) -> AsyncIterator[World]:
    async with open_world(kafka_bootstrap, database_url, database) as opened:
        yield opened


async def shown(world: World, partition: int) -> int | None:
    """How many events are accepted, as the ledger in Postgres says."""
    accepted: int | None = await world.database.fetchval("SELECT accepted FROM ledger WHERE partition = $1", partition)
    return accepted


async def other_partition_is_read_on(world: World) -> None:
    """Until what stands in partition 0 must have been read as well."""
    begin = await shown(world, 1) or 0
    for count in range(begin + 1, begin + 4):
        await world.position(1, count, Ledger(received=count, accepted=count))

        async def is_shown(count: int = count) -> bool:
            return await shown(world, 1) == count

        await eventually(is_shown)


@asynccontextmanager
async def worker(world: World, partition: int) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(
        bootstrap_servers=world.stream.bootstrap, transactional_id=f"{world.stream.prefix}{partition}"
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def put_total(world: World, producer: AIOKafkaProducer, partition: int, events: int) -> None:
    key = total_key(f"sub_{partition}", START, "call")
    value = MeterTotal(END, events * ONE, events).to_json()
    await producer.send_and_wait(world.stream.prefix + Topic.USAGE_TOTALS, value, key=key, partition=partition)


async def put_position(world: World, producer: AIOKafkaProducer, partition: int, events: int) -> None:
    ledger = Ledger(received=events, accepted=events)
    value = Position({Topic.USAGE_EVENTS: events}, 2, None, ledger).to_json()
    name, key = world.stream.prefix + Topic.AGGREGATOR_POSITIONS, b"%d" % partition
    await producer.send_and_wait(name, value, key=key, partition=partition)


async def test_a_ledger_waits_for_totals_whose_transaction_is_not_visible_yet(world: World) -> None:
    """Of a transaction, one topic has the marker before the other. Here the position is there, and the total is not."""
    async with worker(world, 0) as producer, world.projector():
        await producer.begin_transaction()
        await put_total(world, producer, 0, 5)
        await world.position(0, 5, Ledger(received=5, accepted=5))
        await other_partition_is_read_on(world)
        assert await shown(world, 0) is None
        await producer.commit_transaction()
        await world.stream.all_is_read()
        assert await shown(world, 0) == 5
        assert await world.rows("SELECT event_count FROM usage_totals") == [(5,)]


async def test_a_ledger_is_shown_while_a_newer_one_still_waits(world: World) -> None:
    """Else a busy partition, of which there always is a newer one, would never show any."""
    async with worker(world, 0) as first, worker(world, 1) as second, world.projector():
        for count, producer in ((1, first), (2, second)):
            await producer.begin_transaction()
            await put_total(world, producer, 0, count)
            await world.position(0, count, Ledger(received=count, accepted=count))
            await other_partition_is_read_on(world)
        await first.commit_transaction()

        async def is_shown() -> bool:
            return await shown(world, 0) == 1

        await eventually(is_shown)
        await second.commit_transaction()
        await world.stream.all_is_read()
        assert await shown(world, 0) == 2


async def test_no_ledger_ever_claims_more_than_the_totals_hold(world: World) -> None:
    """A trigger compares the two whenever a ledger is written, and notes what claims more."""
    await world.database.execute(
        """
        CREATE FUNCTION note_claim() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
        BEGIN
            IF new.accepted > (
                SELECT coalesce(sum(event_count), 0) FROM usage_totals
                WHERE subscription_id = 'sub_' || new.partition
            ) THEN
                INSERT INTO claims VALUES (new.accepted);
            END IF;
            RETURN new;
        END $$;
        CREATE TABLE claims (accepted bigint);
        CREATE TRIGGER note_claim BEFORE INSERT OR UPDATE ON ledger FOR EACH ROW EXECUTE FUNCTION note_claim();
        """
    )
    async with worker(world, 0) as producer, world.projector(projector_batch_records=1):
        for count in range(1, 61):
            await producer.begin_transaction()
            await put_position(world, producer, 0, count)
            await put_total(world, producer, 0, count)
            await producer.commit_transaction()

        async def is_shown() -> bool:
            return await shown(world, 0) == 60

        await eventually(is_shown)
    assert await world.rows("SELECT * FROM claims") == []
