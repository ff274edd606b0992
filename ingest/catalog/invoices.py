"""Invoices that callers make, and the statuses of all of them; the closer's are never changed otherwise.

An invoice is no document of the catalog: Postgres has its columns, and the topic only what rules need of it. So the
history of its statuses stands in the newest row of its key in the outbox, where the closer begins it.
"""

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from ingest.catalog.change import Saved, saved, unchanged
from ingest.catalog.comparing import SQL
from ingest.catalog.ids import new_id
from ingest.catalog.plans import check_plan, known_plan
from ingest.catalog.subscriptions import lock_subscription
from ingest.refused import Refused
from schemas.catalog import Transition
from schemas.decimals import decimal_text, scaled_of_own
from schemas.invoice import (
    INVOICE_TRANSITIONS,
    CatalogInvoice,
    InvoiceChange,
    InvoiceStatus,
    NewInvoice,
    period_error,
)
from schemas.rejection import FieldError, Reason, Rejection
from schemas.timestamps import aware_datetime, milliseconds

if TYPE_CHECKING:
    import asyncpg

    from ingest.database import Connection

_OTHER_SUBSCRIPTION = "The subscription belongs to another service or user than the invoice names."


@dataclass(slots=True, frozen=True)
class Invoice:
    """An invoice that nobody else changes before the transaction ends. `amount` is in millionths, times are in ms."""

    entry: CatalogInvoice
    subscription_id: str | None
    status: InvoiceStatus
    amount: int
    period_start: int | None
    period_end: int | None
    due_at: int | None

    def with_changes(self, change: InvoiceChange) -> "Invoice":
        """The invoice with the fields that a change gives."""
        given = {name: getattr(change, name) for name in change.model_fields_set}
        return replace(self, **given)


async def create_invoice(
    connection: "Connection", new: NewInvoice, services: frozenset[str] | None
) -> Saved[CatalogInvoice]:
    """Store an invoice as it is asked for; the same one again is the one that exists. Raises Refused.

    `services` are those that the caller may know of, None for all.
    """
    plan = await known_plan(connection, new.service_id, new.payment_plan_id, services)
    is_owned = new.subscription_id is None or await _owns_subscription(connection, new, services)
    check_plan(plan, new.service_id)
    if not is_owned:
        raise Refused(Rejection(Reason.SUBSCRIPTION_MISMATCH, _OTHER_SUBSCRIPTION, "subscriptionId"))
    invoice_id, currency = new.id or new_id("inv"), new.currency or plan.currency
    new = new.model_copy(update={"id": invoice_id, "currency": currency})
    entry = CatalogInvoice(
        id=invoice_id,
        service_id=new.service_id,
        user_id=new.user_id,
        transitions=(Transition(version=1, status=new.status),),
    )
    if await _add(connection, invoice_id, new):
        await _check_period(connection, invoice_id, new.subscription_id, new.period_start, new.period_end)
        return await saved(connection, entry, created=True)
    asked_for = await connection.fetchval(SQL["invoice_asked_for"], invoice_id)
    if asked_for is None or json.loads(asked_for) != new.wire():
        raise Refused.of(Reason.ALREADY_EXISTS, "id")
    return await unchanged(connection, entry)


async def lock_invoice(connection: "Connection", invoice_id: str) -> Invoice | None:
    """The invoice of this id, which nobody else changes before the transaction ends."""
    row = await connection.fetchrow(SQL["lock_invoice"], invoice_id)
    if row is None:
        return None
    # By a statement of its own: one that had to wait for the row would see the history as it was before.
    payload = await connection.fetchval(SQL["newest_entry"], f"invoice/{invoice_id}")
    return _invoice(row, _unannounced(row) if payload is None else CatalogInvoice.model_validate(json.loads(payload)))


async def lock_invoice_and_subscription(connection: "Connection", invoice_id: str) -> Invoice | None:
    """As lock_invoice(), with the invoices of its subscription: in the order in which create_invoice() locks them."""
    subscription_id = await connection.fetchval(SQL["subscription_of_invoice"], invoice_id)
    if subscription_id is not None:
        await lock_subscription(connection, subscription_id)
    return await lock_invoice(connection, invoice_id)


async def change_invoice(connection: "Connection", invoice: Invoice, change: InvoiceChange) -> Saved[CatalogInvoice]:
    """Change what a draft is for; rules need none of it, so nothing is announced. Raises Refused.

    Its subscription must be locked, too, so that no other invoice takes the period.
    """
    if invoice.status is not InvoiceStatus.DRAFT:
        raise _no_transition(f"An invoice that is {invoice.status} can't be changed any more, only a DRAFT.", invoice)
    changed = invoice.with_changes(change)
    if (error := period_error(changed.period_start, changed.period_end)) is not None:
        raise Refused(Rejection.of_fields([FieldError("periodEnd", Reason.FIELD_INVALID, error)]))
    if changed != invoice:
        start, end = changed.period_start, changed.period_end
        if (start, end) != (invoice.period_start, invoice.period_end):
            await _check_period(connection, invoice.entry.id, invoice.subscription_id, start, end)
        columns = decimal_text(changed.amount), *map(_datetime, (start, end, changed.due_at))
        await connection.execute(SQL["change_invoice"], invoice.entry.id, *columns)
    return await unchanged(connection, invoice.entry)


async def move_invoice(connection: "Connection", invoice: Invoice, status: InvoiceStatus) -> Saved[CatalogInvoice]:
    """Move a locked invoice to a status; the status that it has is no change. Raises Refused."""
    if status is invoice.status:
        return await unchanged(connection, invoice.entry)
    if status not in INVOICE_TRANSITIONS[invoice.status]:
        raise _no_transition(f"An invoice that is {invoice.status} can't become {status}.", invoice)
    if status is InvoiceStatus.PAID and invoice.amount < 0:
        raise _no_transition("A credit can't be paid, its amount is negative; it can be voided.", invoice)
    version = invoice.entry.version + 1
    transitions = (*invoice.entry.transitions, Transition(version=version, status=status))
    moved = invoice.entry.model_copy(update={"version": version, "transitions": transitions})
    await connection.execute(SQL["move_invoice"], moved.id, status.value, version)
    return await saved(connection, moved)


async def _owns_subscription(connection: "Connection", new: NewInvoice, services: frozenset[str] | None) -> bool:
    """Whether the subscription is of the service and the user. It stays locked: of two invoices that ask for one
    period at once, the second sees the first. Raises Refused."""
    assert new.subscription_id is not None
    subscription = await lock_subscription(connection, new.subscription_id)
    if subscription is None or not (services is None or subscription.service_id in services):
        raise Refused.of(Reason.SUBSCRIPTION_NOT_FOUND, "subscriptionId")
    return (subscription.service_id, subscription.user_id) == (new.service_id, new.user_id)


async def _add(connection: "Connection", invoice_id: str, new: NewInvoice) -> bool:
    added = await connection.fetchval(
        SQL["add_invoice"],
        invoice_id,
        new.service_id,
        new.payment_plan_id,
        new.user_id,
        new.subscription_id,
        new.status.value,
        decimal_text(new.amount),
        new.currency,
        _datetime(new.period_start),
        _datetime(new.period_end),
        _datetime(new.due_at),
        json.dumps(new.wire(), ensure_ascii=False),
    )
    return added is not None


async def _check_period(
    connection: "Connection", invoice_id: str, subscription_id: str | None, start: int | None, end: int | None
) -> None:
    """Refuse a period that an invoice of the subscription covers in part. Raises Refused."""
    if subscription_id is None or start is None:
        return
    bounds = _datetime(start), _datetime(end)
    other = await connection.fetchval(SQL["overlapping_invoice"], subscription_id, *bounds, invoice_id)
    if other is not None:
        error = f"The invoice {other} of this subscription covers some of the period; void it, or take another period."
        raise Refused(Rejection(Reason.PERIOD_ALREADY_INVOICED, error, "periodStart"))


def _no_transition(error: str, invoice: Invoice) -> Refused:
    return Refused(Rejection(Reason.INVALID_TRANSITION, error, extra={"currentStatus": invoice.status.value}))


def _invoice(row: "asyncpg.Record", entry: CatalogInvoice) -> Invoice:
    return Invoice(
        entry=entry,
        subscription_id=row["subscription_id"],
        status=InvoiceStatus(row["status"]),
        amount=scaled_of_own(row["amount"]),
        period_start=_milliseconds(row["period_start"]),
        period_end=_milliseconds(row["period_end"]),
        due_at=_milliseconds(row["due_at"]),
    )


def _unannounced(row: "asyncpg.Record") -> CatalogInvoice:
    """The entry of an invoice that was put into Postgres by hand: nobody announced it yet."""
    transition = Transition(version=row["version"], status=row["status"])
    names = "id", "service_id", "user_id", "version"
    return CatalogInvoice(**{name: row[name] for name in names}, transitions=(transition,))


def _datetime(at: int | None) -> datetime | None:
    return None if at is None else aware_datetime(at)


def _milliseconds(at: datetime | None) -> int | None:
    return None if at is None else milliseconds(at)
