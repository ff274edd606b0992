"""The four models of a price as tables; the oracle of the property tests counts in fractions, unit by unit where it
can."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.decimals import decimal_text
from schemas.price import Price
from schemas.pricing import line_amount

ONE = 1_000_000

# The first 10 cost 2 each and 1 for the tier, the next 20 cost 1 each, all others 0.5 and 3 for the tier.
TIERS = [
    {"upTo": "10", "unitPrice": "2", "flatAmount": "1"},
    {"upTo": "30", "unitPrice": "1"},
    {"upTo": None, "unitPrice": "0.5", "flatAmount": "3"},
]


def price(**fields: Any) -> Price:
    return Price.model_validate(fields)


PER_UNIT = {"model": "PER_UNIT", "unitPrice": "0.25"}
GRADUATED = {"model": "GRADUATED", "tiers": TIERS}
VOLUME = {"model": "VOLUME", "tiers": TIERS}
PACKAGE = {"model": "PACKAGE", "unitPrice": "5", "packageSize": "100"}


@pytest.mark.parametrize(
    ("fields", "quantity", "amount", "unit_price"),
    [
        (PER_UNIT, "0", "0", "0.25"),
        (PER_UNIT, "4", "1", "0.25"),
        ({**PER_UNIT, "included": 4}, "4", "0", "0.25"),
        ({**PER_UNIT, "included": 4}, "3.999999", "0", "0.25"),
        ({**PER_UNIT, "included": 4}, "6", "0.5", "0.25"),  # 2 x 0.25
        (GRADUATED, "0", "0", None),
        (GRADUATED, "0.000001", "1.000002", None),  # 0.000001 x 2 + 1
        (GRADUATED, "10", "21", None),  # 10 x 2 + 1: the bound belongs to the tier
        (GRADUATED, "10.000001", "21.000001", None),  # and 0.000001 x 1
        (GRADUATED, "30", "41", None),  # 10 x 2 + 1, 20 x 1
        (GRADUATED, "30.000001", "44", None),  # 41, 0.0000005 + 3, half-even
        (GRADUATED, "32", "45", None),  # 41, 2 x 0.5 + 3
        ({**GRADUATED, "included": 5}, "5", "0", None),
        ({**GRADUATED, "included": 5}, "15", "21", None),  # bounds are of what is billable: 10
        (VOLUME, "0", "0", None),
        (VOLUME, "0.000001", "1.000002", "2"),
        (VOLUME, "10", "21", "2"),
        (VOLUME, "10.000001", "10.000001", "1"),  # all at 1, which is less than before
        (VOLUME, "30", "30", "1"),
        (VOLUME, "32", "19", "0.5"),  # 32 x 0.5 + 3
        ({**VOLUME, "included": 5}, "5", "0", None),
        ({**VOLUME, "included": 5}, "15.000001", "10.000001", "1"),
        (PACKAGE, "0", "0", "5"),
        (PACKAGE, "0.000001", "5", "5"),  # begun, so whole
        (PACKAGE, "100", "5", "5"),
        (PACKAGE, "100.000001", "10", "5"),
        (PACKAGE, "201", "15", "5"),
        ({**PACKAGE, "included": 100}, "100", "0", "5"),
        ({**PACKAGE, "included": 100}, "201", "10", "5"),
        ({**PACKAGE, "packageSize": "0.5"}, "1.2", "15", "5"),
        ({"model": "GRADUATED", "tiers": [{"unitPrice": 3}]}, "7", "21", None),
        ({"model": "VOLUME", "tiers": [{"unitPrice": 3}]}, "7", "21", "3"),
    ],
)
def test_what_a_total_comes_to(fields: dict[str, Any], quantity: str, amount: str, unit_price: str | None) -> None:
    total, of_fields = int(Fraction(quantity) * ONE), price(**fields)
    assert Fraction(line_amount(total, of_fields), ONE) == Fraction(amount)
    shown = of_fields.unit_price_at(total)
    assert (None if shown is None else Fraction(shown, 10**12)) == (
        None if unit_price is None else Fraction(unit_price)
    )


def decimals(places: int, most: int) -> st.SearchStrategy[Fraction]:
    return st.integers(0, most * 10**places).map(lambda scaled: Fraction(scaled, 10**places))


def text(value: Fraction, places: int) -> str:
    return decimal_text(int(value * 10**places), places)


unit_prices = decimals(12, 3) | decimals(1, 3)
quantities = decimals(6, 400) | decimals(0, 400)


@st.composite
def tiers(draw: st.DrawFn) -> list[tuple[Fraction | None, Fraction, Fraction]]:
    """(bound, unit price, flat amount) of each tier."""
    bounds = sorted(draw(st.sets(quantities.filter(bool), max_size=4)))
    return [(bound, draw(unit_prices), draw(decimals(6, 9))) for bound in [*bounds, None]]


def tiers_sent(of_tiers: list[tuple[Fraction | None, Fraction, Fraction]]) -> list[dict[str, Any]]:
    return [
        {
            "upTo": None if bound is None else text(bound, 6),
            "unitPrice": text(unit_price, 12),
            "flatAmount": text(flat, 6),
        }
        for bound, unit_price, flat in of_tiers
    ]


def rounded(amount: Fraction) -> int:
    """In millionths; round() of a Fraction is half-even."""
    return round(amount * ONE)


@given(quantities, quantities, unit_prices)
def test_per_unit_is_the_billable_quantity_times_the_price(
    total: Fraction, included: Fraction, unit_price: Fraction
) -> None:
    of_fields = price(model="PER_UNIT", included=text(included, 6), unitPrice=text(unit_price, 12))
    assert line_amount(int(total * ONE), of_fields) == rounded(max(total - included, Fraction(0)) * unit_price)


@given(quantities, quantities, tiers())
def test_graduated_prices_each_part_by_its_tier(
    total: Fraction, included: Fraction, of_tiers: list[tuple[Fraction | None, Fraction, Fraction]]
) -> None:
    rest, lower, amount = max(total - included, Fraction(0)), Fraction(0), Fraction(0)
    for bound, unit_price, flat in of_tiers:
        part = rest if bound is None else min(rest, bound - lower)
        amount += part * unit_price + (flat if part else 0)
        rest, lower = rest - part, lower if bound is None else bound
    of_fields = price(model="GRADUATED", included=text(included, 6), tiers=tiers_sent(of_tiers))
    assert line_amount(int(total * ONE), of_fields) == rounded(amount)


@given(quantities, quantities, tiers())
def test_volume_prices_all_by_the_tier_that_it_reaches(
    total: Fraction, included: Fraction, of_tiers: list[tuple[Fraction | None, Fraction, Fraction]]
) -> None:
    billable, amount = max(total - included, Fraction(0)), Fraction(0)
    for bound, unit_price, flat in reversed(of_tiers):
        if billable and (bound is None or billable <= bound):
            amount = billable * unit_price + flat
    of_fields = price(model="VOLUME", included=text(included, 6), tiers=tiers_sent(of_tiers))
    assert line_amount(int(total * ONE), of_fields) == rounded(amount)


@given(quantities, quantities, unit_prices, decimals(6, 50).filter(bool) | decimals(0, 50).filter(bool))
def test_package_prices_the_fewest_packages_that_hold_it(
    total: Fraction, included: Fraction, unit_price: Fraction, size: Fraction
) -> None:
    packages = (total - included) // size if total > included else 0
    while packages * size < total - included:
        packages += 1
    of_fields = price(
        model="PACKAGE", included=text(included, 6), unitPrice=text(unit_price, 12), packageSize=text(size, 6)
    )
    assert line_amount(int(total * ONE), of_fields) == rounded(packages * unit_price)


of_any_model = st.one_of(
    st.builds(lambda p: {"model": "PER_UNIT", "unitPrice": text(p, 12)}, unit_prices),
    st.builds(lambda t: {"model": "GRADUATED", "tiers": tiers_sent(t)}, tiers()),
    st.builds(lambda t: {"model": "VOLUME", "tiers": tiers_sent(t)}, tiers()),
    st.builds(
        lambda p, s: {"model": "PACKAGE", "unitPrice": text(p, 12), "packageSize": text(s, 6)},
        unit_prices,
        decimals(6, 50).filter(bool),
    ),
)


@given(of_any_model, quantities, quantities)
def test_more_never_costs_less_except_by_volume(fields: dict[str, Any], one: Fraction, other: Fraction) -> None:
    amounts = [line_amount(int(total * ONE), price(**fields)) for total in sorted((one, other))]
    assert fields["model"] == "VOLUME" or amounts == sorted(amounts)


@given(of_any_model, quantities)
def test_a_price_is_the_same_after_it_went_out(fields: dict[str, Any], included: Fraction) -> None:
    sent = price(**fields, included=text(included, 6))
    assert price(**sent.wire()) == sent
    assert sent.wire().keys() == {*fields, "included"}  # and nothing of other models
