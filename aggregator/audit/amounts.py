"""Decimals, recounted: sums in a context that traps whatever is not exact, prices as fractions.

The engine has scaled integers. Nothing is shared with it, so that both can't be wrong in the same way.
"""

import decimal
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from schemas.rejection import Reason

EXACT: Final = decimal.Context(
    prec=200,
    traps=[
        *(decimal.Inexact, decimal.Rounded, decimal.InvalidOperation, decimal.DivisionByZero),
        *(decimal.Overflow, decimal.Subnormal, decimal.FloatOperation),
    ],
)
"""200 digits: a quantity has 20 of them, and the sum of 10^180 quantities 200."""

ZERO: Final = Decimal(0)
PLACES: Final = 6
PRICE_PLACES: Final = 12
"""Of a unit price."""
WHOLE_DIGITS_MAX: Final = 14
TEXT_MAX: Final = 64
"""No longer text is taken for a decimal. (Contract section 1 does not say so.)"""
_EXPONENT_DIGITS_MAX: Final = 18
"""What an exponent is cut to: far more than a decimal may have, and few enough for an integer."""

_NUMBER = re.compile(r"(-?)([0-9]|[1-9][0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?").fullmatch
_OWN = {
    places: re.compile(rf"-?(?:[0-9]|[1-9][0-9]+)\.[0-9]{{{places}}}").fullmatch for places in (PLACES, PRICE_PLACES)
}


class Number(str):
    """A number of a JSON document, in the digits that stand there."""

    __slots__ = ()


def quantity_of(value: Any) -> Decimal | frozenset[str]:
    """The quantity that a field of a parsed document holds, or the codes that it may be refused with."""
    if value is None:
        return frozenset({Reason.FIELD_REQUIRED})
    match = _NUMBER(value) if isinstance(value, str) else None
    if match is None:
        return frozenset({Reason.DECIMAL_INVALID})
    sign, whole, fraction, exponent = match.groups("")
    if not sign and not exponent and len(whole) <= WHOLE_DIGITS_MAX and len(fraction) <= PLACES:
        return Decimal(value)
    codes = _refusals(sign, whole + fraction, int(exponent[:_EXPONENT_DIGITS_MAX] or 0) - len(fraction))
    if len(value) > TEXT_MAX:
        codes |= {Reason.DECIMAL_INVALID}
    if codes:
        return codes
    return EXACT.plus(Decimal(value)) if (whole + fraction).strip("0") else ZERO


def quantity_text(quantity: Decimal) -> str:
    """A quantity as Tally writes it: with all 6 decimals."""
    return f"{quantity:.6f}"


def own_decimal(text: Any, places: int = PLACES) -> Decimal:
    """A decimal that Tally has written; raises ValueError for one that it would have written otherwise."""
    if not isinstance(text, str) or not _OWN[places](text):
        raise ValueError(f"{text!r} is not a decimal with {places} places")
    return Decimal(text)


def rounded(amount: Fraction) -> Decimal:
    """An exact amount, rounded half-even to 6 decimals: which is how Python rounds a fraction."""
    nearest = round(amount, PLACES)
    return EXACT.divide(Decimal(nearest.numerator), Decimal(nearest.denominator))


def total_of(amounts: list[Decimal]) -> Decimal:
    """The exact sum."""
    total = ZERO
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total


def _refusals(sign: str, digits: str, exponent: int) -> frozenset[str]:
    """Why a number of these digits, times ten to the exponent, is no quantity."""
    significant = digits.strip("0")
    if not significant:
        return frozenset()
    if sign:
        return frozenset({Reason.DECIMAL_NEGATIVE})
    last = exponent + len(digits) - len(digits.rstrip("0"))
    codes: set[str] = set()
    if last < -PLACES:
        codes.add(Reason.DECIMAL_TOO_PRECISE)
    if last + len(significant) > WHOLE_DIGITS_MAX:
        codes.add(Reason.DECIMAL_OUT_OF_RANGE)
    return frozenset(codes)
