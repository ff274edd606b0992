"""What a price makes of a total quantity, step by step, in words and exact amounts."""

from collections.abc import Iterator

from schemas.decimals import PRICE_ONE, PRICE_PLACES, QUANTITY_ONE, QUANTITY_PLACES, decimal_text
from schemas.price import Price, PriceModel, Tier

Step = tuple[str, int | None]
"""Words, and what they come to in 10^-18; None where they only explain."""


def breakdown(price: Price, total: int) -> Iterator[Step]:
    """The steps of the price of a quantity in millionths; their amounts add up to price.exact_amount()."""
    billable = max(0, total - price.included)
    if price.included:
        yield f"{price.model}, {short(price.included)} included, {short(billable)} to pay for", None
    elif price.model is not PriceModel.PER_UNIT:
        yield f"{price.model}", None
    match price.model:
        case PriceModel.PER_UNIT:
            yield _units(billable, price.unit_price), billable * price.unit_price
        case PriceModel.PACKAGE:
            yield _packages(price, billable)
        case PriceModel.GRADUATED:
            yield from _graduated(price.tiers, billable)
        case PriceModel.VOLUME:
            tier = next(tier for tier in price.tiers if tier.up_to is None or billable <= tier.up_to)
            if billable:
                yield from _tier(tier, billable)


def _packages(price: Price, billable: int) -> Step:
    packages = -(-billable // price.package_size)
    words = f"{packages} packages of {short(price.package_size)} x {short(price.unit_price, PRICE_PLACES)}"
    return words, packages * QUANTITY_ONE * price.unit_price


def _graduated(tiers: tuple[Tier, ...], billable: int) -> Iterator[Step]:
    begin = 0
    for tier in tiers:
        if billable <= begin:
            return
        end = billable if tier.up_to is None else min(billable, tier.up_to)
        yield from _tier(tier, end - begin)
        begin = end


def _tier(tier: Tier, quantity: int) -> Iterator[Step]:
    bound = "without end" if tier.up_to is None else f"up to {short(tier.up_to)}"
    yield f"{_units(quantity, tier.unit_price)}, tier {bound}", quantity * tier.unit_price
    if tier.flat_amount:
        yield f"flat amount of the tier {bound}", tier.flat_amount * PRICE_ONE


def _units(quantity: int, unit_price: int) -> str:
    return f"{short(quantity)} x {short(unit_price, PRICE_PLACES)}"


def short(scaled: int, places: int = QUANTITY_PLACES, places_min: int = 0) -> str:
    """A decimal without the zeros at its end, but with so many places at least."""
    whole, _, fraction = decimal_text(scaled, places).partition(".")
    fraction = fraction[:places_min] + fraction[places_min:].rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole
