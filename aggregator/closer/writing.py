"""The closer's transaction."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from aggregator.closer.assembly import Hold, HoldReason, Invoice
from aggregator.closer.batches import Batch
from aggregator.closer.lease import Lease
from aggregator.sql import queries
from aggregator.stream.database import columns, write_bisecting
from aggregator.stream.offsets import advance_offsets
from schemas.decimals import PRICE_PLACES, decimal_text
from schemas.timestamps import aware_datetime

CONSUMER: Final = "closer"
DETAIL_LENGTH_MAX: Final = 2_000

_SQL = queries(__package__)


@dataclass(slots=True, frozen=True)
class Written:
    """What a batch came to. Of a batch that was written before, nothing is counted again."""

    invoices: int
    held: list[Hold]


async def write_batch(connection: asyncpg.Connection, lease: Lease, batch: Batch) -> Written:
    """Write a batch in one transaction. Raises LeaseLost or OffsetsMoved, and then has written nothing.

    1. Renew the lease: under an older epoch nothing goes through, and until the commit nobody can raise it.
    2. Advance the offsets from where this batch began: what was written meanwhile is not written again.
    3. Insert the invoices that do not exist, with their lines and catalog entries.
    4. Compare the digests of those that did: one that differs is held, and never overwritten.

    Killed before the commit, nothing has happened. Killed after it, or where its answer was lost, the offsets say so.
    """
    async with connection.transaction():
        await lease.renew(connection)
        await advance_offsets(connection, CONSUMER, batch.before, batch.after)
        issued, holds = await _issue(connection, batch.invoices)
        held = await _hold(connection, [*batch.holds, *holds])
        if issued:
            await connection.execute(_SQL["wake_catalog_publisher"])
    return Written(issued, held)


async def _issue(connection: asyncpg.Connection, invoices: Sequence[Invoice]) -> tuple[int, list[Hold]]:
    issued: list[Invoice] = []

    async def write(some: Sequence[Invoice]) -> None:
        issued.extend(await _insert(connection, some))

    refused = await write_bisecting(connection, invoices, write)
    settled = {invoice.place for invoice in issued} | {invoice.place for invoice, _ in refused}
    repeated = [invoice for invoice in invoices if invoice.place not in settled]
    return len(issued), [
        *(invoice.held(HoldReason.REFUSED, f"Postgres refused the invoice: {error}") for invoice, error in refused),
        *await _diverged(connection, repeated),
    ]


async def _insert(connection: asyncpg.Connection, invoices: Sequence[Invoice]) -> list[Invoice]:
    """Those of the invoices that did not exist; they do now."""
    rows = await connection.fetch(_SQL["insert_invoices"], *columns([_invoice_row(invoice) for invoice in invoices]))
    inserted = {row["id"] for row in rows}
    issued = []
    for invoice in invoices:  # where one period is in the batch twice, the first has made the row
        if invoice.id in inserted:
            inserted.remove(invoice.id)
            issued.append(invoice)
    if issued:
        lines = [row for invoice in issued for row in _line_rows(invoice)]
        if lines:
            await connection.execute(_SQL["insert_lines"], *columns(lines))
        entries = [(invoice.id, invoice.catalog_entry) for invoice in issued]
        await connection.execute(_SQL["insert_catalog_entries"], *columns(entries))
    return issued


async def _diverged(connection: asyncpg.Connection, repeated: Sequence[Invoice]) -> list[Hold]:
    if not repeated:
        return []
    rows = await connection.fetch(_SQL["digests"], [invoice.id for invoice in repeated])
    digests = {row["id"]: row["digest"] for row in rows}
    return [
        invoice.held(
            HoldReason.DIVERGED,
            f"The invoice {invoice.id} exists with the digest {digests.get(invoice.id)}; "
            f"this record has {invoice.part.digest}.",
        )
        for invoice in repeated
        if digests.get(invoice.id) != invoice.part.digest
    ]


async def _hold(connection: asyncpg.Connection, holds: Sequence[Hold]) -> list[Hold]:
    """Those of the holds that are new."""
    if not holds:
        return []
    rows = await connection.fetch(_SQL["hold"], *columns([_hold_row(hold) for hold in holds]))
    new = {(row["log_partition"], row["log_offset"]) for row in rows}
    return [hold for hold in holds if (hold.partition, hold.offset) in new]


async def held_now(connection: asyncpg.Connection) -> dict[HoldReason, int]:
    """How many periods are held, by each reason."""
    counts = {row["reason"]: row["periods"] for row in await connection.fetch(_SQL["held_now"])}
    return {reason: counts.get(reason.value, 0) for reason in HoldReason}


def _invoice_row(invoice: Invoice) -> tuple[Any, ...]:
    part = invoice.part
    return (
        invoice.id,
        part.service_id,
        part.plan_id,
        part.user_id,
        part.subscription_id,
        decimal_text(invoice.bill.amount),
        part.currency,
        aware_datetime(part.start),
        aware_datetime(part.end),
        part.sequence,
        part.digest,
        invoice.partition,
        part.first_offset,
        part.last_offset,
    )


def _line_rows(invoice: Invoice) -> Iterator[tuple[Any, ...]]:
    for line in invoice.bill.lines:
        yield (
            invoice.id,
            line.meter,
            decimal_text(line.quantity),
            None if line.unit_price is None else decimal_text(line.unit_price, PRICE_PLACES),
            decimal_text(line.amount),
            line.event_count,
        )


def _hold_row(hold: Hold) -> tuple[Any, ...]:
    key = hold.key
    return (
        hold.partition,
        hold.offset,
        hold.reason,
        _storable(hold.detail),
        None if key is None else key.subscription_id,
        None if key is None else aware_datetime(key.start),
        None if key is None else key.sequence,
    )


def _storable(detail: str) -> str:
    """The text without what Postgres refuses in it: a hold must never be refused itself."""
    return detail.encode("ascii", "backslashreplace").decode().replace("\0", "\\0")[:DETAIL_LENGTH_MAX]
