"""Prices: what one unit of each meter costs, and what a quantity comes to.

This is the one place where a decimal is rounded: the amount of a line, half-even, to 6 decimals.
"""

from pydantic import Field

from schemas.catalog import WireModel
from schemas.decimals import PRICE_ONE, QUANTITY_ONE, Quantity, UnitPrice
from schemas.text import Text


class Prices(WireModel):
    """Unit prices by meter; `amount` is the flat amount, or the unit price of the meters that are not named."""

    amount: Quantity = 0
    unit_prices: dict[Text, UnitPrice] = Field(default_factory=dict)

    def unit_price(self, meter: str) -> int:
        """The price of one unit of a meter, in 10^-12."""
        named = self.unit_prices.get(meter)
        return self.amount * (PRICE_ONE // QUANTITY_ONE) if named is None else named


def line_amount(quantity: int, unit_price: int) -> int:
    """The price in millionths of a quantity in millionths at a price in 10^-12: exact, then rounded half-even."""
    amount, rest = divmod(quantity * unit_price, PRICE_ONE)
    half = PRICE_ONE // 2
    is_up = rest > half or (rest == half and amount % 2 == 1)
    return amount + is_up  # divmod rounds down, below 0 as well
