"""An invoice: what a subscriber owes for a period, or a credit where negative."""

from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

from schemas.catalog import Transition, WireModel, dated, status_at
from schemas.text import Text
from schemas.timestamps import timestamp_text

INVOICE_NAMESPACE = UUID("6d1f5a52-5f0e-5c1c-9e9b-0a6f0c1f7a11")


class InvoiceStatus(StrEnum):
    """The closer writes OPEN."""

    DRAFT = "DRAFT"
    OPEN = "OPEN"
    PAID = "PAID"
    VOID = "VOID"
    EXPIRED = "EXPIRED"


class InvoiceSource(StrEnum):
    """Who wrote the invoice."""

    CLOSER = "CLOSER"
    MANUAL = "MANUAL"


LINKABLE_STATUSES = frozenset({InvoiceStatus.DRAFT, InvoiceStatus.OPEN})
"""An event may name an invoice that is in one of these at the request (contract rule 3)."""


def closer_invoice_id(subscription_id: str, period_start: int, sequence: int) -> str:
    """The id of the invoice of a closed period: the same however often the period is closed again."""
    return str(
        uuid5(
            INVOICE_NAMESPACE,
            f"{subscription_id}\n{timestamp_text(period_start)}\n{sequence}",
        )
    )


class CatalogInvoice(WireModel):
    """What rules need of an invoice."""

    id: Text
    service_id: Text
    user_id: Text
    version: int = 1
    transitions: tuple[Transition, ...]

    @classmethod
    def of_record(cls, document: dict[str, Any], record_at: int) -> "CatalogInvoice":
        """The invoice of a catalog record that the broker appended at `record_at` (ms)."""
        invoice = cls.model_validate(document)
        return invoice.model_copy(update={"transitions": dated(invoice.transitions, record_at)})

    def status_at(self, at: int) -> str:
        """The status at a moment in ms: a value of InvoiceStatus."""
        return status_at(self.transitions, at)
