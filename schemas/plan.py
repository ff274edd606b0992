"""A plan: how usage of a service becomes an amount. Plans never change: a new price is a new plan."""

from enum import StrEnum

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from schemas.billing_period import BillingInterval
from schemas.pricing import Prices
from schemas.text import OptionalText, Text


class PricingType(StrEnum):
    """USAGE_BASED bills quantities; FIXED_RECURRING a flat amount a period; ONE_TIME a flat amount once."""

    FIXED_RECURRING = "FIXED_RECURRING"
    USAGE_BASED = "USAGE_BASED"
    ONE_TIME = "ONE_TIME"


class Invoicing(StrEnum):
    """Who writes the invoice of a closed period: the closer, or the caller."""

    AUTOMATIC = "AUTOMATIC"
    MANUAL = "MANUAL"


class NewPlan(Prices):
    """A plan as a caller asks for it; without an id, Tally chooses one."""

    id: OptionalText = None
    service_id: Text
    name: Text
    pricing_type: PricingType
    billing_interval: BillingInterval
    currency: Text = "USDC"
    invoicing: Invoicing = Invoicing.AUTOMATIC

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Of what is sent, the null that means omitted."""
        schema = handler(core_schema)
        if handler.mode == "validation":
            properties = handler.resolve_ref_schema(schema)["properties"]
            for name in ("unitPrices", "prices"):
                properties[name] = {"anyOf": [properties[name], {"type": "null"}]}
        return schema


class Plan(NewPlan):
    """A plan in the catalog."""

    id: Text
    version: int = 1
