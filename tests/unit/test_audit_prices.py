"""What the audit says a total costs, by each model of a price: worked by hand, in tables."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.audit.amounts import own_decimal
from aggregator.audit.prices import Model, price_in
from schemas.decimals import decimal_text
from schemas.price import Price as EnginePrice
from schemas.pricing import line_amount

PER_UNIT = {"model": "PER_UNIT", "included": "100.000000", "unitPrice": "0.010000000000"}
TIERS = [
    {"upTo": "10.000000", "unitPrice": "1.000000000000", "flatAmount": "0.000000"},
    {"upTo": "20.500000", "unitPrice": "0.500000000000", "flatAmount": "5.000000"},
    {"upTo": None, "unitPrice": "0.100000000000", "flatAmount": "7.000000"},
]
GRADUATED = {"model": "GRADUATED", "included": "0.000000", "tiers": TIERS}
VOLUME = {"model": "VOLUME", "included": "2.000000", "tiers": TIERS}
PACKAGE = {
    "model": "PACKAGE",
    "included": "1000.000000",
    "unitPrice": "2.500000000000",
    "packageSize": "1000.000000",
}


def price(document: dict[str, Any]) -> Any:
    return price_in(document, own_decimal)


@pytest.mark.parametrize(
    ("document", "total", "cost", "shown"),
    [
        (PER_UNIT, "0", "0", "0.01"),
        (PER_UNIT, "100", "0", "0.01"),
        (PER_UNIT, "100.00005", "0", "0.01"),  # 0.00005 x 0.01 = 0.0000005, a half: to the even 0
        (PER_UNIT, "100.00015", "0.000002", "0.01"),  # 0.0000015, a half: to the even 2
        (PER_UNIT, "1100", "10", "0.01"),
        (GRADUATED, "0", "0", None),  # no tier is reached
        (GRADUATED, "0.000001", "0.000001", None),
        (GRADUATED, "10", "10", None),  # within the first: 10 x 1
        (GRADUATED, "10.000001", "15", None),  # + 0.000001 x 0.5 = 0.0000005 to the even 0, + 5 of the second
        (GRADUATED, "20.5", "20.25", None),  # 10 + 10.5 x 0.5 + 5
        (GRADUATED, "20.50001", "27.250001", None),  # + 0.00001 x 0.1 + 7
        (GRADUATED, "120.5", "37.25", None),  # 20.25 + 100 x 0.1 + 7
        (VOLUME, "2", "0", None),  # nothing is billable
        (VOLUME, "2.000001", "0.000001", "1"),
        (VOLUME, "12", "10", "1"),  # 10 billable, within the first
        (VOLUME, "12.000001", "10", "0.5"),  # 10.000001 x 0.5 = 5.0000005 to the even 5.000000, + 5
        (VOLUME, "22.5", "15.25", "0.5"),  # 20.5 x 0.5 + 5
        (VOLUME, "22.6", "9.06", "0.1"),  # 20.6 x 0.1 + 7: dearer volumes below cost more
        (PACKAGE, "1000", "0", "2.5"),
        (PACKAGE, "1000.000001", "2.5", "2.5"),  # a package is begun
        (PACKAGE, "2000", "2.5", "2.5"),
        (PACKAGE, "2000.000001", "5", "2.5"),
    ],
)
def test_a_total_costs_what_its_model_says(document: dict[str, Any], total: str, cost: str, shown: str | None) -> None:
    found = price(document)
    assert found.cost(Decimal(total)) == Decimal(cost)
    assert found.shown(Decimal(total)) == (None if shown is None else Decimal(shown))


def test_tiers_are_rounded_together_and_not_each_for_itself() -> None:
    """Three tiers of 0.5 units at 0.000001 are 0.0000015, which is 0.000002; each for itself they would be 0."""
    tiers = [
        {"upTo": up_to, "unitPrice": "0.000001000000", "flatAmount": "0.000000"}
        for up_to in ("0.500000", "1.000000", None)
    ]
    assert price({"model": "GRADUATED", "tiers": tiers}).cost(Decimal("1.5")) == Decimal("0.000002")


@given(st.integers(0, 10**12), st.integers(0, 10**9))
def test_one_tier_is_a_price_of_each_unit(millionths: int, unit_price: int) -> None:
    total, named = Decimal(millionths).scaleb(-6), f"{Decimal(unit_price).scaleb(-12):.12f}"
    tiers = [{"upTo": None, "unitPrice": named}]
    expected = round(Fraction(millionths * unit_price, 10**12))  # in millionths
    for document in (
        {"model": "PER_UNIT", "unitPrice": named},
        {"model": "GRADUATED", "tiers": tiers},
        {"model": "VOLUME", "tiers": tiers},
    ):
        assert price(document).cost(total) == Decimal(expected).scaleb(-6)


def decimals(places: int, least: int, most: int) -> st.SearchStrategy[str]:
    return st.integers(least, most).map(lambda number: decimal_text(number, places))


@st.composite
def prices(draw: st.DrawFn) -> dict[str, Any]:
    """A price on the wire."""
    model = draw(st.sampled_from(sorted(Model)))
    found = {"model": model.value, "included": draw(decimals(6, 0, 10**7))}
    unit_prices = decimals(12, 0, 10**13)
    if model in (Model.PER_UNIT, Model.PACKAGE):
        found["unitPrice"] = draw(unit_prices)
        return found | ({"packageSize": draw(decimals(6, 1, 10**7))} if model is Model.PACKAGE else {})
    bounds = sorted(draw(st.sets(st.integers(1, 2 * 10**7), max_size=4)))
    return found | {
        "tiers": [
            {"upTo": up_to, "unitPrice": draw(unit_prices), "flatAmount": draw(decimals(6, 0, 10**7))}
            for up_to in (*(decimal_text(bound) for bound in bounds), None)
        ]
    }


@given(prices(), st.integers(0, 3 * 10**7))
def test_a_total_costs_what_it_costs_the_engine(document: dict[str, Any], total: int) -> None:
    engine, audit = EnginePrice.model_validate(document), price(document)
    assert engine.wire() == document
    of = Decimal(decimal_text(total))
    unit_price = engine.unit_price_at(total)
    assert audit.cost(of) == Decimal(decimal_text(line_amount(total, engine)))
    assert audit.shown(of) == (None if unit_price is None else Decimal(decimal_text(unit_price, 12)))


@pytest.mark.parametrize(
    "document",
    [
        {"model": "PER_SEAT", "unitPrice": "1.000000000000"},
        {"unitPrice": "1.000000000000"},
        {"model": "PER_UNIT"},
        {"model": "PER_UNIT", "unitPrice": "1.0"},
        {**PER_UNIT, "packageSize": "1.000000"},
        {**PER_UNIT, "tiers": TIERS},
        {"model": "PACKAGE", "unitPrice": "1.000000000000"},
        {**PACKAGE, "packageSize": "0.000000"},
        {"model": "VOLUME"},
        {"model": "GRADUATED", "tiers": []},
        {"model": "GRADUATED", "tiers": TIERS[:2]},
        {"model": "GRADUATED", "tiers": [TIERS[1], TIERS[0], TIERS[2]]},
        {"model": "GRADUATED", "tiers": [TIERS[0], TIERS[0], TIERS[2]]},
        {"model": "GRADUATED", "tiers": [TIERS[2], TIERS[2]]},
        {**GRADUATED, "unitPrice": "1.000000000000"},
    ],
)
def test_what_is_no_price_is_none(document: dict[str, Any]) -> None:
    with pytest.raises((ValueError, LookupError)):
        price(document)
