"""The webhooks that are to be delivered, as Postgres has them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from aggregator.insights import metrics
from aggregator.sql import queries
from aggregator.stream.database import columns
from schemas.timestamps import milliseconds, timestamp_text

LINES_MAX: Final = 1_000
KEPT_DAYS: Final = 7
FORGOTTEN_MAX: Final = 5_000
ERROR_LENGTH_MAX: Final = 500

_SQL = queries(__package__)


@dataclass(slots=True, frozen=True)
class Delivery:
    """A webhook with its content, None where its invoice is gone; `id` is the same at each attempt, of which this is
    number `attempts`."""

    id: str
    body: bytes | None
    attempts: int


@dataclass(slots=True, frozen=True)
class Failure:
    """An attempt that failed; `delay_ms` is when to try again, None: not any more."""

    id: str
    delay_ms: int | None
    error: str


async def turn_on(connection: asyncpg.Connection) -> None:
    """From now on each invoice that is issued has a webhook."""
    await connection.execute(_SQL["turn_on"])


async def turn_off(connection: asyncpg.Connection) -> None:
    """From now on invoices have no webhooks. Those that wait go on waiting."""
    await connection.execute(_SQL["turn_off"])


async def claim(connection: asyncpg.Connection, limit: int, seconds: int) -> list[Delivery]:
    """At most so many of those that are due; for `seconds` nobody else takes them."""
    rows = await connection.fetch(_SQL["claim"], limit, seconds)
    invoice_ids = [row["invoice_id"] for row in rows if row["invoice_id"] is not None]
    found = await connection.fetch(_SQL["invoices"], invoice_ids, LINES_MAX) if invoice_ids else []
    invoices = {row["id"]: row["document"] for row in found}
    return [Delivery(str(row["id"]), _body(row, invoices), row["attempts"]) for row in rows]


async def mark(connection: asyncpg.Connection, delivered: Sequence[str], failures: Sequence[Failure]) -> None:
    """Keep what became of attempts."""
    if delivered:
        await connection.execute(_SQL["delivered"], delivered)
    if failures:
        rows = [(failure.id, failure.delay_ms, failure.error[:ERROR_LENGTH_MAX]) for failure in failures]
        await connection.execute(_SQL["failed"], *columns(rows))


async def insert_alerts(connection: asyncpg.Connection, alerts: Sequence[tuple[str, str]]) -> None:
    """Have alerts delivered, each its type and its data as JSON."""
    await connection.execute(_SQL["insert_alerts"], *columns(alerts))


async def tidy(connection: asyncpg.Connection) -> None:
    """Show how many wait, and forget those that were delivered long ago."""
    row = await connection.fetchrow(_SQL["waiting"])
    assert row is not None, "counts always are a row"
    metrics.WAITING.set(row["waiting"])
    metrics.OLDEST.set(row["oldest_seconds"])
    metrics.PARKED.set(row["parked"])
    await connection.execute(_SQL["forget"], KEPT_DAYS, FORGOTTEN_MAX)


def _body(row: asyncpg.Record, invoices: dict[str, str]) -> bytes | None:
    data = row["data"]
    if row["invoice_id"] is not None:
        if row["invoice_id"] not in invoices:
            return None
        data = f'{{"invoice":{invoices[row["invoice_id"]]}}}'
    created_at = timestamp_text(milliseconds(row["created_at"]))
    return f'{{"type":{json.dumps(row["type"])},"timestamp":"{created_at}","data":{data}}}'.encode()
