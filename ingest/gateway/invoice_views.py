"""Invoices as callers see them: with their lines, and one by itself with its events."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from ingest.gateway.columns import number_text, optional_number_text, optional_time_text, time_text
from ingest.gateway.usage_views import UsageEventView, usage_event_view
from ingest.queries import named_queries
from schemas.catalog import WireModel
from schemas.decimals import DecimalText, PriceText
from schemas.invoice import InvoiceSource, InvoiceStatus
from schemas.plan import Plan, PricingType
from schemas.price import Price
from schemas.pricing import Prices
from schemas.timestamps import TimestampText

if TYPE_CHECKING:
    import asyncpg

    from ingest.database import Connection

SQL: Final = named_queries("ingest.gateway")

EVENTS_MAX: Final = 100
"""The newest of them; GET /usage-events has them all."""


class ChargeView(WireModel):
    """What was charged for a meter."""

    quantity: DecimalText
    event_count: int
    amount: DecimalText


class InvoiceLineView(WireModel):
    """What one meter is charged for; decimals as text, as Postgres has them. The unit price is null where not all units
    cost the same."""

    meter: str
    quantity: DecimalText
    unit_price: PriceText | None
    amount: DecimalText
    event_count: int
    price: Price | None = Field(description="What the plan charges for the meter; null where its amount is flat.")
    charged_before: ChargeView | None = Field(
        description="What earlier invoices of the period charged for the meter: with it, the line comes to the price of"
        " the whole. Null where sequence is 0."
    )


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
    digest: str | None = Field(description="Of the record of closed-periods that the invoice was made from.")
    log_partition: int | None = Field(description="The partition of usage-events that holds its events.")
    first_offset: int | None = Field(description="The offset of the first of them there.")
    last_offset: int | None = Field(description="The offset of the last of them there.")
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
    lines = await _lines(connection, rows)
    return [InvoiceView(**_columns(row), lines=lines[row["id"]]) for row in rows]


async def invoice_with_events(connection: "Connection", row: "asyncpg.Record") -> InvoiceWithEventsView:
    """The view of one row of `invoices`."""
    lines = await _lines(connection, [row])
    billed = row["subscription_id"], row["period_start"], row["sequence"]
    events = await connection.fetch(SQL["invoice_events"], row["id"], *billed, EVENTS_MAX)
    return InvoiceWithEventsView(
        **_columns(row), lines=lines[row["id"]], events=[usage_event_view(event) for event in events]
    )


async def _lines(
    connection: "Connection", invoices: "Sequence[asyncpg.Record]"
) -> defaultdict[str, list[InvoiceLineView]]:
    lines: defaultdict[str, list[InvoiceLineView]] = defaultdict(list)
    rows = await connection.fetch(SQL["invoice_lines"], [invoice["id"] for invoice in invoices])
    if rows:
        prices = await _prices(connection, invoices)
        for row in rows:
            price = prices[row["payment_plan_id"]]
            lines[row["invoice_id"]].append(_line(row, None if price is None else price.price(row["meter"])))
    return lines


async def _prices(connection: "Connection", invoices: "Sequence[asyncpg.Record]") -> dict[str, Prices | None]:
    """The prices of the invoices' plans, which never change; None where the amount is flat."""
    plan_ids = {invoice["payment_plan_id"] for invoice in invoices}
    rows = await connection.fetch(SQL["plans_of_invoices"], list(plan_ids))
    plans = [Plan.model_validate(json.loads(row["document"])) for row in rows]
    usage_based = {plan.id: plan for plan in plans if plan.pricing_type is PricingType.USAGE_BASED}
    return {plan_id: usage_based.get(plan_id) for plan_id in plan_ids}


def _line(row: "asyncpg.Record", price: Price | None) -> InvoiceLineView:
    return InvoiceLineView(
        meter=row["meter"],
        quantity=number_text(row["quantity"]),
        unit_price=optional_number_text(row["unit_price"]),
        amount=number_text(row["amount"]),
        event_count=row["event_count"],
        price=price,
        charged_before=_charged_before(row),
    )


def _charged_before(row: "asyncpg.Record") -> ChargeView | None:
    if not row["sequence"]:
        return None
    return ChargeView(
        quantity=number_text(row["quantity_before"]),
        event_count=row["event_count_before"],
        amount=number_text(row["amount_before"]),
    )


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
        "digest": row["digest"],
        "log_partition": row["log_partition"],
        "first_offset": row["first_offset"],
        "last_offset": row["last_offset"],
        "due_at": optional_time_text(row["due_at"]),
        "paid_at": optional_time_text(row["paid_at"]),
        "created_at": time_text(row["created_at"]),
        "updated_at": time_text(row["updated_at"]),
    }
