"""An invoice: what a subscriber owes for a period, or a credit where negative."""

from enum import StrEnum
from typing import Annotated, Any, Final
from uuid import UUID, uuid5

from pydantic import (
    BeforeValidator,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from schemas.catalog import Transition, WireModel, dated, status_at
from schemas.decimals import Quantity
from schemas.text import OPTIONAL_TEXT_SCHEMA, OptionalText, Text, optional_text
from schemas.timestamps import OptionalTimestamp, timestamp_text

INVOICE_NAMESPACE = UUID("6d1f5a52-5f0e-5c1c-9e9b-0a6f0c1f7a11")
UUID5: Final = 5
"""The version of the closer's ids."""


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


_S = InvoiceStatus

INVOICE_TRANSITIONS: Final[dict[InvoiceStatus, frozenset[InvoiceStatus]]] = {
    _S.DRAFT: frozenset({_S.OPEN, _S.VOID}),
    _S.OPEN: frozenset({_S.PAID, _S.VOID, _S.EXPIRED}),
    _S.PAID: frozenset(),
    _S.VOID: frozenset(),
    _S.EXPIRED: frozenset(),
}
"""One move that they allow is refused all the same: a credit, of a negative amount, can't be paid."""

FIRST_STATUSES: Final = (_S.DRAFT, _S.OPEN)
"""In which a caller may make an invoice."""

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


def _chosen_id(value: Any) -> str | None:
    """The id that a caller chooses: none that an invoice of the closer could have, or the closer would find its id
    taken and hold the period."""
    chosen = optional_text(value)
    if chosen is not None and _is_uuid5(chosen):
        message = "can't be a UUID of version 5, which the invoices of closed periods have: choose another, or none"
        raise PydanticCustomError("field_invalid", message)
    return chosen


def _is_uuid5(chosen: str) -> bool:
    try:
        return UUID(chosen).version == UUID5
    except ValueError:
        return False


ChosenId = Annotated[
    str | None,
    PlainValidator(_chosen_id),
    WithJsonSchema({**OPTIONAL_TEXT_SCHEMA, "description": "Without one, Tally chooses; no UUID of version 5."}),
]


def _first_status(value: Any) -> Any:
    if value is None:
        return _S.DRAFT
    if value == _S.PAID:
        message = "can't be PAID when an invoice is created: create it OPEN, then pay it"
        raise PydanticCustomError("invoice_paid_on_create", message)
    if value not in FIRST_STATUSES:
        raise PydanticCustomError("field_invalid", "must be DRAFT or OPEN")
    return value


FirstStatus = Annotated[
    InvoiceStatus,
    BeforeValidator(_first_status),
    WithJsonSchema({"type": "string", "enum": list(FIRST_STATUSES), "default": _S.DRAFT}),
]


def period_error(start: int | None, end: int | None) -> str | None:
    """What is wrong with the end of an invoice's period, None where nothing is: it has both ends or neither."""
    if (start is None) != (end is None):
        return "must be given where periodStart is, and only there"
    if start is not None and end is not None and start >= end:
        return "must be after periodStart"
    return None


class NewInvoice(WireModel):
    """An invoice as a caller asks for it; without an id, Tally chooses one, and without a currency it is the plan's.
    The amount is stored as it is given (contract rule 8)."""

    id: ChosenId = None
    service_id: Text
    payment_plan_id: Text
    user_id: Text
    subscription_id: OptionalText = None
    status: FirstStatus = _S.DRAFT
    amount: Quantity
    currency: OptionalText = None
    period_start: OptionalTimestamp = None
    period_end: OptionalTimestamp = None
    due_at: OptionalTimestamp = None

    @model_validator(mode="before")
    @classmethod
    def _null_means_omitted(cls, document: Any) -> Any:
        """So that an end which is not there is judged, too."""
        return {"periodEnd": None, **document} if isinstance(document, dict) else document

    @field_validator("period_end")
    @classmethod
    def _ends_what_begins(cls, end: int | None, info: ValidationInfo) -> int | None:
        error = period_error(info.data["period_start"], end) if "period_start" in info.data else None
        if error is not None:
            raise PydanticCustomError("field_invalid", error)
        return end


class InvoiceChange(WireModel):
    """What is to be changed of an invoice while it is a DRAFT: the fields that are given. Null clears a time."""

    amount: Quantity = 0
    period_start: OptionalTimestamp = None
    period_end: OptionalTimestamp = None
    due_at: OptionalTimestamp = None


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
