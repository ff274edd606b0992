"""The price of a meter: one of four models, and what a total quantity comes to under it (docs/pricing.md).

What is priced is the billable quantity: the total of a billing period beyond what the price includes, never below 0.
Everything here is exact: a quantity is in 10^-6, a price in 10^-12, and so an amount in 10^-18. Nothing is rounded.
"""

from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from schemas.catalog import WireModel
from schemas.decimals import PRICE_ONE, QUANTITY_ONE, OmittableQuantity, OptionalQuantity, Quantity, UnitPrice

TIERS_MAX: Final = 100


class PriceModel(StrEnum):
    """PER_UNIT prices each unit alike, GRADUATED each by the tier that it lies in, VOLUME all by the tier that the last
    one lies in, and PACKAGE every package that is begun."""

    PER_UNIT = "PER_UNIT"
    GRADUATED = "GRADUATED"
    VOLUME = "VOLUME"
    PACKAGE = "PACKAGE"


FIELDS: Final[dict[PriceModel, tuple[str, ...]]] = {
    PriceModel.PER_UNIT: ("unit_price",),
    PriceModel.GRADUATED: ("tiers",),
    PriceModel.VOLUME: ("tiers",),
    PriceModel.PACKAGE: ("unit_price", "package_size"),
}
"""The fields that a price of each model must have beside `included`, which any may have; it has none of the others."""

_ABSENT: Final[dict[str, Any]] = {"unit_price": 0, "package_size": 0, "tiers": ()}
"""The fields that only some models have, each with its value in a price that does not have it."""


class Tier(WireModel):
    """The units up to and including `up_to`, beyond those of the tier before; without an end where it is None."""

    up_to: OptionalQuantity = None
    unit_price: UnitPrice
    flat_amount: OmittableQuantity = 0

    def amount(self, quantity: int) -> int:
        """What a quantity in this tier comes to, in 10^-18."""
        return quantity * self.unit_price + self.flat_amount * PRICE_ONE


def _more_than_nothing(size: int) -> int:
    if size == 0:
        raise PydanticCustomError("field_invalid", "must be more than 0")
    return size


def _of_few(tiers: Any) -> Any:
    if type(tiers) is not list or not 1 <= len(tiers) <= TIERS_MAX:
        raise PydanticCustomError("field_invalid", "must be a list of 1 to {max} tiers", {"max": TIERS_MAX})
    return tiers


def _rising_to_the_last(tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
    *before, last = (tier.up_to for tier in tiers)
    if last is not None or None in before:
        raise PydanticCustomError("field_invalid", "must end with a tier without upTo, and have upTo in all others")
    if any(up_to <= lower for lower, up_to in pairwise((0, *(up_to or 0 for up_to in before)))):
        raise PydanticCustomError("field_invalid", "must have upTo rise from tier to tier, from more than 0 on")
    return tiers


PackageSize = Annotated[Quantity, AfterValidator(_more_than_nothing)]
Tiers = Annotated[
    tuple[Tier, ...],
    BeforeValidator(_of_few),
    AfterValidator(_rising_to_the_last),
    Field(json_schema_extra={"minItems": 1, "maxItems": TIERS_MAX}),
]


class Price(WireModel):
    """The price of a meter: of each unit, by tiers, or of each package."""

    model: PriceModel
    included: OmittableQuantity = 0
    unit_price: UnitPrice
    package_size: PackageSize
    tiers: Tiers

    @staticmethod
    @lru_cache(maxsize=1024)  # making one takes twenty times as long as computing with it
    def per_unit(unit_price: int) -> "Price":
        """The price of a meter each unit of which costs the same, in 10^-12."""
        return Price.model_construct(
            model=PriceModel.PER_UNIT, included=0, unit_price=unit_price, package_size=0, tiers=()
        )

    def exact_amount(self, quantity: int) -> int:
        """What a total quantity comes to, in 10^-18."""
        billable = self._billable(quantity)
        match self.model:
            case PriceModel.PER_UNIT:
                return billable * self.unit_price
            case PriceModel.GRADUATED:
                return self._graduated_amount(billable)
            case PriceModel.VOLUME:
                return self._tier_of(billable).amount(billable) if billable else 0
            case PriceModel.PACKAGE:
                packages = -(-billable // self.package_size)  # rounded up: a package that is begun counts whole
                return packages * QUANTITY_ONE * self.unit_price

    def unit_price_at(self, quantity: int) -> int | None:
        """The unit price that a total quantity is charged at, in 10^-12; None where there is no such one price."""
        match self.model:
            case PriceModel.PER_UNIT | PriceModel.PACKAGE:
                return self.unit_price
            case PriceModel.GRADUATED:
                return None
            case PriceModel.VOLUME:
                billable = self._billable(quantity)
                return self._tier_of(billable).unit_price if billable else None

    def _billable(self, quantity: int) -> int:
        return max(0, quantity - self.included)

    def _tier_of(self, billable: int) -> Tier:
        return next(tier for tier in self.tiers if tier.up_to is None or billable <= tier.up_to)

    def _graduated_amount(self, billable: int) -> int:
        amount = begin = 0
        for tier in self.tiers:
            if billable <= begin:
                break
            end = billable if tier.up_to is None else min(billable, tier.up_to)
            amount += tier.amount(end - begin)
            begin = end
        return amount

    @model_validator(mode="before")
    @classmethod
    def _null_means_omitted(cls, document: Any) -> Any:
        """So each of these fields is there, and the model decides what it may be."""
        return {**dict.fromkeys(map(to_camel, _ABSENT)), **document} if isinstance(document, dict) else document

    @field_validator("unit_price", "package_size", "tiers", mode="wrap")
    @classmethod
    def _as_the_model_has_it(cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        name = str(info.field_name)
        model = info.data.get("model")
        if model is None:  # which is reported already, and says nothing of this field
            return value
        if name in FIELDS[model]:
            if value is None:
                raise PydanticCustomError("field_required", "is required where the model is {model}", {"model": model})
            return handler(value)
        if value is not None:
            models = " or ".join(model for model, names in FIELDS.items() if name in names)
            raise PydanticCustomError(
                "field_invalid",
                "does not belong to the model {model}: leave it out, or make the model {models}",
                {"model": model, "models": models},
            )
        return _ABSENT[name]

    @model_serializer(mode="wrap")
    def _without_the_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        absent = {to_camel(name) for name in _ABSENT.keys() - set(FIELDS[self.model])}
        return {name: value for name, value in handler(self).items() if name not in absent}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """One kind of object for each model."""
        of_fields: Any = {name: part for name, part in core_schema.items() if name != "serialization"}
        schema = handler(of_fields)
        whole = handler.resolve_ref_schema(schema)
        properties, required = whole.pop("properties"), set(whole.pop("required"))
        whole["oneOf"] = [_kind(model, properties, required, handler.mode) for model in PriceModel]
        return schema


def _kind(model: PriceModel, properties: dict[str, Any], required: set[str], mode: str) -> JsonSchemaValue:
    own = {to_camel(name) for name in FIELDS[model]}
    absent = {to_camel(name) for name in _ABSENT} - own
    shown = {name: schema for name, schema in properties.items() if name not in absent}
    refused = {name: {"type": "null"} for name in sorted(absent)} if mode == "validation" else {}
    return {
        "title": model.value,
        "type": "object",
        "properties": {**shown, "model": {"const": model.value}, **refused},
        "required": sorted((required | own) - absent),
    }
