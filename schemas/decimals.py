"""Exact decimals as integers: a quantity or an amount is its value times 10^6, a unit price its value times 10^12.

Text and JSON numbers become scaled integers here, at the edge, and text again on the way out. In between there is
only integer arithmetic, so nothing is rounded by accident. A JSON number reaches us as `jiter.LosslessFloat`, which
holds the digits as sent: a binary float would already have lost some.

The work is bounded by the length of the input: `1E+999999` is refused by its exponent and never expanded.
"""

import re
from typing import Annotated, Any, Final

from jiter import LosslessFloat
from pydantic import PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

QUANTITY_PLACES: Final = 6
PRICE_PLACES: Final = 12
WHOLE_DIGITS: Final = 14
"""Decimals are below 10^14."""

QUANTITY_ONE: Final = 10**QUANTITY_PLACES
PRICE_ONE: Final = 10**PRICE_PLACES

_DECIMAL = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?").fullmatch
_SHIFT: Final[tuple[int, ...]] = tuple(10 ** (QUANTITY_PLACES - places) for places in range(QUANTITY_PLACES + 1))
_TEXT_MAX: Final = 64


def scaled(value: Any, places: int = QUANTITY_PLACES) -> int:
    """The value times 10^places, exactly.

    Raises PydanticCustomError of type field_required, decimal_invalid, decimal_negative, decimal_too_precise or
    decimal_out_of_range (contract section 2).
    """
    kind = type(value)
    if kind is str:
        return _scaled_text(value, places)
    if kind is int:  # type() and not isinstance(): True is an int too
        if value < 0:
            raise _negative()
        if value >= 10**WHOLE_DIGITS:
            raise _out_of_range()
        return int(value) * int(10**places)
    if kind is LosslessFloat:
        return _scaled_text(str(value), places)
    if value is None:
        raise PydanticCustomError("field_required", "is required")
    raise _invalid()


def quantity(value: Any) -> int:
    """A quantity in millionths, of a JSON number or string; raises as `scaled` does."""
    if type(value) is str:  # digits, perhaps with a point and more digits: nearly all traffic
        whole, point, fraction = value.partition(".")
        digits = whole + fraction
        if (
            digits.isdigit()
            and digits.isascii()
            and 0 < len(whole) <= WHOLE_DIGITS
            and len(fraction) <= QUANTITY_PLACES
            and (value[0] != "0" or whole == "0")
            and (fraction or not point)
        ):
            return int(digits) * _SHIFT[len(fraction)]
    return scaled(value, QUANTITY_PLACES)


def unit_price(value: Any) -> int:
    """A unit price in 10^-12, of a JSON number or string; raises as `scaled` does."""
    return scaled(value, PRICE_PLACES)


def decimal_text(scaled_value: int, places: int = QUANTITY_PLACES) -> str:
    """'5.250000' of 5250000: always all the places, so that equal values are equal text."""
    if scaled_value >= 0 and places == QUANTITY_PLACES:  # nearly always, and more than once for each event
        return f"{scaled_value // QUANTITY_ONE}.{scaled_value % QUANTITY_ONE:06d}"
    sign = "-" if scaled_value < 0 else ""
    whole, fraction = divmod(abs(scaled_value), 10**places)
    return f"{sign}{whole}.{fraction:0{places}d}"


def scaled_of_own(text: str, places: int = QUANTITY_PLACES) -> int:
    """The inverse of decimal_text, of a value that Tally wrote itself: sums may pass 10^14 and credits be negative."""
    whole, _, fraction = text.partition(".")
    if len(fraction) != places:
        raise ValueError(f"{text!r} is not a decimal with {places} places")
    return int(whole + fraction)


def _scaled_text(text: str, places: int) -> int:
    if len(text) > _TEXT_MAX:  # bounds all the work below
        raise PydanticCustomError("decimal_invalid", "must have at most {max} characters", {"max": _TEXT_MAX})
    match = _DECIMAL(text)
    if match is None:
        raise _invalid()
    sign, whole, fraction, exponent = match.groups()
    fraction = fraction or ""
    digits = (whole + fraction).lstrip("0")
    significant = digits.rstrip("0")
    if not significant:
        return 0  # 0, -0, 0.000, 0e999
    if sign:
        raise _negative()
    shift = int(exponent or 0) - len(fraction) + (len(digits) - len(significant)) + places
    if len(significant) + shift > WHOLE_DIGITS + places:
        raise _out_of_range()  # decided by lengths: no power of ten was built yet
    if shift < 0:
        raise _too_precise(places)
    return int(significant) * int(10**shift)


def _invalid() -> PydanticCustomError:
    return PydanticCustomError("decimal_invalid", "must be a decimal number, or a string that holds one")


def _negative() -> PydanticCustomError:
    return PydanticCustomError("decimal_negative", "must not be negative")


def _too_precise(places: int) -> PydanticCustomError:
    return PydanticCustomError(
        "decimal_too_precise",
        "must have at most {places} decimal places",
        {"places": places},
    )


def _out_of_range() -> PydanticCustomError:
    return PydanticCustomError("decimal_out_of_range", "must be less than 10^14")


def _json_schema(places: int) -> dict[str, Any]:
    return {
        "anyOf": [
            {
                "type": "string",
                "format": DECIMAL_FORMAT,
                "pattern": rf"^(0|[1-9][0-9]{{0,13}})(\.[0-9]{{1,{places}}})?$",
            },
            {"type": "number", "minimum": 0, "exclusiveMaximum": 10**WHOLE_DIGITS, PLACES_MARK: places},
        ],
        "description": f"Exact decimal, at most {places} decimal places, less than 10^14.",
        "examples": ["5.25"],
    }


def _text_schema(places: int) -> dict[str, Any]:
    return {
        "type": "string",
        "format": DECIMAL_FORMAT,
        "pattern": rf"^-?(0|[1-9][0-9]*)\.[0-9]{{{places}}}$",
        "examples": [decimal_text(5 * 10**places + 10**places // 4, places)],
    }


DECIMAL_FORMAT: Final = "decimal"
"""The format by which a decimal is known in a JSON Schema."""

PLACES_MARK: Final = "x-decimal-places"
"""How a JSON Schema of ours says `multipleOf`, whose value would be a float."""

Quantity = Annotated[
    int,
    PlainValidator(quantity),
    PlainSerializer(decimal_text),
    WithJsonSchema(_json_schema(QUANTITY_PLACES), mode="validation"),
    WithJsonSchema(_text_schema(QUANTITY_PLACES), mode="serialization"),
]
"""A quantity or an amount, in millionths."""

_QUANTITY_OR_NULL: Final = {
    **_json_schema(QUANTITY_PLACES),
    "anyOf": [*_json_schema(QUANTITY_PLACES)["anyOf"], {"type": "null"}],
}

OptionalQuantity = Annotated[
    int | None,
    PlainValidator(lambda value: None if value is None else quantity(value)),
    PlainSerializer(lambda value: None if value is None else decimal_text(value)),
    WithJsonSchema(_QUANTITY_OR_NULL, mode="validation"),
    WithJsonSchema({"anyOf": [_text_schema(QUANTITY_PLACES), {"type": "null"}]}, mode="serialization"),
]
"""As Quantity, but null means omitted, and omitted stays None."""

OmittableQuantity = Annotated[
    int,
    PlainValidator(lambda value: 0 if value is None else quantity(value)),
    PlainSerializer(decimal_text),
    WithJsonSchema(_QUANTITY_OR_NULL, mode="validation"),
    WithJsonSchema(_text_schema(QUANTITY_PLACES), mode="serialization"),
]
"""As Quantity, but null means omitted, and omitted is 0."""

UnitPrice = Annotated[
    int,
    PlainValidator(unit_price),
    PlainSerializer(lambda price: decimal_text(price, PRICE_PLACES), return_type=str),
    WithJsonSchema(_json_schema(PRICE_PLACES), mode="validation"),
    WithJsonSchema(_text_schema(PRICE_PLACES), mode="serialization"),
]
"""A price of one unit, in 10^-12."""

DecimalText = Annotated[str, WithJsonSchema(_text_schema(QUANTITY_PLACES))]
"""A quantity or an amount on its way out, as decimal_text() or Postgres writes it."""

PriceText = Annotated[str, WithJsonSchema(_text_schema(PRICE_PLACES))]
"""As DecimalText, of a unit price."""
