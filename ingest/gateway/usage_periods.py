"""What the usage of a billing period comes to: a closed one's invoices together, an open one's upcoming invoice."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from schemas.billing_period import BillingPeriod
from schemas.plan import Plan, PricingType
from schemas.pricing import line_amount
from schemas.subscription import Subscription


@dataclass(slots=True, frozen=True)
class MeterUsage:
    """What one meter has gathered; the quantity is in millionths."""

    meter: str
    quantity: int
    event_count: int


@dataclass(slots=True)
class PeriodUsage:
    """A billing period with its meters; `closed` says that its invoice is decided."""

    period: BillingPeriod
    closed: bool = False
    meters: list[MeterUsage] = field(default_factory=list)


def with_current(periods: Iterable[PeriodUsage], current: BillingPeriod) -> Iterator[PeriodUsage]:
    """These periods, oldest first, and the current one among them, used or not."""
    is_there = False
    for usage in periods:
        if not is_there and usage.period.start > current.start:
            yield PeriodUsage(current)
        is_there = is_there or usage.period.start >= current.start
        yield usage
    if not is_there:
        yield PeriodUsage(current)


def meter_amount(usage: MeterUsage, plan: Plan) -> int:
    """What a meter's usage comes to under a plan, in millionths; nothing where the plan's amount is flat."""
    is_priced = plan.pricing_type is PricingType.USAGE_BASED
    return line_amount(usage.quantity, plan.price(usage.meter)) if is_priced else 0


def period_amount(usage: PeriodUsage, plan: Plan, subscription: Subscription, first: BillingPeriod) -> int:
    """What all invoices of a period come to by now, in millionths. `first` is the period in which the subscription came
    to be."""
    if plan.pricing_type is PricingType.USAGE_BASED:
        return sum(meter_amount(meter, plan) for meter in usage.meters)
    if plan.pricing_type is PricingType.ONE_TIME:
        return plan.amount if subscription.is_first_under_its_plan(usage.period, first) else 0
    is_used = any(meter.event_count for meter in usage.meters)
    return plan.amount if is_used or subscription.overlaps(usage.period) else 0
