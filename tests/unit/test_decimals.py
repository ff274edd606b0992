"""Decimals against fractions.Fraction, which is exact and shares no code with them."""

import json
import re
from fractions import Fraction
from typing import Any

import jiter
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from pydantic_core import PydanticCustomError

from schemas.decimals import (
    PRICE_PLACES,
    QUANTITY_PLACES,
    Quantity,
    UnitPrice,
    decimal_text,
    quantity,
    scaled,
    scaled_of_own,
    unit_price,
)

INVALID, NEGATIVE = "decimal_invalid", "decimal_negative"
TOO_PRECISE, OUT_OF_RANGE = "decimal_too_precise", "decimal_out_of_range"


def outcome(value: Any, places: int = QUANTITY_PLACES) -> int | str:
    """The scaled integer, or the code of the refusal."""
    try:
        return {QUANTITY_PLACES: quantity, PRICE_PLACES: unit_price}[places](value)
    except PydanticCustomError as error:
        return error.type


def as_number(text: str) -> Any:
    """What a JSON number reaches us as."""
    return jiter.from_json(text.encode(), float_mode="lossless-float")


def exactly(text: str, places: int) -> int | str:
    """The oracle: what contract section 1 says of a decimal, by fractions."""
    value = Fraction(text) * 10**places
    if value < 0:
        return NEGATIVE
    if value >= 10 ** (14 + places):
        return OUT_OF_RANGE
    return TOO_PRECISE if value.denominator != 1 else int(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5.25", 5_250_000),
        ("0", 0),
        ("-0", 0),
        ("-0.000", 0),
        ("0e99999", 0),
        ("0.000001", 1),
        ("1e-6", 1),
        ("1E-06", 1),
        ("1e+3", 1_000_000_000),
        ("10e-7", 1),
        ("1e-7", TOO_PRECISE),
        ("0.0000001", TOO_PRECISE),
        ("1.0000000", 1_000_000),  # six decimals by value: zeros add no precision
        ("0.00000100000", 1),
        ("99999999999999.999999", 10**20 - 1),
        ("99999999999999.9999999", TOO_PRECISE),
        ("100000000000000", OUT_OF_RANGE),
        ("100000000000000.0000001", OUT_OF_RANGE),
        ("1e13", 10**19),
        ("1e14", OUT_OF_RANGE),
        ("12345678901234.100001", 12_345_678_901_234_100_001),  # the nearest binary float is ...234.099609375
        ("0.30000000000000000001", TOO_PRECISE),  # a binary float would say 0.3
        ("-1", NEGATIVE),
        ("-0.0000001", NEGATIVE),
        ("-1e15", NEGATIVE),
        ("1e999999", OUT_OF_RANGE),
        ("1e-999999", TOO_PRECISE),
        ("0." + "0" * 56 + "e99999", 0),  # 64 characters
        ("0." + "0" * 57 + "e99999", INVALID),  # 65 characters
    ],
)
def test_decimal_as_text_and_as_json_number(text: str, expected: int | str) -> None:
    assert outcome(text) == expected
    assert outcome(as_number(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", " 1", "1 ", "1\n", "1\u0000", "+1", "--1", "-", ".5", "1.", "01", "00", "-01", "1e", "1e+", "1e1.5"),
        *(
            "1.2.3",
            "1_0",
            "1,000",
            "0x10",
            "1/2",
            "NaN",
            "nan",
            "Infinity",
            "-Infinity",
            "inf",
            "٣",
            "1٣",
            "１",
            "²",
            "½",
        ),
    ],
)
def test_text_that_is_not_a_json_number_is_invalid(text: str) -> None:
    assert outcome(text) == INVALID


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "field_required"),
        (True, INVALID),  # True is an int to Python
        (False, INVALID),
        (5.25, INVALID),  # a binary float has lost the digits as sent
        ([1], INVALID),
        ({"a": 1}, INVALID),
        (b"1", INVALID),
        (7, 7_000_000),
        (-1, NEGATIVE),
        (10**14 - 1, 10**20 - 10**6),
        (10**14, OUT_OF_RANGE),
        (10**4000, OUT_OF_RANGE),
    ],
)
def test_decimal_of_a_value_that_is_not_text(value: Any, expected: int | str) -> None:
    assert outcome(value) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.000000000001", 1),
        ("0.0000000000001", TOO_PRECISE),
        ("99999999999999.999999999999", 10**26 - 1),
        ("1e14", OUT_OF_RANGE),
        ("2", 2 * 10**12),
    ],
)
def test_unit_price_has_twelve_decimals(text: str, expected: int | str) -> None:
    assert outcome(text, PRICE_PLACES) == expected


digits = st.text("0123456789", min_size=1, max_size=20)
exponents = st.integers(min_value=-30, max_value=30).map(str)


@st.composite
def json_numbers(draw: st.DrawFn) -> str:
    whole = draw(st.one_of(st.just("0"), digits.map(lambda text: text.lstrip("0") or "0")))
    fraction = draw(st.one_of(st.just(""), digits.map(lambda text: "." + text)))
    exponent = draw(st.one_of(st.just(""), st.builds("{}{}".format, st.sampled_from(["e", "E"]), exponents)))
    return draw(st.sampled_from(["", "", "", "-"])) + whole + fraction + exponent


@given(json_numbers(), st.sampled_from([QUANTITY_PLACES, PRICE_PLACES]))
@example("1e13", QUANTITY_PLACES)
@example("9.99999999999999999999e13", QUANTITY_PLACES)
def test_every_json_number_is_taken_exactly_or_refused_for_what_it_is(text: str, places: int) -> None:
    assert outcome(text, places) == exactly(text, places)
    assert outcome(as_number(text), places) == exactly(text, places)


def is_json_number(text: str) -> bool:
    try:
        json.loads(text, parse_float=str, parse_int=str)
    except ValueError:
        return False
    return True


@given(st.text("019.eE+-", max_size=12))
def test_text_is_a_decimal_where_it_is_a_json_number(text: str) -> None:
    assert (outcome(text) != INVALID) == is_json_number(text)


@given(st.integers(), st.sampled_from([QUANTITY_PLACES, PRICE_PLACES]))
def test_decimal_text_is_the_exact_value_with_all_its_places(value: int, places: int) -> None:
    text = decimal_text(value, places)
    assert Fraction(text) == Fraction(value, 10**places)
    assert re.fullmatch(rf"-?(0|[1-9][0-9]*)\.[0-9]{{{places}}}", text)
    assert scaled_of_own(text, places) == value


@given(st.integers(min_value=0, max_value=10**20 - 1))
def test_decimal_text_is_read_back(value: int) -> None:
    assert quantity(decimal_text(value)) == value
    assert scaled(decimal_text(value), QUANTITY_PLACES) == value


@pytest.mark.parametrize(("value", "text"), [(0, "0.000000"), (1_000_000_000, "1000.000000"), (-1, "-0.000001")])
def test_decimal_text_is_as_the_contract_writes_it(value: int, text: str) -> None:
    assert decimal_text(value) == text


@pytest.mark.parametrize("text", ["1", "1.0", "1.00000", "1.0000000", "", "1.0000 0", "x.000000"])
def test_a_decimal_that_tally_did_not_write_is_not_read_as_its_own(text: str) -> None:
    with pytest.raises(ValueError, match=r"decimal with 6 places|invalid literal"):
        scaled_of_own(text)


@pytest.mark.parametrize(("field", "text"), [(Quantity, "5.250000"), (UnitPrice, "5.250000000000")])
def test_a_field_goes_out_as_text(field: Any, text: str) -> None:
    adapter: TypeAdapter[int] = TypeAdapter(field)
    assert adapter.dump_python(adapter.validate_python("5.25"), mode="json") == text
