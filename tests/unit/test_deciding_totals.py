"""What accepted events add up to (contract rule 5); the oracle is a recount of first occurrences."""

from collections import defaultdict
from copy import deepcopy
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.world import (
    ACCEPTED,
    DUPLICATE,
    IDENTICAL,
    NOON,
    ONE,
    SECOND,
    World,
    account,
    ms,
    plan,
    service,
    subscription,
    usage,
)

SINGLE_BATCH, EACH_ITS_OWN = "in one batch", "each in its own batch"


@pytest.mark.parametrize("batches", [SINGLE_BATCH, EACH_ITS_OWN])
def test_a_period_gathers_its_events(world: World, batches: str) -> None:
    """| offset | key   | quantity |       total of call |
    |      0   | call#1 |     0.1 | 0.1                 |
    |      1   | call#1 |     0.1 | 0.1, refused        |
    |      2   | call#2 |     0.2 | 0.3                 |
    |      3   | call#3 |       0 | 0.3, but counted    |
    """
    quantities = [("call#1", "0.1"), ("call#1", "0.1"), ("call#2", "0.2"), ("call#3", "0")]
    appended = [
        (NOON + number * SECOND, usage(eventKey=key, quantity=quantity))
        for number, (key, quantity) in enumerate(quantities)
    ]
    for batch in [appended] if batches == SINGLE_BATCH else [[one] for one in appended]:
        world.process(*batch)
    [(key, total)] = world.tables.totals.items()
    [state] = world.tables.periods.values()
    assert key == ("sub", ms("2026-01-01T00:00:00Z"), "call")
    assert (total.quantity, total.event_count) == (300_000, 3)
    assert (state.first_at, state.last_at) == (NOON, NOON + 3 * SECOND)
    assert (state.first_offset, state.last_offset) == (0, 3)
    assert total.period_end == state.period_end == ms("2026-02-01T00:00:00Z")


def test_a_period_is_quiet_by_the_times_of_the_requests(world: World) -> None:
    world.process(
        (NOON, usage(eventKey="a", occurredAt="2026-01-02T00:00:00Z")),
        (NOON + 1, usage(eventKey="b", occurredAt="2026-01-01T00:00:00Z")),
    )
    [state] = world.tables.periods.values()
    assert (state.first_at, state.last_at) == (NOON, NOON + 1)


def test_a_period_wants_closing_with_its_first_event_and_not_again(world: World) -> None:
    waiting: list[set[tuple[str, int]]] = []
    for appended in [
        (NOON, usage()),
        (NOON, usage(eventKey="call#2")),
        (NOON, usage()),  # a duplicate
        (NOON, usage(eventKey="call#3", occurredAt="2025-12-31T00:00:00Z")),
    ]:
        decisions = world.decide(world.records(appended))
        world.tables.apply(decisions)
        waiting.append(set(decisions.waiting))
    assert waiting == [
        {("sub", ms("2026-01-01T00:00:00Z"))},
        set(),
        set(),
        {("sub", ms("2025-12-01T00:00:00Z"))},
    ]


rows = st.tuples(
    st.sampled_from(["sub", "sub2", "by-period"]),
    st.sampled_from(["call#1", "call#2", "call", "image#1", "#1"]),
    st.sampled_from(["0", "0.000001", "1", "2.5", "99999999999999.999999"]),
    st.sampled_from(["2025-12-31T23:59:59.999Z", "2026-01-01T00:00:00Z", "2026-01-31T23:59:59Z"]),
)


@given(st.lists(rows, max_size=40), st.lists(st.integers(0, 40), max_size=5))
def test_totals_equal_a_recount_of_first_occurrences(events: list[tuple[str, str, str, str]], cuts: list[int]) -> None:
    """Whatever the sequence and however it is cut into batches; and reading it all again changes nothing."""
    world = World()
    for service_id, scope in (("ai", "SUBSCRIPTION"), ("by-period", "PERIOD")):
        of_service = service(service_id, eventKeyScope=scope)
        world.catalog.add(of_service)
        for subscription_id in ("sub", "sub2") if service_id == "ai" else ("by-period",):
            world.catalog.add(account(subscription(subscription_id, serviceId=service_id), of_service, plan()))
    appended = [
        (
            ms("2026-02-01T00:00:00Z"),
            usage(
                serviceId="by-period" if subscription_id == "by-period" else "ai",
                subscriptionId=subscription_id,
                eventKey=event_key,
                quantity=quantity,
                occurredAt=occurred_at,
            ),
        )
        for subscription_id, event_key, quantity, occurred_at in events
    ]
    found: list[str] = []
    edges = sorted({0, *(cut for cut in cuts if cut < len(events)), len(events)})
    for begin, end in pairwise(edges):
        found += world.process(*appended[begin:end])

    seen: set[tuple[str, ...]] = set()
    expected: dict[tuple[str, str, str], list[Any]] = defaultdict(lambda: [Fraction(0), 0])
    for subscription_id, event_key, quantity, occurred_at in events:
        month = occurred_at[:7]
        pair = (subscription_id, event_key, month if subscription_id == "by-period" else "")
        if pair in seen:
            continue
        seen.add(pair)
        sums = expected[subscription_id, month, event_key if event_key == "#1" else event_key.split("#")[0]]
        sums[0] += Fraction(quantity)
        sums[1] += 1

    totals = {
        (subscription_id, month_of(start), meter): [Fraction(total.quantity, ONE), total.event_count]
        for (subscription_id, start, meter), total in world.tables.totals.items()
    }
    assert totals == expected
    assert found.count(ACCEPTED) == len(seen)
    assert found.count(DUPLICATE) + found.count(IDENTICAL) == len(events) - len(seen)

    before = deepcopy(world.tables)
    assert set(world.process(*appended)) <= {DUPLICATE, IDENTICAL}
    assert world.tables == before


def month_of(start: int) -> str:
    return {ms("2025-12-01T00:00:00Z"): "2025-12", ms("2026-01-01T00:00:00Z"): "2026-01"}[start]
