"""Prices as tables; the oracle of the property tests is fractions.Fraction, whose round() is half-even."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.rules.pricing import Bill, InvoiceLine, bill_of, charge_after
from schemas.billing_period import BillingInterval
from schemas.closed_period import Charge, ClosedLine, ClosedPart, ClosedPeriod, parse_closed_part
from schemas.plan import Invoicing, Plan, PricingType
from schemas.price import Price
from schemas.pricing import line_amount
from schemas.timestamps import parse_timestamp

ONE = 1_000_000
PRICE_ONE = 1_000_000_000_000
START = parse_timestamp("2026-01-01T00:00:00Z")
END = parse_timestamp("2026-02-01T00:00:00Z")

quantities = st.integers(min_value=0, max_value=10**24)
unit_prices = st.integers(min_value=0, max_value=10**26)


def plan(
    pricing_type: PricingType = PricingType.USAGE_BASED,
    invoicing: Invoicing = Invoicing.AUTOMATIC,
    amount: str = "2",
    prices: Any = None,
    **unit_prices: str,
) -> Plan:
    return Plan.model_validate(
        {
            "id": "plan",
            "serviceId": "service",
            "name": "Plan",
            "pricingType": pricing_type,
            "billingInterval": BillingInterval.MONTH,
            "amount": amount,
            "unitPrices": unit_prices,
            "prices": prices,
            "invoicing": invoicing,
        }
    )


def parts_of(of_plan: Plan, *lines: ClosedLine, sequence: int = 0) -> list[ClosedPart]:
    period = ClosedPeriod("sub", "service", "user", of_plan, START, END, sequence, lines, 0, 9)
    return [parse_closed_part(value) for _, value in period.records()]


def bill(of_plan: Plan, *lines: ClosedLine, sequence: int = 0) -> Bill | None:
    return bill_of(parts_of(of_plan, *lines, sequence=sequence))


@pytest.mark.parametrize(
    ("quantity", "unit_price", "amount"),
    [
        (0, PRICE_ONE, 0),
        (5_250_000, PRICE_ONE // 10, 525_000),  # 5.25 x 0.1 = 0.525
        (1, PRICE_ONE // 2, 0),  # 0.0000005: half, to the even 0
        (3, PRICE_ONE // 2, 2),  # 0.0000015: half, to the even 2
        (1, PRICE_ONE // 2 + 1, 1),  # just above half
        (1, PRICE_ONE // 2 - 1, 0),  # just below half
        (5, PRICE_ONE // 2, 2),  # 0.0000025: half, to the even 2
        (-ONE, PRICE_ONE, 0),  # no total is below 0, and none costs less than nothing
        (1, 1, 0),  # the smallest of both
        (ONE, 499_999, 0),  # 0.000000499999
        # Both at their largest: (10^20 - 1)(10^26 - 1) / 10^12 = 10^34 - 10^14 - 10^8 + 10^-12, rounded down.
        (10**20 - 1, 10**26 - 1, 10**34 - 10**14 - 10**8),
    ],
)
def test_line_amount_is_rounded_half_even(quantity: int, unit_price: int, amount: int) -> None:
    assert line_amount(quantity, Price.per_unit(unit_price)) == amount


@given(quantities, unit_prices)
def test_line_amount_equals_the_rounded_fraction(quantity: int, unit_price: int) -> None:
    exact = Fraction(quantity, 10**6) * Fraction(unit_price, 10**12)
    assert Fraction(line_amount(quantity, Price.per_unit(unit_price)), 10**6) == Fraction(round(exact * 10**6), 10**6)


def test_each_meter_has_its_price_and_the_plan_amount_is_the_price_of_the_others() -> None:
    lines = ClosedLine("input", 3 * ONE, 2), ClosedLine("image", 5 * ONE, 1)
    assert bill(plan(amount="2", input="0.000000000001"), *lines) == Bill(
        10 * ONE,
        (
            InvoiceLine("input", 3 * ONE, 1, 0, 2),  # 3 x 10^-12 rounds to 0
            InvoiceLine("image", 5 * ONE, 2 * PRICE_ONE, 10 * ONE, 1),
        ),
    )


def test_a_line_shows_the_unit_price_of_the_total_so_far() -> None:
    """At 2 up to 10 units and at 1 beyond them. 8 are charged; 4 more make 12, which cost 12, 4 less than before."""
    tiers = [{"upTo": "10", "unitPrice": "2"}, {"unitPrice": "1"}]
    volume = {"model": "VOLUME", "included": "0", "tiers": tiers}
    of_plan = plan(prices={"calls": volume, "images": {**volume, "model": "GRADUATED"}})
    before = Charge(8 * ONE, 1, 16 * ONE)
    lines = ClosedLine("calls", 4 * ONE, 1, before), ClosedLine("images", 4 * ONE, 1, before)
    assert bill(of_plan, *lines, sequence=1) == Bill(
        2 * ONE,
        (
            InvoiceLine("calls", 4 * ONE, PRICE_ONE, -4 * ONE, 1),
            InvoiceLine("images", 4 * ONE, None, 6 * ONE, 1),  # 10 x 2 + 2 x 1 - 16
        ),
    )


def test_amount_is_the_sum_of_the_rounded_lines() -> None:
    lines = [ClosedLine(meter, 3, 1) for meter in ("a", "b", "c")]  # 0.0000015 each, rounded to 0.000002
    priced = bill(plan(amount="0.5"), *lines)
    assert priced is not None
    assert priced.amount == 6


def test_lines_of_every_part_are_billed() -> None:
    lines = [ClosedLine(f"meter-{number:04d}", ONE, 1) for number in range(2_500)]
    parts = parts_of(plan(amount="2"), *lines)
    priced = bill_of(parts)
    assert len(parts) == 3
    assert priced is not None
    assert (priced.amount, len(priced.lines)) == (5_000 * ONE, 2_500)


NO_USAGE: list[ClosedLine] = []
USAGE = [ClosedLine("calls", ONE, 1)]
FREE_USAGE = [ClosedLine("free", ONE, 1)]
CREDIT = [ClosedLine("calls", -ONE, 0, Charge(ONE, 1, 2 * ONE))]
A_MILLIONTH_MORE = [ClosedLine("tiny", 1, 1, Charge(1, 1, 1))]  # 0.000001 and again, at 0.75: 0.0000015 -> 0.000002


@pytest.mark.parametrize(
    ("pricing_type", "invoicing", "sequence", "lines", "amount"),
    [
        (PricingType.USAGE_BASED, Invoicing.AUTOMATIC, 0, NO_USAGE, 0),
        (PricingType.USAGE_BASED, Invoicing.AUTOMATIC, 0, FREE_USAGE, 0),
        (PricingType.USAGE_BASED, Invoicing.AUTOMATIC, 0, USAGE, 2 * ONE),
        (PricingType.USAGE_BASED, Invoicing.AUTOMATIC, 1, USAGE, 2 * ONE),
        (PricingType.USAGE_BASED, Invoicing.AUTOMATIC, 1, FREE_USAGE, None),
        (PricingType.USAGE_BASED, Invoicing.AUTOMATIC, 1, CREDIT, -2 * ONE),
        (PricingType.USAGE_BASED, Invoicing.AUTOMATIC, 2, A_MILLIONTH_MORE, 1),
        (PricingType.USAGE_BASED, Invoicing.MANUAL, 0, USAGE, None),
        (PricingType.USAGE_BASED, Invoicing.MANUAL, 1, USAGE, None),
        (PricingType.FIXED_RECURRING, Invoicing.AUTOMATIC, 0, NO_USAGE, 2 * ONE),
        (PricingType.FIXED_RECURRING, Invoicing.AUTOMATIC, 0, USAGE, 2 * ONE),
        (PricingType.FIXED_RECURRING, Invoicing.AUTOMATIC, 1, USAGE, None),
        (PricingType.FIXED_RECURRING, Invoicing.MANUAL, 0, USAGE, None),
        (PricingType.ONE_TIME, Invoicing.AUTOMATIC, 0, USAGE, 2 * ONE),
        (PricingType.ONE_TIME, Invoicing.AUTOMATIC, 1, USAGE, None),
    ],
)
def test_what_is_invoiced(
    pricing_type: PricingType, invoicing: Invoicing, sequence: int, lines: list[ClosedLine], amount: int | None
) -> None:
    priced = bill(plan(pricing_type, invoicing, tiny="0.75", free="0"), *lines, sequence=sequence)
    assert (None if priced is None else priced.amount) == amount


def test_adjustment_whose_lines_cancel_out_is_still_an_invoice() -> None:
    lines = ClosedLine("calls", ONE, 1), ClosedLine("other", -ONE, 0, Charge(ONE, 1, 2 * ONE))
    priced = bill(plan(), *lines, sequence=1)
    assert priced is not None
    assert [line.amount for line in priced.lines] == [2 * ONE, -2 * ONE]


def test_usage_under_a_flat_plan_is_shown_and_costs_nothing() -> None:
    flat = bill(plan(PricingType.FIXED_RECURRING, amount="9.99", calls="3"), *USAGE)
    assert flat == Bill(9_990_000, (InvoiceLine("calls", ONE, 0, 0, 1),))


def test_charge_of_a_flat_plan_counts_the_usage_and_charges_nothing_for_it() -> None:
    assert charge_after(ClosedLine("calls", ONE, 1, Charge(2, 1, 0)), plan(PricingType.ONE_TIME)) == Charge(
        ONE + 2, 2, 0
    )


FREE_TEN = {"model": "PER_UNIT", "included": "10", "unitPrice": "0.000000333333"}
TIERS = [{"upTo": "3", "unitPrice": "0.7000005"}, {"unitPrice": "0.1", "flatAmount": "2.000001"}]
PRICES = {
    "included": FREE_TEN,
    "graduated": {"model": "GRADUATED", "tiers": TIERS},
    "volume": {"model": "VOLUME", "included": "1", "tiers": TIERS},
    "package": {"model": "PACKAGE", "unitPrice": "4.9999995", "packageSize": "2.5"},
}


@given(st.sampled_from(sorted(PRICES)), st.lists(st.integers(0, 40 * ONE), min_size=1, max_size=6))
def test_sequences_add_up_to_the_rounded_price_of_the_total(meter: str, totals: list[int]) -> None:
    """Rounding never makes or loses money, however usage and voids were split among the sequences of a period."""
    of_plan = plan(prices=PRICES)
    charged, invoiced, sequence = Charge(), 0, 0
    for total in totals:
        line = ClosedLine(meter, total - charged.quantity, 1, charged)
        priced = bill(of_plan, line, sequence=sequence)
        if priced is not None:  # an adjustment of 0 is none, and its usage waits
            invoiced += priced.amount
            charged = charge_after(line, of_plan)
            sequence += 1
    at_once = bill(of_plan, ClosedLine(meter, totals[-1], 1))
    assert at_once is not None
    assert invoiced == at_once.amount


@given(st.lists(quantities, min_size=1, max_size=6), st.integers(min_value=0, max_value=10**18))
def test_sequences_at_a_unit_price_add_up_to_the_rounded_price_of_the_total(totals: list[int], price: int) -> None:
    """Rounding never makes or loses money, however usage and voids were split among the sequences of a period."""
    of_plan = plan().model_copy(update={"unit_prices": {"calls": price}})
    charged, invoiced = Charge(), 0
    for sequence, total in enumerate(totals):
        line = ClosedLine("calls", total - charged.quantity, 1, charged)
        priced = bill(of_plan, line, sequence=sequence)
        invoiced += 0 if priced is None else priced.amount
        charged = charge_after(line, of_plan)
    assert invoiced == charged.amount
    assert invoiced == round(Fraction(totals[-1], 10**6) * Fraction(price, 10**12) * 10**6)
