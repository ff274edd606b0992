"""Invoices as callers see them: with their lines, and one by itself with its events."""

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ingest.gateway.columns import number_text, optional_number_text, optional_time_text, time_text
from ingest.gateway.usage_views import UsageEventView, usage_event_view
from ingest.queries import named_queries
from schemas.catalog import WireModel
from schemas.decimals import DecimalText, PriceText
from schemas.invoice import InvoiceSource, InvoiceStatus
from schemas.timestamps import TimestampText

if TYPE_CHECKING:
    import asyncpg

    from ingest.database import Connection

SQL: Final = named_queries("ingest.gateway")

EVENTS_MAX: Final = 100
"""The newest of them; GET /usage-events has them all."""


class InvoiceLineView(WireModel):
    """What one meter is charged for; decimals as text, as Postgres has them. The unit price is null where not all units
    cost the same."""

    meter: str
    quantity: DecimalText
    unit_price: PriceText | None
    amount: DecimalText
    event_count: int


class InvoiceView(WireModel):
    """An invoice as callers see it; a negative amount is a credit."""

    id: str
    service_id: str
    payment_plan_id: str
    user_id: str
    subscription_id: str | None
    status: InvoiceStatus
    source: InvoiceSource
    amount: DecimalText
    currency: str
    period_start: TimestampText | None
    period_end: TimestampText | None
    sequence: int | None
    due_at: TimestampText | None
    paid_at: TimestampText | None
    created_at: TimestampText
    updated_at: TimestampText
    lines: list[InvoiceLineView]


class InvoiceWithEventsView(InvoiceView):
    """An invoice, with the newest of the usage events that are linked to it or billed by it."""

    events: list[UsageEventView]


async def invoice_views(connection: "Connection", rows: "Sequence[asyncpg.Record]") -> list[InvoiceView]:
    """The views of rows of `invoices`."""
    lines = await _lines(connection, [row["id"] for row in rows])
    return [InvoiceView(**_columns(row), lines=lines[row["id"]]) for row in rows]


async def invoice_with_events(connection: "Connection", row: "asyncpg.Record") -> InvoiceWithEventsView:
    """The view of one row of `invoices`."""
    lines = await _lines(connection, [row["id"]])
    billed = row["subscription_id"], row["period_start"], row["sequence"]
    events = await connection.fetch(SQL["invoice_events"], row["id"], *billed, EVENTS_MAX)
    return InvoiceWithEventsView(
        **_columns(row), lines=lines[row["id"]], events=[usage_event_view(event) for event in events]
    )


async def _lines(connection: "Connection", invoice_ids: Sequence[str]) -> defaultdict[str, list[InvoiceLineView]]:
    lines: defaultdict[str, list[InvoiceLineView]] = defaultdict(list)
    for line in await connection.fetch(SQL["invoice_lines"], invoice_ids):
        lines[line["invoice_id"]].append(
            InvoiceLineView(
                meter=line["meter"],
                quantity=number_text(line["quantity"]),
                unit_price=optional_number_text(line["unit_price"]),
                amount=number_text(line["amount"]),
                event_count=line["event_count"],
            )
        )
    return lines


def _columns(row: "asyncpg.Record") -> dict[str, Any]:
    return {
        "id": row["id"],
        "service_id": row["service_id"],
        "payment_plan_id": row["payment_plan_id"],
        "user_id": row["user_id"],
        "subscription_id": row["subscription_id"],
        "status": row["status"],
        "source": row["source"],
        "amount": number_text(row["amount"]),
        "currency": row["currency"],
        "period_start": optional_time_text(row["period_start"]),
        "period_end": optional_time_text(row["period_end"]),
        "sequence": row["sequence"],
        "due_at": optional_time_text(row["due_at"]),
        "paid_at": optional_time_text(row["paid_at"]),
        "created_at": time_text(row["created_at"]),
        "updated_at": time_text(row["updated_at"]),
    }
