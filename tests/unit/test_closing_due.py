"""When a period closes, as a table of times after its end (contract rules 6 and 7)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.rules.closing import due_at
from schemas.billing_period import BillingPeriod
from schemas.totals import PeriodState
from tests.unit.world import DAY, HOUR, MINUTE, SECOND, account, ms, plan, service, subscription

PERIOD = BillingPeriod(ms("2026-01-01T00:00:00Z"), ms("2026-02-01T00:00:00Z"))
END = ms("2026-02-01T00:00:00Z")


def state(first: int | None = None, last: int | None = None, *, closed: bool = False) -> PeriodState:
    """The state of a period whose first and last events came so many ms after its end."""
    return PeriodState(
        END,
        closed=closed,
        first_at=None if first is None else END + first,
        last_at=None if last is None else END + last,
    )


@pytest.mark.parametrize(
    ("of_state", "grace", "expected"),
    [
        # Not closed yet: quiet since its end or its last event.
        (None, HOUR, HOUR),
        (state(-30 * DAY, -1), HOUR, HOUR),
        (state(-30 * DAY, 0), HOUR, HOUR),
        (state(-30 * DAY, 1), HOUR, HOUR + 1),
        (state(-30 * DAY, 30 * MINUTE), HOUR, 90 * MINUTE),
        # Never quiet: at the latest 24 graces after its end.
        (state(-30 * DAY, 23 * HOUR - 1), HOUR, 24 * HOUR - 1),
        (state(-30 * DAY, 23 * HOUR), HOUR, 24 * HOUR),
        (state(-30 * DAY, 23 * HOUR + 1), HOUR, 24 * HOUR),
        (state(-30 * DAY, 10 * DAY), HOUR, 24 * HOUR),
        # Its first event came after its end: at the latest 24 graces after that event.
        (state(10 * DAY, 10 * DAY), HOUR, 10 * DAY + HOUR),
        (state(10 * DAY, 10 * DAY + 5 * HOUR), HOUR, 10 * DAY + 6 * HOUR),
        (state(10 * DAY, 10 * DAY + 23 * HOUR + 1), HOUR, 10 * DAY + 24 * HOUR),
        # Without grace, at once.
        (None, 0, 0),
        (state(-30 * DAY, -1), 0, 0),
        (state(-30 * DAY, 5), 0, 0),
        (state(10 * DAY, 10 * DAY), 0, 10 * DAY),
        # Closed: nothing to close before usage comes, then the same quiet time for the adjustment.
        (state(closed=True), HOUR, None),
        (state(10 * DAY, 10 * DAY, closed=True), HOUR, 10 * DAY + HOUR),
        (state(10 * DAY, 10 * DAY + 5 * HOUR, closed=True), HOUR, 10 * DAY + 6 * HOUR),
        (state(10 * DAY, 10 * DAY + 23 * HOUR, closed=True), HOUR, 10 * DAY + 24 * HOUR),
        (state(10 * DAY, 12 * DAY, closed=True), HOUR, 10 * DAY + 24 * HOUR),
        (state(10 * DAY, 12 * DAY, closed=True), 0, 10 * DAY),
    ],
)
def test_due_so_long_after_the_end(of_state: PeriodState | None, grace: int, expected: int | None) -> None:
    assert due_at(of_state, PERIOD, account(), grace) == (None if expected is None else END + expected)


@pytest.mark.parametrize(
    ("of_state", "expected"),
    [
        # The subscription was created two days after the end, and what came before it was recorded then.
        (None, 2 * DAY + HOUR),
        (state(2 * DAY + 10 * MINUTE, 2 * DAY + 10 * MINUTE), 2 * DAY + 70 * MINUTE),
        (state(2 * DAY + 10 * MINUTE, 4 * DAY), 3 * DAY + 10 * MINUTE),
    ],
)
def test_a_period_is_quiet_from_the_creation_of_its_subscription_on(
    of_state: PeriodState | None, expected: int
) -> None:
    created_late = account(subscription(history=(("ACTIVE", "2026-02-03T00:00:00Z"),)))
    assert due_at(of_state, PERIOD, created_late, HOUR) == END + expected


@pytest.mark.parametrize(
    ("fields", "grace"),
    [
        ({}, 3_600 * SECOND),
        ({"gracePeriodSeconds": None}, 3_600 * SECOND),
        ({"gracePeriodSeconds": 60}, 60 * SECOND),
        ({"gracePeriodSeconds": 0}, 0),
    ],
)
def test_grace_is_that_of_the_service_or_the_default(fields: dict[str, Any], grace: int) -> None:
    assert account(of_service=service(**fields)).grace_ms(default_seconds=3_600) == grace


def test_interval_none_is_never_due() -> None:
    endless = account(of_plan=plan(billingInterval="NONE"))
    period = endless.calendar.period_at(END)
    assert not endless.closes
    assert due_at(PeriodState(None, first_at=END, last_at=END), period, endless, 0) is None


@given(
    st.lists(st.integers(-31 * DAY, 40 * DAY), min_size=1, max_size=8),
    st.integers(0, 3 * DAY),
    st.booleans(),
)
def test_usage_only_puts_closing_off_and_never_beyond_24_graces(arrivals: list[int], grace: int, closed: bool) -> None:
    """An earlier answer is a lower bound of every later one: the agenda relies on it."""
    arrivals = sorted(arrivals)
    first = arrivals[0]
    answers = [due_at(state(first, last, closed=closed), PERIOD, account(), grace) for last in arrivals]
    latest = END + 24 * grace + (first if closed else max(0, first))
    assert None not in answers
    assert answers == sorted(answers, key=lambda answer: answer or 0)
    assert all(answer is not None and answer <= latest for answer in answers)
