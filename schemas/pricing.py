"""Prices: what one unit of each meter costs."""

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
