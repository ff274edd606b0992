"""What periods of usage come to, as tables; the amounts are worked out beside them."""

from typing import Any

import pytest

from ingest.gateway.usage_periods import MeterUsage, PeriodUsage, meter_amount, period_amount, with_current
from schemas.billing_period import BillingPeriod
from schemas.plan import Plan
from schemas.subscription import Subscription
from schemas.timestamps import parse_timestamp, timestamp_text

ONE = 1_000_000


def month(number: int) -> BillingPeriod:
    """A month of 2026."""
    return BillingPeriod(*(parse_timestamp(f"2026-{m:02d}-01T00:00:00Z") for m in (number, number + 1)))


def plan(pricing_type: str, **fields: Any) -> Plan:
    named = {"id": "plan", "serviceId": "svc", "name": "Plan", "billingInterval": "MONTH", "amount": "2"}
    return Plan.model_validate({**named, "pricingType": pricing_type, **fields})


def subscription(ended_at: str | None = None) -> Subscription:
    """Of March on; cancelled where it has ended."""
    began = timestamp_text(parse_timestamp("2026-03-10T00:00:00Z"))
    transitions = [{"version": 1, "status": "ACTIVE", "at": began}]
    if ended_at is not None:
        transitions.append({"version": 2, "status": "CANCELLED", "at": ended_at})
    return Subscription.model_validate(
        {
            "id": "sub",
            "serviceId": "svc",
            "paymentPlanId": "plan",
            "userId": "user",
            "status": transitions[-1]["status"],
            "billingAnchor": "2026-01-01T00:00:00Z",
            "createdAt": began,
            "version": len(transitions),
            "transitions": transitions,
        }
    )


def used(number: int, *meters: MeterUsage) -> PeriodUsage:
    return PeriodUsage(month(number), meters=list(meters))


@pytest.mark.parametrize(
    ("meters", "amount"),
    [
        ((), 0),
        ((MeterUsage("call", 3 * ONE, 3),), 6 * ONE),  # not named: the plan's amount, 3 x 2
        ((MeterUsage("token", 5_250_000, 1),), 525_000),  # 5.25 x 0.1
        ((MeterUsage("call", 3 * ONE, 3), MeterUsage("token", 5_250_000, 1)), 6_525_000),
        # Each line is rounded by itself: 0.0000015 to 0.000002, twice.
        ((MeterUsage("half", 3, 1), MeterUsage("other half", 3, 1)), 4),
        ((MeterUsage("call", 0, 0),), 0),  # all voided
        ((MeterUsage("image", 3 * ONE, 3),), 0),  # included
        ((MeterUsage("image", 18 * ONE, 18),), 25 * ONE),  # 10 x 2 + 5 x 1
    ],
)
def test_usage_costs_the_sum_of_its_rounded_lines(meters: tuple[MeterUsage, ...], amount: int) -> None:
    prices = {"token": "0.1", "half": "0.5", "other half": "0.5"}
    tiers = [{"upTo": "10", "unitPrice": "2"}, {"unitPrice": "1"}]
    image = {"model": "GRADUATED", "included": "3", "tiers": tiers}
    of_plan = plan("USAGE_BASED", unitPrices=prices, prices={"image": image})
    assert period_amount(used(4, *meters), of_plan, subscription(), month(3)) == amount


CALL = MeterUsage("call", 7 * ONE, 7)
VOIDED = MeterUsage("call", 0, 0)


@pytest.mark.parametrize(
    ("pricing_type", "usage", "ended_at", "amount"),
    [
        ("FIXED_RECURRING", used(4, CALL), None, 2 * ONE),
        ("FIXED_RECURRING", used(4), None, 2 * ONE),
        ("FIXED_RECURRING", used(3), None, 2 * ONE),  # it began in it
        ("FIXED_RECURRING", used(2), None, 0),  # before it began
        ("FIXED_RECURRING", used(2, CALL), None, 2 * ONE),
        ("FIXED_RECURRING", used(2, VOIDED), None, 0),
        ("FIXED_RECURRING", used(5), "2026-05-01T00:00:00Z", 0),  # ended when it began
        ("FIXED_RECURRING", used(5), "2026-05-01T00:00:00.001Z", 2 * ONE),
        ("ONE_TIME", used(3), None, 2 * ONE),
        ("ONE_TIME", used(3, CALL), None, 2 * ONE),
        ("ONE_TIME", used(4, CALL), None, 0),
    ],
)
def test_a_flat_plan_costs_its_amount_whatever_the_usage(
    pricing_type: str, usage: PeriodUsage, ended_at: str | None, amount: int
) -> None:
    of_plan = plan(pricing_type)
    assert period_amount(usage, of_plan, subscription(ended_at), month(3)) == amount
    assert [meter_amount(meter, of_plan) for meter in usage.meters] == [0] * len(usage.meters)


def test_a_one_time_plan_that_comes_later_costs_its_amount_in_its_first_period() -> None:
    began_under_another = subscription().with_plan("once", month(5).start)
    shown = [period_amount(used(number), plan("ONE_TIME"), began_under_another, month(3)) for number in (5, 6)]
    assert shown == [2 * ONE, 0]


@pytest.mark.parametrize(
    ("known", "current", "shown"),
    [
        ([], 3, [3]),
        ([3], 3, [3]),
        ([1, 2], 3, [1, 2, 3]),
        ([2, 5], 3, [2, 3, 5]),
        ([4, 5], 3, [3, 4, 5]),
        ([2, 3, 5, 6], 3, [2, 3, 5, 6]),
    ],
)
def test_the_current_period_is_there_once_and_in_its_place(known: list[int], current: int, shown: list[int]) -> None:
    periods = with_current([used(number, CALL) for number in known], month(current))
    assert [(usage.period, bool(usage.meters)) for usage in periods] == [
        (month(number), number in known) for number in shown
    ]
