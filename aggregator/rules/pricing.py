"""From the quantities of a closed period to an invoice (contract rules 6 and 7).

A line of a later sequence is the rounded price of all the meter has gathered, less what was charged before, so that the
lines of all sequences add up to the rounded price of the total, however the usage was split among them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.closed_period import Charge, ClosedLine, ClosedPart
from schemas.plan import Invoicing, Plan, PricingType
from schemas.price import Price
from schemas.pricing import line_amount


@dataclass(slots=True, frozen=True)
class InvoiceLine:
    """What one meter costs. Quantity and amount are in millionths, the unit price is in 10^-12, and None where there is
    no such one price."""

    meter: str
    quantity: int
    unit_price: int | None
    amount: int
    event_count: int


@dataclass(slots=True, frozen=True)
class Bill:
    """The amount of an invoice, in millionths, and the lines that explain it."""

    amount: int
    lines: tuple[InvoiceLine, ...]


def charge_after(line: ClosedLine, plan: Plan) -> Charge:
    """What the sequences of a period, this one included, have charged for a meter."""
    quantity = line.charged_before.quantity + line.quantity
    return Charge(
        quantity,
        line.charged_before.event_count + line.event_count,
        line_amount(quantity, plan.price(line.meter)) if plan.pricing_type is PricingType.USAGE_BASED else 0,
    )


def bill_of(parts: Sequence[ClosedPart]) -> Bill | None:
    """The bill of a closed period, from all its parts in order; None where there is nothing to invoice."""
    period = parts[0]
    if period.invoicing is Invoicing.MANUAL:
        return None
    if period.pricing_type is PricingType.USAGE_BASED:
        return _usage_bill(parts, is_adjustment=period.sequence > 0)
    return None if period.sequence > 0 else _flat_bill(parts)


def _usage_bill(parts: Sequence[ClosedPart], *, is_adjustment: bool) -> Bill | None:
    lines = tuple(_priced(line, part.prices.price(line.meter)) for part in parts for line in part.lines)
    if is_adjustment and not any(line.amount for line in lines):
        return None
    return Bill(sum(line.amount for line in lines), lines)


def _flat_bill(parts: Sequence[ClosedPart]) -> Bill:
    lines = (InvoiceLine(line.meter, line.quantity, 0, 0, line.event_count) for part in parts for line in part.lines)
    return Bill(parts[0].prices.amount, tuple(lines))


def _priced(line: ClosedLine, price: Price) -> InvoiceLine:
    before, through = line.charged_before, line.charged_before.quantity + line.quantity
    amount = line_amount(through, price) - before.amount
    return InvoiceLine(line.meter, line.quantity, price.unit_price_at(through), amount, line.event_count)
