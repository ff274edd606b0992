"""When a billing period closes, and what it comes to when it does (contract rules 6 and 7). Closed is one-way."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from aggregator.rules.account import Account
from aggregator.rules.pricing import charge_after
from schemas.billing_period import BillingPeriod
from schemas.closed_period import ClosedLine, ClosedPeriod
from schemas.plan import Plan, PricingType
from schemas.totals import MeterTotal, PeriodState

GRACES_MAX = 24
"""However busy a period is, it closes this many graces after its end or its first event."""


class Charged(NamedTuple):
    """The line of a meter, and the meter's total once the line is charged."""

    line: ClosedLine
    total: MeterTotal


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


def charged_by(plan: Plan, totals: Iterable[tuple[str, MeterTotal]]) -> list[Charged]:
    """The lines of these meters, of those that have gained anything since they were charged. Each is worked out by
    itself: a period of very many meters may be charged bit by bit."""
    charged = []
    for meter, total in totals:
        before = total.charged
        if total.event_count != before.event_count or total.quantity != before.quantity:
            line = ClosedLine(meter, total.quantity - before.quantity, total.event_count - before.event_count, before)
            after = MeterTotal(total.period_end, total.quantity, total.event_count, charge_after(line, plan))
            charged.append(Charged(line, after))
    return charged


def close(account: Account, period: BillingPeriod, state: PeriodState | None, charged: Sequence[Charged]) -> Closing:
    """The next sequence of a period, with what is charged in it: 0 closes it, a later one adjusts it by the usage that
    came since."""
    assert period.end is not None, "a period without an end never closes"
    state = state or PeriodState(period.end)
    plan = account.plan_of(period)
    lines = tuple(line for line, _ in charged)
    amounts = [total.charged.amount - line.charged_before.amount for line, total in charged]
    if not _is_invoiced(account, period, state, lines, changes=any(amounts)):
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
        issued=state.issued + (sum(amounts) if plan.pricing_type is PricingType.USAGE_BASED else plan.amount),
    )
    return Closing(closed, after, {line.meter: total for line, total in charged})


def _is_invoiced(
    account: Account, period: BillingPeriod, state: PeriodState, lines: tuple[ClosedLine, ...], *, changes: bool
) -> bool:
    pricing_type = account.plan_of(period).pricing_type
    if state.next_sequence > 0:  # an adjustment whose lines are all 0 is not written; its usage waits for the next
        return changes and pricing_type is PricingType.USAGE_BASED
    if pricing_type is PricingType.ONE_TIME:
        return account.is_first_under_its_plan(period)
    return bool(lines) or account.has_period(period)
