"""Invoices and their lines."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import APIRouter, Query, Response

from ingest.gateway.answer import json_answer
from ingest.gateway.cursor import cursor_of
from ingest.gateway.documentation import examples
from ingest.gateway.documentation.declaring import documented, shown
from ingest.gateway.parameters import PageAsked, PathId, Reader, ServiceFilter, SubscriptionFilter, UserFilter
from ingest.gateway.parts import PartsOf
from ingest.queries import named_queries
from ingest.refused import Refused
from schemas.catalog import WireModel
from schemas.decimals import DecimalText, PriceText
from schemas.invoice import InvoiceSource, InvoiceStatus
from schemas.rejection import Reason
from schemas.timestamps import TimestampText, milliseconds, timestamp_text

if TYPE_CHECKING:
    import asyncpg

    from ingest.database import Connection

router = APIRouter(tags=["invoices"])

_SQL: Final = named_queries("ingest.gateway")


class InvoiceLineView(WireModel):
    """What one meter is charged for; decimals as text, as Postgres has them."""

    meter: str
    quantity: DecimalText
    unit_price: PriceText
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


class InvoiceAnswer(WireModel):
    """One invoice."""

    invoice: InvoiceView


class InvoicesAnswer(WireModel):
    """A page of invoices."""

    invoices: list[InvoiceView]
    next_cursor: str | None


@router.get("/invoices/{id:id}")
@documented(shown(InvoiceAnswer, {"invoice": examples.INVOICE}), reasons=(Reason.INVOICE_NOT_FOUND,))
async def get_invoice(key: Reader, invoice_id: PathId, parts: PartsOf) -> Response:
    """An invoice with its lines."""
    async with parts.database.connection() as connection:
        row = await connection.fetchrow(_SQL["invoice"], invoice_id)
        if row is None or not key.sees(row["service_id"]):
            raise Refused.of(Reason.INVOICE_NOT_FOUND)
        (view,) = await _views(connection, [row])
    return json_answer(200, InvoiceAnswer(invoice=view).wire()).response()


@router.get("/invoices")
@documented(shown(InvoicesAnswer, {"invoices": [examples.INVOICE], "nextCursor": None}))
async def get_invoices(
    asked: PageAsked,
    parts: PartsOf,
    subscription_id: SubscriptionFilter = None,
    service_id: ServiceFilter = None,
    user_id: UserFilter = None,
    status: Annotated[InvoiceStatus | None, Query(description="Only in this status.")] = None,
) -> Response:
    """Invoices, newest first."""
    conditions = (subscription_id, service_id, user_id, None if status is None else status.value)
    async with parts.database.connection() as connection:
        rows = await connection.fetch(_SQL["invoices"], *asked.arguments(), *conditions)
        page = asked.page(rows, lambda row: row)
        views = await _views(connection, page.items)
    return json_answer(200, InvoicesAnswer(invoices=views, next_cursor=cursor_of(page.next)).wire()).response()


async def _views(connection: "Connection", rows: "Sequence[asyncpg.Record]") -> list[InvoiceView]:
    lines: defaultdict[str, list[InvoiceLineView]] = defaultdict(list)
    for line in await connection.fetch(_SQL["invoice_lines"], [row["id"] for row in rows]):
        lines[line["invoice_id"]].append(
            InvoiceLineView(
                meter=line["meter"],
                quantity=f"{line['quantity']:f}",
                unit_price=f"{line['unit_price']:f}",
                amount=f"{line['amount']:f}",
                event_count=line["event_count"],
            )
        )
    return [_view(row, lines[row["id"]]) for row in rows]


def _view(row: "asyncpg.Record", lines: list[InvoiceLineView]) -> InvoiceView:
    return InvoiceView(
        id=row["id"],
        service_id=row["service_id"],
        payment_plan_id=row["payment_plan_id"],
        user_id=row["user_id"],
        subscription_id=row["subscription_id"],
        status=row["status"],
        source=row["source"],
        amount=f"{row['amount']:f}",
        currency=row["currency"],
        period_start=_time(row["period_start"]),
        period_end=_time(row["period_end"]),
        sequence=row["sequence"],
        due_at=_time(row["due_at"]),
        paid_at=_time(row["paid_at"]),
        created_at=timestamp_text(milliseconds(row["created_at"])),
        updated_at=timestamp_text(milliseconds(row["updated_at"])),
        lines=lines,
    )


def _time(at: datetime | None) -> str | None:
    return None if at is None else timestamp_text(milliseconds(at))
