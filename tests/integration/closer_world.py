"""Closed periods put on a real topic, and the invoices that a real Postgres then holds."""

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal

import asyncpg
from aiokafka import TopicPartition

from aggregator.closer.assembly import Assembly, Invoice
from aggregator.closer.batches import Batch
from aggregator.closer.job import Closer
from aggregator.closer.lease import Lease, take_lease
from aggregator.closer.writing import CONSUMER
from aggregator.settings import CloserSettings
from aggregator.stream.offsets import stored_offsets
from schemas.billing_period import BillingInterval
from schemas.closed_period import ClosedLine, ClosedPeriod
from schemas.plan import Plan, PricingType
from schemas.timestamps import parse_timestamp
from schemas.topics import Topic, partition_of
from tests.integration.stream_world import Stream, open_stream, working

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


def altered(closed: ClosedPeriod) -> bytes:
    ((_, value),) = closed.records()
    return value.replace(b'"quantity":"1.000000"', b'"quantity":"9.000000"')
