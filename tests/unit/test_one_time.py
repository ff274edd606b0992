"""ONE_TIME plans: one invoice, however often the plan comes back (contract rule 6)."""

from dataclasses import replace

import pytest

from aggregator.rules.account import Account
from schemas.totals import PeriodState
from tests.unit.books import END, PERIOD, Books, amount
from tests.unit.world import ONE, account, plan, service, subscription


def test_usage_after_the_first_period_of_a_one_time_plan_costs_nothing() -> None:
    of_account = account(of_plan=plan(pricingType="ONE_TIME", amount="9"))
    books = Books(of_account, of_account.calendar.next_period(of_account.first_period()))
    books.use("calls", ONE)
    assert books.close() is None
    books.use("calls", ONE)
    assert books.close() is None
    assert books.state == replace(PeriodState(END, closed=True), first_offset=0, last_offset=1)


@pytest.mark.parametrize(
    ("plans", "ended", "amounts"),
    [
        # The plans of January, in which it began, to April, and what these months are invoiced.
        (("once", "once", "once", "once"), None, [9, None, None, None]),
        (("plan", "once", "once", "once"), None, [0, 9, None, None]),
        (("plan", "plan", "once", "plan"), None, [0, 0, 9, 0]),
        (("once", "plan", "once", "once"), None, [9, 0, None, None]),  # it comes back
        (("plan", "once", "plan", "once"), None, [0, 9, 0, None]),
        (("once", "twice", "once", "twice"), None, [9, 5, None, None]),  # two such plans
        (("plan", "once", "once", "once"), "2026-02-01T00:00:00.001Z", [0, 9, None, None]),
        (("plan", "once", "once", "once"), "2026-02-01T00:00:00Z", [0, None, None, None]),  # ended before it
    ],
)
@pytest.mark.parametrize("quantities", [(), (ONE, ONE)], ids=["unused", "used"])
def test_a_one_time_plan_is_invoiced_with_the_first_period_of_the_life_under_it(
    plans: tuple[str, ...], ended: str | None, amounts: list[int | None], quantities: tuple[int, ...]
) -> None:
    changes = [{"paymentPlanId": plans[n], "from": f"2026-{n + 1:02d}-01T00:00:00Z"} for n in (1, 2, 3)]
    history = [("ACTIVE", "2026-01-10T00:00:00Z")] + ([] if ended is None else [("CANCELLED", ended)])
    of_account = Account.of(
        subscription(history=history, paymentPlanId=plans[0], planChanges=changes),
        service(),
        plan(amount=0),
        plan(id="once", pricingType="ONE_TIME", amount=9),
        plan(id="twice", pricingType="ONE_TIME", amount=5),
    )
    period, found = PERIOD, []
    for _ in plans:
        books = Books(of_account, period)
        for quantity in quantities:
            books.use("calls", quantity)
        found.append(amount(books.close()))
        books.use("calls", ONE)
        assert books.close() is None  # a flat amount has no adjustment, and that of usage is of 0
        period = of_account.calendar.next_period(period)
    assert found == [None if due is None else due * ONE for due in amounts]


def test_a_one_time_plan_is_not_invoiced_for_usage_before_the_subscription_began() -> None:
    of_account = account(
        subscription(history=[("ACTIVE", "2026-02-10T00:00:00Z")]), of_plan=plan(pricingType="ONE_TIME")
    )
    books = Books(of_account)
    books.use("calls", ONE)
    assert books.close() is None


def test_a_one_time_plan_that_was_replaced_before_the_subscription_was_announced_is_not_invoiced() -> None:
    """A gateway died between storing a subscription on January 31 and publishing it on February 1."""
    changes = [{"paymentPlanId": "later", "from": "2026-02-01T00:00:00Z"}]
    announced = subscription(history=[("ACTIVE", "2026-02-01T00:01:00Z")], planChanges=changes)
    plans = plan(pricingType="ONE_TIME", amount=9), plan(id="later", pricingType="ONE_TIME", amount=5)
    of_account = Account.of(announced, service(), *plans)
    february = of_account.calendar.next_period(PERIOD)
    found = [amount(Books(of_account, period).close()) for period in (PERIOD, february)]
    assert found == [None, 5 * ONE]
