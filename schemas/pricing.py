"""Prices: what the usage of each meter comes to.

This is the one place where a decimal is rounded: the amount of a line, half-even, to 6 decimals.
"""

from collections import Counter
from typing import Any

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from schemas.catalog import WireModel
from schemas.decimals import PRICE_ONE, QUANTITY_ONE, Quantity, UnitPrice
from schemas.price import Price
from schemas.text import Text


class Prices(WireModel):
    """Prices by meter; `amount` is the flat amount, or the unit price of the meters that are not named.

    A meter is named once at most: in `unit_prices`, the short form of PER_UNIT, or in `prices`.
    """

    amount: Quantity = 0
    unit_prices: dict[Text, UnitPrice] = Field(default_factory=dict)
    prices: dict[Text, Price] = Field(default_factory=dict)

    def price(self, meter: str) -> Price:
        """The price of a meter."""
        if (named := self.prices.get(meter)) is not None:
            return named
        unit_price = self.unit_prices.get(meter)
        return Price.per_unit(self.amount * (PRICE_ONE // QUANTITY_ONE) if unit_price is None else unit_price)

    @field_validator("unit_prices", "prices", mode="before")
    @classmethod
    def _by_meter(cls, prices: Any) -> Any:
        """null means omitted; meters are told apart by their names as they are stored, without blanks around them."""
        if prices is None:
            return {}
        if isinstance(prices, dict):
            counts = Counter(meter.strip() for meter in prices if isinstance(meter, str))
            for meter, count in counts.items():
                if count > 1:
                    raise PydanticCustomError(
                        "field_invalid", "must name the meter {meter} once: leave out the other", {"meter": meter}
                    )
        return prices

    @field_validator("prices")
    @classmethod
    def _named_once(cls, prices: dict[str, Price], info: ValidationInfo) -> dict[str, Price]:
        for meter in prices:
            if meter in info.data.get("unit_prices", ()):
                raise PydanticCustomError(
                    "field_invalid",
                    "must not name the meter {meter} of unitPrices: leave it out of one of the two",
                    {"meter": meter},
                )
        return prices


def line_amount(quantity: int, price: Price) -> int:
    """The price in millionths of a total quantity in millionths: exact, then rounded half-even."""
    amount, rest = divmod(price.exact_amount(quantity), PRICE_ONE)
    half = PRICE_ONE // 2
    is_up = rest > half or (rest == half and amount % 2 == 1)
    return amount + is_up
