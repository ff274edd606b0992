"""Closed periods on a real Kafka into invoices in a real Postgres, each once, whatever goes wrong in between."""

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from aggregator.closer.assembly import Assembly, Invoice
from aggregator.closer.job import Closer, run
from aggregator.closer.lease import Lease, LeaseLost, take_lease
from aggregator.closer.writing import CONSUMER, Batch, write_batch
from aggregator.rules.pricing import charge_after
from aggregator.settings import CloserSettings
from aggregator.stream.offsets import OffsetsMoved, stored_offsets
from deploy.local.kafka import LocalKafka
from schemas.billing_period import BillingInterval
from schemas.closed_period import Charge, ClosedLine, ClosedPeriod
from schemas.errors import OperatorError
from schemas.invoice import closer_invoice_id
from schemas.plan import Invoicing, Plan, PricingType
from schemas.timestamps import parse_timestamp
from schemas.topics import Topic, partition_of
from tests.integration.stream_world import PATIENCE_SECONDS, Stream, eventually, open_stream, working

ONE = 1_000_000
PARTITIONS = 2

START = parse_timestamp("2026-01-01T00:00:00Z")
END = parse_timestamp("2026-02-01T00:00:00Z")

PLAN = Plan.model_validate(
    {
        "id": "plan_1",
        "serviceId": "svc_1",
        "name": "Per call",
        "pricingType": PricingType.USAGE_BASED,
        "billingInterval": BillingInterval.MONTH,
        "amount": "2",
        "unitPrices": {"token": "0.000015"},
    }
)


def period(
    subscription_id: str, *lines: ClosedLine, sequence: int = 0, plan: Plan = PLAN, first: int = 10, last: int = 19
) -> ClosedPeriod:
    return ClosedPeriod(subscription_id, "svc_1", "user_1", plan, START, END, sequence, lines, first, last)


def calls(number: int) -> ClosedLine:
    return ClosedLine("call", number * ONE, number)


@dataclass
class World:
    """A topic of closed periods, a database, and the settings of a closer between them."""

    settings: CloserSettings
    stream: Stream

    @property
    def database(self) -> asyncpg.Connection:
        return self.stream.database

    async def close_periods(self, periods: Iterable[ClosedPeriod]) -> None:
        for closed in periods:
            for key, value in closed.records():
                await self.append(closed.subscription_id, key, value)

    async def append(self, subscription_id: str, key: bytes | None, value: bytes | None) -> None:
        await self.stream.append(Topic.CLOSED_PERIODS, partition_of(subscription_id, PARTITIONS), key, value)

    async def rows(self, sql: str) -> list[tuple[object, ...]]:
        return await self.stream.rows(sql)

    async def invoices(self) -> list[tuple[object, ...]]:
        """Everything of every invoice and line but the time at which it was written."""
        return await self.rows(
            """
            SELECT to_jsonb(i) - 'created_at' - 'updated_at', to_jsonb(l)
            FROM invoices i LEFT JOIN invoice_lines l ON l.invoice_id = i.id ORDER BY i.id, l.meter
            """
        )

    async def amounts(self) -> dict[tuple[str, int], Decimal]:
        rows = await self.database.fetch("SELECT subscription_id, sequence, amount FROM invoices")
        return {(row["subscription_id"], row["sequence"]): row["amount"] for row in rows}

    async def holds(self) -> list[tuple[object, ...]]:
        return await self.rows("SELECT reason, subscription_id, sequence FROM held_periods ORDER BY log_offset")

    def closer(self, **changes: object) -> AbstractAsyncContextManager[None]:
        return working(Closer(self.settings.model_copy(update=changes)).run)

    async def run_closer(self, **changes: object) -> None:
        """Until all is read."""
        async with self.closer(**changes):
            await self.stream.all_is_read()


@asynccontextmanager
async def open_world(bootstrap: str, database_url: str, database: asyncpg.Connection) -> AsyncIterator[World]:
    async with open_stream(bootstrap, database, Topic.CLOSED_PERIODS, partitions=PARTITIONS) as stream:
        settings = CloserSettings.model_validate(
            {
                "kafka": bootstrap,
                "database_url": database_url,
                "topic_prefix": stream.prefix,
                "closer_lease_seconds": 2,
            }
        )
        yield World(settings, stream)


@pytest.fixture
async def world(kafka_bootstrap: str, database_url: str, database: asyncpg.Connection) -> AsyncIterator[World]:
    async with open_world(kafka_bootstrap, database_url, database) as opened:
        yield opened


async def test_a_closed_period_becomes_an_invoice_with_its_lines(world: World) -> None:
    await world.close_periods([period("sub_1", calls(3), ClosedLine("token", 1_234_567_891, 7))])
    await world.run_closer()
    ((invoice_id, *invoice),) = await world.rows(
        """
        SELECT id, source, service_id, payment_plan_id, user_id, subscription_id, status, amount::text, currency,
            period_start::text, period_end::text, sequence, log_partition, first_offset, last_offset, version
        FROM (SELECT *, set_config('timezone', 'UTC', false) FROM invoices) AS i
        """
    )
    assert invoice_id == closer_invoice_id("sub_1", START, 0)
    assert invoice == [
        "CLOSER", "svc_1", "plan_1", "user_1", "sub_1", "OPEN", "6.018519", "USDC",
        "2026-01-01 00:00:00+00", "2026-02-01 00:00:00+00", 0, partition_of("sub_1", PARTITIONS), 10, 19, 1,
    ]  # fmt: skip
    assert await world.rows(
        "SELECT meter, quantity::text, unit_price::text, amount::text, event_count FROM invoice_lines ORDER BY meter"
    ) == [
        ("call", "3.000000", "2.000000000000", "6.000000", 3),
        ("token", "1234.567891", "0.000015000000", "0.018519", 7),  # 1234.567891 x 0.000015 = 0.018518518365
    ]


async def test_an_invoice_is_announced_to_the_catalog(world: World) -> None:
    await world.close_periods([period("sub_1", calls(1))])
    woken = asyncio.Event()
    await world.database.add_listener("catalog_outbox", lambda *_: woken.set())
    await world.run_closer()
    invoice_id = closer_invoice_id("sub_1", START, 0)
    ((key, version, payload),) = await world.rows("SELECT key, version, payload::text FROM catalog_outbox")
    assert (key, version) == (f"invoice/{invoice_id}", 1)
    assert json.loads(str(payload)) == {
        "id": invoice_id,
        "serviceId": "svc_1",
        "userId": "user_1",
        "version": 1,
        "transitions": [{"version": 1, "status": "OPEN", "at": None}],
    }
    async with asyncio.timeout(PATIENCE_SECONDS):
        await woken.wait()


async def test_a_period_without_usage_is_an_invoice_of_0_and_a_flat_one_costs_its_amount(world: World) -> None:
    flat = PLAN.model_copy(update={"pricing_type": PricingType.FIXED_RECURRING, "amount": 9_990_000})
    await world.close_periods([period("sub_1"), period("sub_2", calls(5), plan=flat)])
    await world.run_closer()
    assert await world.amounts() == {("sub_1", 0): Decimal(0), ("sub_2", 0): Decimal("9.99")}


async def test_a_plan_that_invoices_by_hand_gets_no_invoice(world: World) -> None:
    by_hand = PLAN.model_copy(update={"invoicing": Invoicing.MANUAL})
    await world.close_periods([period("sub_1", calls(5), plan=by_hand)])
    await world.run_closer()
    assert (await world.amounts(), await world.holds()) == ({}, [])


async def test_adjustments_add_up_to_the_price_of_the_total(world: World) -> None:
    gained, charged = [33_333, 1, -20_000, 66_667_777], Charge()
    for sequence, quantity in enumerate(gained):
        line = ClosedLine("token", quantity, 1, charged)
        await world.close_periods([period("sub_1", line, sequence=sequence)])
        charged = charge_after(line, PLAN)
    await world.run_closer()
    amounts = await world.amounts()
    assert amounts == {
        ("sub_1", 0): Decimal(0),  # 0.033333 x 0.000015 = 0.000000499995
        ("sub_1", 1): Decimal("0.000001"),  # 0.033334 x 0.000015 = 0.00000050001
        ("sub_1", 2): Decimal("-0.000001"),  # 0.013334 x 0.000015 = 0.00000020001
        ("sub_1", 3): Decimal("0.001000"),  # 66.681111 x 0.000015 = 0.001000216665
    }


@pytest.mark.parametrize("batch_records", [1, 2, 1_000])
async def test_a_period_of_several_parts_is_one_invoice_however_it_is_fetched(world: World, batch_records: int) -> None:
    many = [ClosedLine(f"meter-{number:04d}", ONE, 1) for number in range(2_500)]
    await world.close_periods([period("sub_1", calls(1)), period("sub_2", *many), period("sub_3", calls(3))])
    await world.run_closer(closer_batch_records=batch_records)
    assert await world.amounts() == {
        ("sub_1", 0): Decimal(2),
        ("sub_2", 0): Decimal(5_000),
        ("sub_3", 0): Decimal(6),
    }
    assert await world.rows("SELECT count(*) FROM invoice_lines") == [(2_502,)]
    assert await world.holds() == []


async def test_a_period_whose_last_part_is_missing_holds_the_offset_back(world: World) -> None:
    many = period("sub_1", *(ClosedLine(f"meter-{number:04d}", ONE, 1) for number in range(1_500)))
    first, last = many.records()
    await world.append("sub_1", *first)
    before = dict.fromkeys(world.stream.ends, 0)
    async with world.closer():
        await world.append("sub_2" if partition_of("sub_2", 2) != partition_of("sub_1", 2) else "sub_3", b"", b"?")
        await eventually(world.holds)
        assert {tp: offset for tp, offset in (await world.stream.stored()).items() if tp in before} == before
        await world.append("sub_1", *last)
        await world.stream.all_is_read()
    assert await world.amounts() == {("sub_1", 0): Decimal(3_000)}


async def test_reading_everything_again_changes_nothing(world: World) -> None:
    await world.close_periods(period(f"sub_{number}", calls(number)) for number in range(40))
    await world.run_closer(closer_batch_records=7)
    once, outbox = await world.invoices(), await world.rows("SELECT * FROM catalog_outbox ORDER BY seq")
    await world.stream.rewind()
    await world.run_closer(closer_batch_records=11)
    assert len(once) == 40
    assert await world.invoices() == once
    assert await world.rows("SELECT * FROM catalog_outbox ORDER BY seq") == outbox
    assert await world.holds() == []


async def test_of_two_closers_one_writes_and_the_other_takes_over(world: World) -> None:
    await world.close_periods(period(f"sub_{number}", calls(number)) for number in range(20))
    async with world.closer():
        await world.stream.all_is_read()
        (first,) = await world.rows("SELECT epoch, holder FROM closer_lease")
        async with world.closer():
            await world.close_periods(period(f"sub_{number}", calls(number)) for number in range(20, 40))
            await world.stream.all_is_read()
            assert await world.rows("SELECT epoch, holder FROM closer_lease") == [first]
            await world.database.execute("UPDATE closer_lease SET epoch = epoch + 1, expires_at = now()")
            await world.close_periods(period(f"sub_{number}", calls(number)) for number in range(40, 60))
            await world.stream.all_is_read()
            assert await world.rows("SELECT epoch FROM closer_lease") > [first[:1]]
    assert await world.amounts() == {(f"sub_{number}", 0): Decimal(2 * number) for number in range(60)}
    assert await world.rows("SELECT count(*) FROM catalog_outbox") == [(60,)]


async def read_batch(world: World, periods: list[ClosedPeriod]) -> Batch:
    """The batch that a closer makes of the first records of the partition of sub_1."""
    tp = TopicPartition(world.settings.topic(Topic.CLOSED_PERIODS), partition_of("sub_1", PARTITIONS))
    assembly, batch, offset = Assembly(tp.partition, 0), Batch(before={tp: 0}), 0
    for closed in periods:
        for _, value in closed.records():
            batch.invoices += [settled for settled in assembly.add(offset, value) if isinstance(settled, Invoice)]
            offset += 1
    batch.after = {tp: assembly.next_offset}
    await stored_offsets(world.database, CONSUMER, batch.before)
    return batch


async def lease_of(world: World, holder: str) -> Lease:
    lease = await take_lease(world.database, holder, 60)
    assert lease is not None
    return lease


async def test_a_closer_that_was_replaced_writes_nothing(world: World) -> None:
    batch = await read_batch(world, [period("sub_1", calls(1))])
    zombie = await lease_of(world, "first")
    assert await take_lease(world.database, "second", 60) is None
    await zombie.release(world.database)
    successor = await lease_of(world, "second")
    with pytest.raises(LeaseLost):
        await write_batch(world.database, zombie, batch)
    assert await world.amounts() == {}
    assert set((await world.stream.stored()).values()) == {0}
    assert (await write_batch(world.database, successor, batch)).invoices == 1


async def test_the_lease_can_not_change_hands_before_the_transaction_ends(world: World) -> None:
    lease = await lease_of(world, "first")
    rival = await asyncpg.connect(world.settings.database_url)
    try:
        async with world.database.transaction():
            await lease.renew(world.database)
            takeover = asyncio.create_task(take_lease(rival, "second", 60))
            waiting = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'"
            await eventually(lambda: world.database.fetchval(waiting, rival.get_server_pid()))
        assert await takeover is None  # it was renewed
    finally:
        await rival.close()


async def test_a_batch_that_was_committed_is_not_written_twice(world: World) -> None:
    """A crash between COMMIT and the next read: the offsets tell the successor."""
    batch = await read_batch(world, [period("sub_1", calls(1))])
    lease = await lease_of(world, "first")
    assert (await write_batch(world.database, lease, batch)).invoices == 1
    with pytest.raises(OffsetsMoved):
        await write_batch(world.database, lease, batch)
    assert await world.amounts() == {("sub_1", 0): Decimal(2)}
    assert await world.rows("SELECT count(*) FROM catalog_outbox") == [(1,)]


@pytest.mark.parametrize("batch_records", [1, 1_000])
async def test_a_period_closed_again_with_other_content_is_held_and_the_rest_goes_on(
    world: World, batch_records: int
) -> None:
    periods = [period("sub_1", calls(1)), period("sub_1", calls(2)), period("sub_2", calls(3))]
    await world.close_periods(periods)
    await world.run_closer(closer_batch_records=batch_records)
    assert await world.amounts() == {("sub_1", 0): Decimal(2), ("sub_2", 0): Decimal(6)}
    assert await world.rows("SELECT meter, quantity FROM invoice_lines ORDER BY quantity") == [
        ("call", Decimal(1)),
        ("call", Decimal(3)),
    ]
    assert await world.holds() == [("DIVERGED", "sub_1", 0)]


async def test_an_invoice_that_postgres_refuses_is_held_alone(world: World) -> None:
    too_much = ClosedLine("call", 10**32 * ONE, 1)  # numeric(38, 6) ends below 10^32
    too_often = ClosedLine("call", ONE, 2**63)
    forbidden = ClosedLine("call\x00", ONE, 1)
    for number in range(20):
        await world.close_periods([period(f"sub_{number}", calls(1))])
        if number in {3, 4, 11}:
            line = {3: too_much, 4: too_often, 11: forbidden}[number]
            await world.close_periods([period(f"bad_{number}", line)])
    await world.run_closer()
    assert await world.amounts() == {(f"sub_{number}", 0): Decimal(2) for number in range(20)}
    assert sorted(await world.holds()) == [
        ("REFUSED", "bad_11", 0),
        ("REFUSED", "bad_3", 0),
        ("REFUSED", "bad_4", 0),
    ]


def altered(closed: ClosedPeriod) -> bytes:
    ((_, value),) = closed.records()
    return value.replace(b'"quantity":"1.000000"', b'"quantity":"9.000000"')


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{",
        b"[]",
        b"[" * 100_000,
        b'{"digest":"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}',
        b'{"subscriptionId":1.5}',
        b'{"subscriptionId":"\\ud800"}',
        altered(period("sub_1", calls(1))),
        next(period("sub\x00", calls(1)).records())[1],
        next(period("sub_1", calls(1), sequence=2**31).records())[1],
        next(replace(period("sub_1", calls(1)), service_id="").records())[1],
    ],
    ids=lambda value: str(value)[:24],
)
async def test_a_record_that_can_not_be_read_is_held_and_the_rest_goes_on(world: World, value: bytes | None) -> None:
    await world.append("sub_2", b"key", value)
    await world.close_periods([period("sub_2", calls(1))])
    await world.run_closer()
    assert await world.amounts() == {("sub_2", 0): Decimal(2)}
    assert [reason for reason, *_ in await world.holds()] == ["UNREADABLE"]


async def test_a_period_with_a_part_missing_is_held_and_the_rest_goes_on(world: World) -> None:
    first, _, last = period("sub_1", *(ClosedLine(f"meter-{n:04d}", ONE, 1) for n in range(2_500))).records()
    await world.append("sub_1", *first)
    await world.append("sub_1", *last)
    await world.close_periods([period("sub_1", calls(1), sequence=1)])
    await world.run_closer()
    assert await world.amounts() == {("sub_1", 1): Decimal(2)}
    assert await world.holds() == [("INCOMPLETE", "sub_1", 0), ("INCOMPLETE", "sub_1", 0)]


async def test_a_period_whose_transaction_was_aborted_gets_no_invoice(world: World) -> None:
    topic, partition = world.settings.topic(Topic.CLOSED_PERIODS), partition_of("sub_1", PARTITIONS)
    worker = AIOKafkaProducer(bootstrap_servers=world.settings.kafka, transactional_id=f"{topic}-worker")
    await worker.start()
    with suppress(ZeroDivisionError):
        async with worker.transaction():
            for key, value in period("sub_1", calls(7)).records():
                await worker.send_and_wait(topic, value, key=key, partition=partition)
            raise ZeroDivisionError
    await worker.stop()
    await world.close_periods([period("sub_1", calls(1), sequence=1)])
    await world.run_closer()
    assert await world.amounts() == {("sub_1", 1): Decimal(2)}


async def test_connections_killed_again_and_again_cost_nothing(world: World) -> None:
    await world.close_periods(period(f"sub_{number}", calls(number)) for number in range(300))
    kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'tally-closer'"
    killed = 0
    async with world.closer(closer_batch_records=5):
        for at_least in range(30, 270, 30):
            enough = f"SELECT count(*) >= {at_least} FROM invoices"
            await eventually(lambda enough=enough: world.database.fetchval(enough))  # type: ignore[misc]
            killed += await world.database.fetchval(kill)
        await world.stream.all_is_read()
    assert killed > 0
    assert await world.amounts() == {(f"sub_{number}", 0): Decimal(2 * number) for number in range(300)}
    assert await world.rows("SELECT count(*) FROM catalog_outbox") == [(300,)]
    assert await world.holds() == []


class Wire:
    """Stands between a closer and Postgres. It can be cut, and it can swallow the answer to a COMMIT."""

    def __init__(self, database_url: str) -> None:
        self._url = urlsplit(database_url)
        self._server: asyncio.Server | None = None
        self._port = 0
        self.commits_to_swallow = 0
        self.swallowed = 0

    @property
    def url(self) -> str:
        user = self._url.netloc.rpartition("@")[0]
        return urlunsplit(self._url._replace(netloc=f"{user}@127.0.0.1:{self._port}"))

    async def connect(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection(self._url.hostname, self._url.port)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pass_on(reader, downstream, upstream))
                tasks.create_task(self._pass_on(upstream, writer, None))
        except* ConnectionError:
            pass
        finally:
            writer.close()
            downstream.close()

    async def _pass_on(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, answers: asyncio.StreamReader | None
    ) -> None:
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()
            if answers is not None and b"COMMIT;" in data and self.commits_to_swallow:
                self.commits_to_swallow -= 1
                self.swallowed += 1
                raise ConnectionResetError
        raise ConnectionResetError


async def test_a_commit_whose_answer_is_lost_counts_once(world: World) -> None:
    wire = Wire(world.settings.database_url)
    await wire.connect()
    await world.close_periods(period(f"sub_{number}", calls(number)) for number in range(30))
    wire.commits_to_swallow = 4
    await world.run_closer(database_url=wire.url, closer_batch_records=5)
    await wire.cut()
    assert wire.swallowed == 4
    assert await world.amounts() == {(f"sub_{number}", 0): Decimal(2 * number) for number in range(30)}
    assert await world.rows("SELECT count(*) FROM catalog_outbox") == [(30,)]


async def test_a_database_that_is_away_is_waited_for(world: World, caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire(world.settings.database_url)
    await wire.connect()
    await wire.cut()
    await world.close_periods([period("sub_1", calls(1))])

    async def is_reported() -> bool:
        return "does not answer the closer" in caplog.text

    async with world.closer(database_url=wire.url):
        await eventually(is_reported)
        await wire.connect()
        await world.stream.all_is_read()
    await wire.cut()
    assert caplog.text.count("does not answer the closer") == 1
    assert await world.amounts() == {("sub_1", 0): Decimal(2)}


async def test_a_broker_that_was_killed_is_waited_for(
    tmp_path: Path, database_url: str, database: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    async def is_reported() -> bool:
        return "does not answer the closer" in caplog.text

    broker = LocalKafka(tmp_path, heap_mib=256)
    await broker.start()
    try:
        async with open_world(broker.bootstrap, database_url, database) as world, world.closer():
            await world.close_periods(period(f"sub_{number}", calls(number)) for number in range(20))
            await world.stream.all_is_read()
            os.kill(broker.pid, signal.SIGKILL)
            await eventually(is_reported)
            await broker.stop()
            await broker.start()
            await world.close_periods(period(f"sub_{number}", calls(number)) for number in range(20, 40))
            await world.stream.all_is_read()
            assert await world.amounts() == {(f"sub_{number}", 0): Decimal(2 * number) for number in range(40)}
    finally:
        await broker.stop()


async def test_without_the_topic_it_says_to_run_tally_topics(world: World) -> None:
    with pytest.raises(OperatorError, match=r"no topic nowhere-closed-periods: run 'tally topics' first\.$"):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await Closer(world.settings.model_copy(update={"topic_prefix": "nowhere-"})).run(asyncio.Event())


async def test_without_the_tables_it_says_to_run_tally_migrate(kafka_bootstrap: str, database_url: str) -> None:
    settings = CloserSettings.model_validate({"kafka": kafka_bootstrap, "database_url": database_url})
    with pytest.raises(OperatorError, match="run 'tally migrate'"):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await Closer(settings).run(asyncio.Event())


async def test_a_topic_made_anew_stops_it(world: World) -> None:
    await world.close_periods([period("sub_1", calls(1))])
    await world.run_closer()
    await world.database.execute("UPDATE stream_offsets SET next_offset = 1000")
    with pytest.raises(OperatorError, match="a topic made anew"):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await Closer(world.settings).run(asyncio.Event())


async def test_sigterm_ends_the_process_and_lets_the_next_closer_write_at_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "aggregator")
    await world.close_periods([period("sub_1", calls(1))])
    process = asyncio.create_task(run(world.settings.model_copy(update={"closer_lease_seconds": 3_600})))
    await world.stream.all_is_read()
    (url,) = re.findall(r"http://\S+/metrics", caplog.text)
    async with httpx.AsyncClient(trust_env=False) as client:

        async def is_shown() -> bool:
            shown = (await client.get(url)).text
            expected = "closer_up 1.0", "closer_lease_epoch 1.0", 'closer_lag_records{partition="0"} 0.0'
            return all(f"tally_{sample}" in shown for sample in expected)

        await eventually(is_shown)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await process
    assert await take_lease(world.database, "next", 60) is not None
