"""What was recounted of a subscription's billing periods, beside what was invoiced."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from aggregator.audit.amounts import EXACT, ZERO, quantity_text
from aggregator.audit.report import Disagreement
from aggregator.audit.times import time_text


class Usage(NamedTuple):
    """Usage of a meter and what it comes to."""

    quantity: Decimal = ZERO
    events: int = 0
    amount: Decimal = ZERO

    def minus(self, other: "Usage") -> "Usage":
        """What is left of it beyond other usage."""
        return Usage(
            EXACT.subtract(self.quantity, other.quantity),
            self.events - other.events,
            EXACT.subtract(self.amount, other.amount),
        )

    def plus(self, other: "Usage") -> "Usage":
        """Both together."""
        return Usage(
            EXACT.add(self.quantity, other.quantity), self.events + other.events, EXACT.add(self.amount, other.amount)
        )

    def wire(self) -> dict[str, Any]:
        """As it is printed."""
        return {
            "quantity": quantity_text(self.quantity),
            "events": self.events,
            "amount": quantity_text(self.amount),
        }


@dataclass(slots=True, frozen=True)
class MeterRecount:
    """A meter in a billing period. `recounted` is what the sequences must have charged that the closer has written,
    `waiting` the usage beyond; `invoiced` is None where the plan's invoices are made by hand."""

    meter: str
    recounted: Usage
    invoiced: Usage | None
    waiting: Usage

    @property
    def difference(self) -> Usage:
        """What was invoiced beyond what was recounted: more than nothing where too much was charged."""
        return Usage() if self.invoiced is None else self.invoiced.minus(self.recounted)

    def wire(self) -> dict[str, Any]:
        """As it is printed."""
        return {
            "meter": self.meter,
            "recounted": self.recounted.wire(),
            "invoiced": None if self.invoiced is None else self.invoiced.wire(),
            "difference": self.difference.wire(),
            "waiting": self.waiting.wire(),
        }


@dataclass(slots=True, frozen=True)
class InvoiceRecount:
    """An invoice and what it must come to. `id` and `status` are None where it is still to be written; `amount` where
    there is none; `recounted` of one that was made by hand, which is stored as it was asked for."""

    sequence: int | None
    id: str | None
    status: str | None
    amount: Decimal | None
    recounted: Decimal | None
    currency: str
    first_offset: int | None
    last_offset: int | None

    @property
    def differs(self) -> bool:
        """Whether it says another amount than it must."""
        return self.id is not None and self.recounted is not None and self.amount != self.recounted

    def wire(self) -> dict[str, Any]:
        """As it is printed."""
        return {
            "sequence": self.sequence,
            "id": self.id,
            "status": self.status,
            "amount": None if self.amount is None else quantity_text(self.amount),
            "recounted": None if self.recounted is None else quantity_text(self.recounted),
            "currency": self.currency,
            "firstOffset": self.first_offset,
            "lastOffset": self.last_offset,
        }


@dataclass(slots=True)
class PeriodRecount:
    """A billing period [start, end) in ms. `sequences` is how many of it were closed; `offsets` are those of the first
    and the last of its events that stand in the subscription's own partition."""

    start: int
    end: int | None
    plan_id: str
    pricing_type: str
    invoicing: str
    currency: str
    sequences: int
    offsets: tuple[int, int] | None
    meters: list[MeterRecount] = field(default_factory=list)
    invoices: list[InvoiceRecount] = field(default_factory=list)
    disagreements: list[Disagreement] = field(default_factory=list)

    @property
    def differs(self) -> bool:
        """Whether anything is not as it must be; usage that waits, and an open period, are as they must be."""
        meters = any(meter.difference != Usage() for meter in self.meters)
        return meters or any(invoice.differs for invoice in self.invoices) or bool(self.disagreements)

    @property
    def waiting(self) -> list[MeterRecount]:
        """The meters with usage that no invoice has yet."""
        return [meter for meter in self.meters if meter.waiting != Usage()]

    def wire(self) -> dict[str, Any]:
        """As it is printed."""
        return {
            "periodStart": time_text(self.start),
            "periodEnd": None if self.end is None else time_text(self.end),
            "planId": self.plan_id,
            "pricingType": self.pricing_type,
            "invoicing": self.invoicing,
            "currency": self.currency,
            "agrees": not self.differs,
            "closedSequences": self.sequences,
            "firstOffset": None if self.offsets is None else self.offsets[0],
            "lastOffset": None if self.offsets is None else self.offsets[1],
            "meters": [meter.wire() for meter in self.meters],
            "invoices": [invoice.wire() for invoice in self.invoices],
            "disagreements": [disagreement.wire() for disagreement in self.disagreements],
        }


@dataclass(slots=True)
class SubscriptionRecount:
    """What was recounted of a subscription, and up to where in the log. `disagreements` are those whose period is not
    known: they count whichever was asked for."""

    subscription_id: str
    service_id: str
    user_id: str
    partition: int
    cut: dict[str, Any]
    periods: list[PeriodRecount]
    disagreements: list[Disagreement]

    @property
    def agrees(self) -> bool:
        """Whether all that was invoiced is what it must be."""
        return not self.disagreements and not any(period.differs for period in self.periods)

    def wire(self) -> dict[str, Any]:
        """As it is printed."""
        return {
            "agrees": self.agrees,
            "subscriptionId": self.subscription_id,
            "serviceId": self.service_id,
            "userId": self.user_id,
            "partition": self.partition,
            "cut": self.cut,
            "periods": [period.wire() for period in self.periods],
            "disagreements": [disagreement.wire() for disagreement in self.disagreements],
        }
