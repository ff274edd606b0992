"""Invoices: made and changed, with their lines and their events."""

import asyncio
import contextlib
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Response

from ingest.catalog.change import Saved
from ingest.catalog.invoices import (
    Invoice,
    change_invoice,
    create_invoice,
    lock_invoice,
    lock_invoice_and_subscription,
    move_invoice,
)
from ingest.catalog.outbox import unannounced
from ingest.gateway.answer import json_answer, saved_answer
from ingest.gateway.cursor import cursor_of
from ingest.gateway.documentation import examples
from ingest.gateway.documentation.declaring import Sent, created, documented, shown
from ingest.gateway.invoice_views import (
    SQL,
    InvoiceView,
    InvoiceWithEventsView,
    invoice_views,
    invoice_with_events,
)
from ingest.gateway.parameters import (
    BillingWriter,
    PageAsked,
    PathId,
    Reader,
    ServiceFilter,
    SubscriptionFilter,
    UserFilter,
)
from ingest.gateway.parts import Parts, PartsOf
from ingest.gateway.requests import body_of
from ingest.keys import ApiKey
from ingest.refused import Refused
from schemas.catalog import WireModel
from schemas.invoice import CatalogInvoice, InvoiceChange, InvoiceStatus, NewInvoice
from schemas.rejection import Reason

if TYPE_CHECKING:
    from ingest.database import Connection

router = APIRouter(tags=["invoices"])

ANNOUNCED_SECONDS: Final = 1.0
"""So long a reader waits for an invoice to be in the catalog: where Kafka is away it is shown all the same."""


class InvoiceAnswer(WireModel):
    """One invoice."""

    invoice: InvoiceWithEventsView


class InvoicesAnswer(WireModel):
    """A page of invoices."""

    invoices: list[InvoiceView]
    next_cursor: str | None


_MOVING: Final = (Reason.INVOICE_NOT_FOUND, Reason.INVALID_TRANSITION)
"""Why a status may not change."""


def _moved(status: str) -> dict[str, Any]:
    """The example of an invoice whose status has changed."""
    return {"invoice": {**examples.INVOICE_WITH_EVENTS, "status": status}}


@router.post("/invoices")
@documented(
    *created(InvoiceAnswer, {"invoice": examples.MANUAL_INVOICE}),
    body=Sent(NewInvoice, examples.NEW_INVOICE),
    reasons=(
        *(Reason.SERVICE_NOT_FOUND, Reason.PLAN_NOT_FOUND, Reason.SUBSCRIPTION_NOT_FOUND),
        *(Reason.SUBSCRIPTION_MISMATCH, Reason.INVOICE_PAID_ON_CREATE),
        *(Reason.ALREADY_EXISTS, Reason.PERIOD_ALREADY_INVOICED),
    ),
)
async def post_invoice(
    key: BillingWriter, new: Annotated[NewInvoice, Depends(body_of(NewInvoice))], parts: PartsOf
) -> Response:
    """Create an invoice of the amount that is given, as it is given; the same one again answers 200. Once answered, the
    next usage event can be linked to it."""
    if not key.sees(new.service_id):
        raise Refused.of(Reason.SERVICE_NOT_FOUND, "serviceId")
    saved = await parts.changes.make(lambda connection: create_invoice(connection, new, key.services))
    return await _answer(saved, parts)


@router.patch("/invoices/{id:id}")
@documented(
    shown(InvoiceAnswer, {"invoice": {**examples.MANUAL_INVOICE, "amount": "200.000000"}}, "Changed."),
    body=Sent(InvoiceChange, {"amount": "200"}),
    reasons=(Reason.INVOICE_NOT_FOUND, Reason.INVALID_TRANSITION, Reason.PERIOD_ALREADY_INVOICED),
)
async def patch_invoice(
    key: BillingWriter,
    invoice_id: PathId,
    change: Annotated[InvoiceChange, Depends(body_of(InvoiceChange))],
    parts: PartsOf,
) -> Response:
    """Change the fields that are given, of an invoice that is a DRAFT; null clears a time."""

    async def made(connection: "Connection") -> Saved[CatalogInvoice]:
        invoice = _seen(await lock_invoice_and_subscription(connection, invoice_id), key)
        return await change_invoice(connection, invoice, change)

    return await _answer(await parts.changes.make(made), parts)


@router.post("/invoices/{id:id}/open")
@documented(shown(InvoiceAnswer, _moved("OPEN"), "It is OPEN."), reasons=_MOVING)
async def post_invoice_open(key: BillingWriter, invoice_id: PathId, parts: PartsOf) -> Response:
    """Open a DRAFT: its amount and period can't change any more."""
    return await _move(key, invoice_id, InvoiceStatus.OPEN, parts)


@router.post("/invoices/{id:id}/pay")
@documented(shown(InvoiceAnswer, _moved("PAID"), "It is PAID."), reasons=_MOVING)
async def post_invoice_pay(key: BillingWriter, invoice_id: PathId, parts: PartsOf) -> Response:
    """Record that an OPEN invoice is paid; a credit can't be. No usage event can be linked to it any more."""
    return await _move(key, invoice_id, InvoiceStatus.PAID, parts)


@router.post("/invoices/{id:id}/void")
@documented(shown(InvoiceAnswer, _moved("VOID"), "It is VOID."), reasons=_MOVING)
async def post_invoice_void(key: BillingWriter, invoice_id: PathId, parts: PartsOf) -> Response:
    """Void an invoice that is a DRAFT or OPEN. What it billed is not billed again."""
    return await _move(key, invoice_id, InvoiceStatus.VOID, parts)


@router.post("/invoices/{id:id}/expire")
@documented(shown(InvoiceAnswer, _moved("EXPIRED"), "It is EXPIRED."), reasons=_MOVING)
async def post_invoice_expire(key: BillingWriter, invoice_id: PathId, parts: PartsOf) -> Response:
    """Give up an OPEN invoice."""
    return await _move(key, invoice_id, InvoiceStatus.EXPIRED, parts)


@router.get("/invoices/{id:id}")
@documented(shown(InvoiceAnswer, {"invoice": examples.INVOICE_WITH_EVENTS}), reasons=(Reason.INVOICE_NOT_FOUND,))
async def get_invoice(key: Reader, invoice_id: PathId, parts: PartsOf) -> Response:
    """An invoice with its lines, and the newest 100 of the usage events that are linked to it or billed by it. One that
    was written a moment ago is shown when the next usage event can be linked to it."""
    async with parts.database.connection() as connection:
        row = await connection.fetchrow(SQL["invoice"], invoice_id)
        if row is None or not key.sees(row["service_id"]):
            raise Refused.of(Reason.INVOICE_NOT_FOUND)
        view = await invoice_with_events(connection, row)
        seq = await unannounced(connection, f"invoice/{invoice_id}")
    if seq is not None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANNOUNCED_SECONDS):
                await parts.outbox.published(seq)
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
        rows = await connection.fetch(SQL["invoices"], *asked.arguments(), *conditions)
        page = asked.page(rows, lambda row: row)
        views = await invoice_views(connection, page.items)
    return json_answer(200, InvoicesAnswer(invoices=views, next_cursor=cursor_of(page.next)).wire()).response()


async def _move(key: ApiKey, invoice_id: str, status: InvoiceStatus, parts: Parts) -> Response:
    async def moved(connection: "Connection") -> Saved[CatalogInvoice]:
        return await move_invoice(connection, _seen(await lock_invoice(connection, invoice_id), key), status)

    return await _answer(await parts.changes.make(moved), parts)


def _seen(invoice: Invoice | None, key: ApiKey) -> Invoice:
    if invoice is None or not key.sees(invoice.entry.service_id):
        raise Refused.of(Reason.INVOICE_NOT_FOUND)
    return invoice


async def _answer(saved: Saved[CatalogInvoice], parts: Parts) -> Response:
    async with parts.database.connection() as connection:
        row = await connection.fetchrow(SQL["invoice"], saved.entity.id)
        assert row is not None, "invoices are never deleted"
        view = await invoice_with_events(connection, row)
    return saved_answer(saved, InvoiceAnswer(invoice=view)).response()
