"""What a period comes to when it closes, and when it is adjusted (contract rules 6 and 7)."""

from copy import deepcopy
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.rules.account import Account
from aggregator.rules.pricing import Bill
from schemas.closed_period import Charge, ClosedLine
from schemas.totals import MeterTotal, PeriodState
from tests.unit.books import END, PERIOD, Books, amount
from tests.unit.world import ONE, account, closing_of, ms, plan, service, subscription


def test_closing_charges_each_meter_and_leaves_nothing_to_charge() -> None:
    totals = {"b": MeterTotal(END, 4 * ONE, 2), "a": MeterTotal(END, 2_500_000, 1)}
    state_before = PeriodState(END, first_at=END - 2, last_at=END - 1, first_offset=3, last_offset=8)
    of_account = account(of_plan=plan(amount="0.25", unitPrices={"a": "2"}))
    closing = closing_of(of_account, PERIOD, state_before, totals)
    assert closing.closed is not None
    assert closing.closed.lines == (ClosedLine("a", 2_500_000, 1), ClosedLine("b", 4 * ONE, 2))
    assert (closing.closed.sequence, closing.closed.start, closing.closed.end) == (0, PERIOD.start, END)
    assert (closing.closed.first_offset, closing.closed.last_offset) == (3, 8)
    # 2.5 x 2 + 4 x 0.25 = 6
    assert closing.state == PeriodState(END, closed=True, next_sequence=1, issued=6 * ONE)
    assert closing.totals == {
        "a": MeterTotal(END, 2_500_000, 1, Charge(2_500_000, 1, 5 * ONE)),
        "b": MeterTotal(END, 4 * ONE, 2, Charge(4 * ONE, 2, ONE)),
    }


def test_closing_changes_none_of_its_arguments() -> None:
    totals, state_before = {"a": MeterTotal(END, ONE, 1)}, PeriodState(END, first_at=END, last_at=END, first_offset=0)
    copies = deepcopy((totals, state_before))
    assert closing_of(account(), PERIOD, state_before, totals) == closing_of(account(), PERIOD, state_before, totals)
    assert (totals, state_before) == copies


def test_an_adjustment_has_the_lines_that_changed() -> None:
    books = Books(account(of_plan=plan(amount="0.25")))
    books.use("calls", 4 * ONE)
    books.use("images", 8 * ONE)
    assert amount(books.close()) == 3 * ONE
    books.use("calls", 2 * ONE)
    books.use("late", ONE)
    bill = books.close()
    assert bill is not None
    assert [(line.meter, line.quantity, line.event_count, line.amount) for line in bill.lines] == [
        ("calls", 2 * ONE, 1, 500_000),
        ("late", ONE, 1, 250_000),
    ]
    assert books.state == PeriodState(END, closed=True, next_sequence=2, issued=3_750_000)
    assert books.close() is None


def test_an_adjustment_of_zero_is_not_invoiced_and_its_usage_waits() -> None:
    """At 0.0000001 a unit, in millionths:

    | quantity | total | exact | rounded | invoiced |
    |     4    |    4  |  0.4  |    0    |    0     |
    |     1    |    5  |  0.5  |    0    |    -     | half-even
    |     1    |    6  |  0.6  |    1    |    1     | of 2 units
    |     8    |   14  |  1.4  |    1    |    -     |
    |     1    |   15  |  1.5  |    2    |    1     | of 9 units
    """
    books = Books(account(of_plan=plan(amount="0", unitPrices={"calls": "0.0000001"})))
    found: list[tuple[int | None, int]] = []
    for quantity in (4, 1, 1, 8, 1):
        books.use("calls", quantity * ONE)
        bill = books.close()
        found.append((amount(bill), 0 if bill is None else bill.lines[0].quantity // ONE))
        assert books.state is not None
        assert (books.state.closed, books.state.first_at, books.state.last_at) == (True, None, None)
    assert found == [(0, 4), (None, 0), (1, 2), (None, 0), (1, 9)]
    assert books.state is not None
    assert (books.state.next_sequence, books.state.issued) == (3, 2)


def test_an_adjustment_names_the_first_of_the_events_that_waited() -> None:
    books = Books(account(of_plan=plan(amount="0", unitPrices={"calls": "0.0000005"})))
    books.use("calls", ONE)  # offset 0: 0.5 millionths, rounded to 0
    books.close()
    books.use("free", ONE)  # offset 1: waits
    assert books.close() is None
    books.use("calls", ONE)  # offset 2: 1 millionth
    closing = closing_of(books.of_account, PERIOD, books.state, books.totals or {})
    assert closing.closed is not None
    assert (closing.closed.sequence, closing.closed.first_offset, closing.closed.last_offset) == (1, 1, 2)
    assert [line.meter for line in closing.closed.lines] == ["calls", "free"]


def test_lines_that_cancel_out_are_an_adjustment_of_zero_in_sum() -> None:
    books = Books(account(of_plan=plan(amount="0.25")))
    books.use("calls", 4 * ONE)
    books.close()
    books.use("calls", -4 * ONE, count=-1)
    books.use("images", 4 * ONE)
    bill = books.close()
    assert bill is not None
    assert [(line.meter, line.amount) for line in bill.lines] == [("calls", -ONE), ("images", ONE)]


def test_a_void_and_an_event_more_change_the_quantity_and_not_the_count() -> None:
    books = Books(account(of_plan=plan(amount="0.25")))
    books.use("calls", 4 * ONE)
    books.close()
    books.use("calls", -4 * ONE, count=-1)
    books.use("calls", 8 * ONE)
    bill = books.close()
    assert bill is not None
    assert [(line.quantity, line.event_count, line.amount) for line in bill.lines] == [(4 * ONE, 0, ONE)]


@pytest.mark.parametrize(
    ("of_plan", "amounts"),
    [
        # The amounts of sequence 0 and of the adjustment after 4 units, then 2 more.
        ({"pricingType": "USAGE_BASED", "amount": "0.25"}, (ONE, 500_000)),
        ({"pricingType": "FIXED_RECURRING", "amount": "9.99"}, (9_990_000, None)),
        ({"pricingType": "FIXED_RECURRING", "amount": "9.99", "unitPrices": {"calls": "5"}}, (9_990_000, None)),
        ({"pricingType": "ONE_TIME", "amount": "9.99"}, (9_990_000, None)),
        ({"pricingType": "USAGE_BASED", "amount": "0.25", "invoicing": "MANUAL"}, (None, None)),
        ({"pricingType": "FIXED_RECURRING", "amount": "9.99", "invoicing": "MANUAL"}, (None, None)),
    ],
)
def test_what_the_plan_invoices(of_plan: dict[str, Any], amounts: tuple[int | None, int | None]) -> None:
    books = Books(account(of_plan=plan(**of_plan)))
    books.use("calls", 4 * ONE)
    first = amount(books.close())
    books.use("calls", 2 * ONE)
    assert (first, amount(books.close())) == amounts
    assert books.state is not None
    assert books.state.closed


@pytest.mark.parametrize(
    ("pricing_type", "amounts"),
    [
        ("USAGE_BASED", [0, 0, 0]),
        ("FIXED_RECURRING", [9_000_000, 9_000_000, 9_000_000]),
        ("ONE_TIME", [9_000_000, None, None]),  # once, in the period the subscription came to be in
    ],
)
def test_periods_without_usage(pricing_type: str, amounts: list[int | None]) -> None:
    of_account = account(of_plan=plan(pricingType=pricing_type, amount="9"))
    period, found = of_account.first_period(), []
    for _ in amounts:
        books = Books(of_account, period)
        found.append(amount(books.close()))
        assert books.state is not None
        assert books.state.closed
        period = of_account.calendar.next_period(period)
    assert found == amounts


@pytest.mark.parametrize(
    ("began", "ended", "has_usage", "is_invoiced"),
    [
        ("2026-01-01T00:00:00Z", None, False, True),
        ("2025-06-01T00:00:00Z", None, False, True),
        ("2026-01-31T23:59:59.999Z", None, False, True),
        ("2026-02-01T00:00:00.000Z", None, False, False),  # it ended when the subscription began
        ("2026-03-01T00:00:00Z", None, False, False),
        ("2025-06-01T00:00:00Z", "2026-01-01T00:00:00.001Z", False, True),
        ("2025-06-01T00:00:00Z", "2026-01-01T00:00:00.000Z", False, False),  # it began when the subscription ended
        ("2025-06-01T00:00:00Z", "2025-12-01T00:00:00Z", False, False),
        ("2026-03-01T00:00:00Z", None, True, True),  # backfill
        ("2025-06-01T00:00:00Z", "2025-12-01T00:00:00Z", True, True),
    ],
)
def test_a_period_without_usage_is_invoiced_in_the_life_of_its_subscription(
    began: str, ended: str | None, has_usage: bool, is_invoiced: bool
) -> None:
    history = [("ACTIVE", began)] + ([] if ended is None else [("CANCELLED", ended)])
    books = Books(account(subscription(history=history)))
    if has_usage:
        books.use("calls", 0)
    assert amount(books.close()) == (0 if is_invoiced else None)
    assert books.state is not None
    assert books.state.closed


gains = st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(-3 * ONE, 10 * ONE), st.booleans())


@given(
    st.lists(gains, max_size=25),
    st.fixed_dictionaries({meter: st.integers(0, 2 * 10**6) for meter in "ab"}),
    st.integers(0, 3 * ONE),
)
def test_however_usage_is_split_the_invoices_add_up_to_the_rounded_price_of_the_total(
    used: list[tuple[str, int, bool]], unit_prices: dict[str, int], default_price: int
) -> None:
    """Quantities of millionths at prices of millionths, so that nearly every line is rounded. Voids are negative."""
    prices = {meter: Fraction(price, 10**6) for meter, price in unit_prices.items()}
    prices["c"] = Fraction(default_price, 10**6)
    texts = {meter: f"{price // 10**6}.{price % 10**6:06d}" for meter, price in unit_prices.items()}
    default_text = f"{default_price // ONE}.{default_price % ONE:06d}"
    books = Books(account(of_plan=plan(amount=default_text, unitPrices=texts)))
    invoiced: dict[str, int] = dict.fromkeys("abc", 0)
    gained: dict[str, int] = dict.fromkeys("abc", 0)
    bills: list[Bill | None] = []
    for meter, gain, then_closes in [*used, ("a", 0, True)]:
        quantity = max(gain, -gained[meter])  # a void takes back no more than was counted
        books.use(meter, quantity)
        gained[meter] += quantity
        if then_closes:
            bills.append(books.close())
    for bill in bills:
        for line in bill.lines if bill is not None else ():
            invoiced[line.meter] += line.amount
    assert invoiced == {meter: round(Fraction(gained[meter]) * prices[meter]) for meter in "abc"}
    assert books.state is not None
    assert books.state.issued == sum(invoiced.values())
    assert books.state.next_sequence == sum(bill is not None for bill in bills)


CHANGES = [
    {"paymentPlanId": "flat", "from": "2026-02-01T00:00:00.000Z"},
    {"paymentPlanId": "dear", "from": "2026-03-01T00:00:00.000Z"},
]


@pytest.mark.parametrize(
    ("start", "plan_id", "charged"),
    [
        ("2025-12-01T00:00:00Z", "plan", [4 * 250_000, 250_000]),
        ("2026-01-01T00:00:00Z", "plan", [4 * 250_000, 250_000]),
        ("2026-02-01T00:00:00Z", "flat", [49 * ONE, None]),  # no adjustment of a flat amount
        ("2026-03-01T00:00:00Z", "dear", [4 * 3 * ONE, 3 * ONE]),
        ("2026-04-01T00:00:00Z", "dear", [4 * 3 * ONE, 3 * ONE]),
    ],
)
def test_period_and_its_adjustments_are_charged_by_the_plan_in_force_when_it_began(
    start: str, plan_id: str, charged: list[int | None]
) -> None:
    """4 calls, and one more after the period was closed."""
    plans = plan(), plan(id="flat", pricingType="FIXED_RECURRING", amount=49), plan(id="dear", amount=3)
    of_account = Account.of(subscription(planChanges=CHANGES), service(), *plans)
    period = of_account.calendar.period_at(ms(start))
    books = Books(of_account, period)
    assert of_account.plan_of(period).id == plan_id
    found = []
    for quantity in (4, 1):
        books.use("calls", quantity * ONE)
        found.append(amount(books.close()))
    assert found == charged
