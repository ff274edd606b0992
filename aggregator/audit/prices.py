"""What a meter's total costs in its billing period, recounted with fractions: by each model, and rounded once.

Contract rule 6 and `prices` of a plan: of the total, `included` costs nothing; what is beyond is billable.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final

from aggregator.audit.amounts import PLACES, PRICE_PLACES, ZERO, rounded

ReadDecimal = Callable[[Any, int], Decimal]
"""Reads a decimal with so many places; raises ValueError or InvalidOperation for what is none."""


class Model(StrEnum):
    """How a quantity becomes an amount."""

    PER_UNIT = "PER_UNIT"
    GRADUATED = "GRADUATED"
    VOLUME = "VOLUME"
    PACKAGE = "PACKAGE"


@dataclass(slots=True, frozen=True)
class Tier:
    """Billable quantity up to a bound, which is within it; None for the last one."""

    up_to: Decimal | None
    unit_price: Decimal
    flat_amount: Decimal

    def holds(self, billable: Fraction) -> bool:
        """Whether a quantity does not go beyond it."""
        return self.up_to is None or billable <= Fraction(self.up_to)


@dataclass(slots=True, frozen=True)
class Price:
    """The price of a meter. `unit_price` is that of a whole package where these are sold; None where tiers have it."""

    model: Model
    included: Decimal = ZERO
    unit_price: Decimal | None = None
    package_size: Decimal | None = None
    tiers: tuple[Tier, ...] = ()

    def cost(self, total: Decimal) -> Decimal:
        """What the total of a period costs, with 6 decimals."""
        billable = self._billable(total)
        return rounded(self._exact_cost(billable)) if billable else ZERO

    def shown(self, total: Decimal) -> Decimal | None:
        """The unit price that an invoice shows beside this total; None where there is no single one."""
        if self.model is not Model.VOLUME:
            return self.unit_price
        billable = self._billable(total)
        return self._tier_of(billable).unit_price if billable else None

    def _billable(self, total: Decimal) -> Fraction:
        return max(Fraction(0), Fraction(total) - Fraction(self.included))

    def _exact_cost(self, billable: Fraction) -> Fraction:
        if self.model is Model.GRADUATED:
            return sum(self._by_tier(billable), Fraction(0))
        if self.model is Model.VOLUME:
            tier = self._tier_of(billable)
            return billable * Fraction(tier.unit_price) + Fraction(tier.flat_amount)
        assert self.unit_price is not None
        if self.model is Model.PER_UNIT:
            return billable * Fraction(self.unit_price)
        assert self.package_size is not None
        begun = -(-billable // Fraction(self.package_size))  # whole packages, rounded up
        return begun * Fraction(self.unit_price)

    def _tier_of(self, billable: Fraction) -> Tier:
        return next(tier for tier in self.tiers if tier.holds(billable))

    def _by_tier(self, billable: Fraction) -> Iterator[Fraction]:
        """What each tier adds, up to the one in which the quantity ends."""
        below = Fraction(0)
        for tier in self.tiers:
            end = billable if tier.up_to is None else min(billable, Fraction(tier.up_to))
            yield (end - below) * Fraction(tier.unit_price) + Fraction(tier.flat_amount)
            if tier.holds(billable):
                return
            below = end


def of_each_unit(unit_price: Decimal) -> Price:
    """The price of a meter of which every unit costs the same."""
    return Price(Model.PER_UNIT, unit_price=unit_price)


def price_in(document: dict[str, Any], decimal: ReadDecimal) -> Price:
    """The price in a document. Raises ValueError, LookupError or TypeError for what is none that can be worked out."""
    model = Model(document["model"])
    tiers = tuple(_tier(tier, decimal) for tier in document["tiers"]) if "tiers" in document else ()
    price = Price(
        model,
        included=decimal(document.get("included", "0.000000"), PLACES),
        unit_price=decimal(document["unitPrice"], PRICE_PLACES) if "unitPrice" in document else None,
        package_size=decimal(document["packageSize"], PLACES) if "packageSize" in document else None,
        tiers=tiers,
    )
    has = (price.unit_price is not None, price.package_size is not None, bool(tiers))
    if has != _HAS[model]:
        raise ValueError(f"a price by {model} does not have just these fields: {sorted(document)}")
    bounds = [tier.up_to for tier in tiers]
    if tiers and (bounds[-1] is not None or not _rise(bounds[:-1])):
        raise ValueError("its tiers do not rise to one without a bound")
    if price.package_size is not None and price.package_size <= 0:
        raise ValueError("its packages hold nothing")
    return price


_HAS: Final = {
    Model.PER_UNIT: (True, False, False),
    Model.PACKAGE: (True, True, False),
    Model.VOLUME: (False, False, True),
    Model.GRADUATED: (False, False, True),
}
"""Unit price, package size, tiers."""


def _tier(document: dict[str, Any], decimal: ReadDecimal) -> Tier:
    up_to = document["upTo"]
    return Tier(
        None if up_to is None else decimal(up_to, PLACES),
        decimal(document["unitPrice"], PRICE_PLACES),
        decimal(document.get("flatAmount", "0.000000"), PLACES),
    )


def _rise(bounds: list[Decimal | None]) -> bool:
    last = ZERO
    for bound in bounds:
        if bound is None or bound <= last:
            return False
        last = bound
    return True
