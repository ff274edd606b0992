"""The projector's topics, a database, and a projector between them."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from msgspec import structs

from aggregator.projector.job import TOPICS, Projector
from aggregator.settings import ProjectorSettings
from schemas.billing_period import BillingPeriod
from schemas.closed_period import Charge
from schemas.position import Ledger, Position
from schemas.timestamps import parse_timestamp
from schemas.topics import Topic
from schemas.totals import MeterTotal, total_key
from schemas.usage_event import AcceptedUsageEvent, UsageEvent
from tests.integration.stream_world import Stream, open_stream, working

ONE = 1_000_000
START = "2026-01-01T00:00:00.000Z"
END = parse_timestamp("2026-02-01T00:00:00Z")
REQUESTED = parse_timestamp("2026-01-15T12:00:00.123Z")


@dataclass
class World:
    """The projector's topics, a database, and the settings of a projector between them."""

    settings: ProjectorSettings
    stream: Stream

    @property
    def database(self) -> asyncpg.Connection:
        return self.stream.database

    async def total(self, meter: str, quantity: int, events: int, subscription_id: str = "sub_1") -> int:
        total = MeterTotal(END, quantity, events, Charge(quantity, events, 5))
        return await self.append_total(total_key(subscription_id, START, meter), total.to_json())

    async def append_total(self, key: bytes, value: bytes | None) -> int:
        return await self.stream.append(Topic.USAGE_TOTALS, 0, key, value)

    async def position(self, partition: int, next_offset: int, ledger: Ledger) -> None:
        position = Position(positions={Topic.USAGE_EVENTS: next_offset}, partitions=2, ledger=ledger)
        await self.stream.append(Topic.AGGREGATOR_POSITIONS, partition, str(partition).encode(), position.to_json())

    async def accept(self, event: AcceptedUsageEvent, partition: int = 0) -> None:
        key = f'["{event.event.subscription_id}","{event.event.event_key}"]'.encode()
        await self.stream.append(Topic.ACCEPTED_USAGE, partition, key, event.to_json())

    async def reject(
        self, key: bytes | None, value: bytes | None, *sent: tuple[str, bytes], partition: int = 0, **changes: bytes
    ) -> None:
        """A record as a worker writes it, but for changed headers; `sent` are those that it came with."""
        headers = {
            "reject-code": b"invalid_body",
            "reject-field": b"",
            "reject-error": b"The body must be one JSON object.",
            "origin-topic": b"usage-events",
            "origin-partition": b"1",
            "origin-offset": b"42",
            "origin-time": b"2026-01-15T12:00:00.123Z",
            **{name.replace("_", "-"): value for name, value in changes.items()},
        }
        await self.stream.append(Topic.REJECTED_USAGE, partition, key, value, [*sent, *headers.items()])

    async def rows(self, sql: str) -> list[tuple[object, ...]]:
        return await self.stream.rows(sql)

    async def totals(self) -> list[tuple[object, ...]]:
        return await self.rows("SELECT subscription_id, meter, quantity, event_count FROM usage_totals ORDER BY 1, 2")

    def projector(self, **changes: object) -> AbstractAsyncContextManager[None]:
        return working(Projector(self.settings.model_copy(update=changes)).run)

    async def run_projector(self, **changes: object) -> None:
        """Until all is read."""
        async with self.projector(**changes):
            await self.stream.all_is_read()


def accepted(offset: int, key: str = "token#1", sequence: int | None = 0, **changes: Any) -> AcceptedUsageEvent:
    """An event that counts, of partition 1."""
    event = UsageEvent("svc_1", "sub_1", "user_1", key, 5_250_000, REQUESTED - 1, "inv_1", None)
    period = BillingPeriod(parse_timestamp(START), END)
    content = bytes(16)
    accepted = AcceptedUsageEvent(
        *(event, 1, offset, REQUESTED, REQUESTED - 1, event.meter, period, content, 3, sequence)
    )
    return structs.replace(accepted, **changes)


def voided(event: AcceptedUsageEvent, sequence: int | None) -> AcceptedUsageEvent:
    """The same, taken back a second later."""
    return structs.replace(event, voided_at=REQUESTED + 1_000, sequence=sequence)


@asynccontextmanager
async def open_world(bootstrap: str, database_url: str, database: asyncpg.Connection) -> AsyncIterator[World]:
    """Topics of their own, with nothing in them."""
    async with open_stream(bootstrap, database, *TOPICS, partitions=2) as stream:
        settings = ProjectorSettings.model_validate(
            {"kafka": bootstrap, "database_url": database_url, "topic_prefix": stream.prefix}
        )
        yield World(settings, stream)
