"""When a billing period closes, and what it comes to when it does (contract rules 6 and 7). Closed is one-way."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from aggregator.rules.account import Account
from aggregator.rules.pricing import charge_after
from schemas.billing_period import BillingPeriod
from schemas.closed_period import ClosedLine, ClosedPeriod
from schemas.plan import PricingType
from schemas.totals import MeterTotal, PeriodState

GRACES_MAX = 24
"""However busy a period is, it closes this many graces after its end or its first event."""


@dataclass(slots=True, frozen=True)
class Closing:
    """What closing a period changes. `closed` is None where nothing is to be invoiced."""

    closed: ClosedPeriod | None
    state: PeriodState
    totals: dict[str, MeterTotal]


def due_at(state: PeriodState | None, period: BillingPeriod, account: Account, grace_ms: int) -> int | None:
    """When, in ms, a period has been quiet for long enough to close; None where there is nothing to close.

    Usage can only put it off, and only up to the cap: an earlier answer is a lower bound of every later one.
    """
    if period.end is None:
        return None
    if state is not None and state.closed:
        if state.first_at is None or state.last_at is None:
            return None
        return min(state.last_at + grace_ms, state.first_at + GRACES_MAX * grace_ms)
    began_at = account.subscription.began_at
    first_at = state.first_at if state is not None and state.first_at is not None else period.end
    last_at = state.last_at if state is not None and state.last_at is not None else period.end
    quiet_since = max(period.end, began_at, last_at)
    return min(quiet_since + grace_ms, max(period.end, began_at, first_at) + GRACES_MAX * grace_ms)


def close(
    account: Account, period: BillingPeriod, state: PeriodState | None, totals: Mapping[str, MeterTotal]
) -> Closing:
    """The next sequence of a period: 0 closes it, a later one adjusts it by the usage that came since."""
    assert period.end is not None, "a period without an end never closes"
    state = state or PeriodState(period.end)
    plan = account.plan_of(period)
    lines = tuple(
        ClosedLine(
            meter,
            total.quantity - total.charged.quantity,
            total.event_count - total.charged.event_count,
            total.charged,
        )
        for meter, total in sorted(totals.items())
        if total.event_count != total.charged.event_count or total.quantity != total.charged.quantity
    )
    charges = {line.meter: charge_after(line, plan) for line in lines}
    amount = sum(charges[line.meter].amount - line.charged_before.amount for line in lines)
    if not _is_invoiced(
        account,
        period,
        state,
        lines,
        changes=any(charges[line.meter].amount != line.charged_before.amount for line in lines),
    ):
        return Closing(None, replace(state, closed=True, first_at=None, last_at=None), {})
    closed = ClosedPeriod(
        subscription_id=account.subscription.id,
        service_id=account.subscription.service_id,
        user_id=account.subscription.user_id,
        plan=plan,
        start=period.start,
        end=period.end,
        sequence=state.next_sequence,
        lines=lines,
        first_offset=state.first_offset,
        last_offset=state.last_offset,
    )
    after = PeriodState(
        period_end=period.end,
        closed=True,
        next_sequence=state.next_sequence + 1,
        issued=state.issued + (amount if plan.pricing_type is PricingType.USAGE_BASED else plan.amount),
    )
    return Closing(closed, after, {meter: replace(totals[meter], charged=charge) for meter, charge in charges.items()})


def _is_invoiced(
    account: Account, period: BillingPeriod, state: PeriodState, lines: tuple[ClosedLine, ...], *, changes: bool
) -> bool:
    pricing_type = account.plan_of(period).pricing_type
    if state.next_sequence > 0:  # an adjustment whose lines are all 0 is not written; its usage waits for the next
        return changes and pricing_type is PricingType.USAGE_BASED
    if pricing_type is PricingType.ONE_TIME:
        return account.is_first_under_its_plan(period)
    return bool(lines) or account.has_period(period)
