"""Live rates: what a batch adds, what a window holds, what is shown."""

import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.insights.rates_page import rates_page
from aggregator.rules.rates import KEPT_MS, SETTLE_MS, STEP_MS, Rates, Usage, settled_end
from aggregator.rules.rating import RATES_MAX, rates_of
from aggregator.rules.verdicts import Decisions
from schemas.totals import MeterTotal
from schemas.usage_rate import UsageRate

ONE = 1_000_000
T = 1_767_225_600_000
"""A whole number of steps."""


def accepted(*events: tuple[str, str, int]) -> Decisions:
    """A batch of these, each service with a subscription of which 7 events had been counted before."""
    decisions = Decisions()
    for service, meter, quantity in events:
        key = (f"sub_{service}", T, meter)
        if key not in decisions.totals:
            decisions.totals[key] = MeterTotal(None, quantity=100, event_count=7)
            decisions.before[key] = (service, 7, 100)
        decisions.totals[key].event_count += 1
        decisions.totals[key].quantity += quantity
    return decisions


def rate(meter: str, event_count: int = 1, quantity: int = ONE, service: str = "svc") -> UsageRate:
    return UsageRate(service, meter, event_count, quantity)


def test_a_batch_adds_up_by_service_and_meter() -> None:
    batch = accepted(("a", "token", 3), ("a", "call", 5), ("b", "token", 7), ("a", "token", 11))
    assert rates_of(batch) == [
        UsageRate("a", "token", 2, 14),
        UsageRate("a", "call", 1, 5),
        UsageRate("b", "token", 1, 7),
    ]


def test_a_batch_adds_up_over_subscriptions_and_periods() -> None:
    batch = Decisions()
    for key in (("sub_1", T, "token"), ("sub_2", T, "token"), ("sub_2", 0, "token")):
        batch.totals[key] = MeterTotal(None, quantity=30, event_count=3)
        batch.before[key] = ("a", 1, 10)
    assert rates_of(batch) == [UsageRate("a", "token", 6, 60)]


@pytest.mark.parametrize(
    ("meters", "told"), [(0, 0), (RATES_MAX, RATES_MAX), (RATES_MAX + 1, RATES_MAX + 1), (9_999, RATES_MAX + 1)]
)
def test_a_batch_of_many_meters_tells_some_and_the_rest_together(meters: int, told: int) -> None:
    rates = rates_of(accepted(*(("svc", f"m{number}", 2) for number in range(meters))))
    assert len(rates) == told
    assert sum(rate.event_count for rate in rates) == meters
    assert sum(rate.quantity for rate in rates) == 2 * meters


def test_of_many_meters_those_with_most_events_are_told_and_the_rest_by_service() -> None:
    rare = [(service, f"m{number}", 1) for service in ("a", "b") for number in range(RATES_MAX)]
    rates = rates_of(accepted(*rare, ("b", "busy", 1), ("b", "busy", 1)))
    assert rates[0] == UsageRate("b", "busy", 2, 2)
    assert rates[RATES_MAX:] == [UsageRate("a", "", 1, 1), UsageRate("b", "", RATES_MAX, RATES_MAX)]


@given(st.text(), st.text(), st.integers(0, 10**9), st.integers(0, 10**30))
def test_a_record_is_read_as_it_was_written(service: str, meter: str, event_count: int, quantity: int) -> None:
    written = UsageRate(service, meter, event_count, quantity)
    assert UsageRate.of_record(written.key, written.to_json()) == written


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b'{"eventCount":1,"quantity":"1.000000"}'),
        (b'["svc"]', b'{"eventCount":1,"quantity":"1.000000"}'),
        (b'["svc",1]', b'{"eventCount":1,"quantity":"1.000000"}'),
        (b'["svc","m"]', None),
        (b'["svc","m"]', b"{}"),
        (b'["svc","m"]', b'{"eventCount":1.5,"quantity":"1.000000"}'),
        (b'["svc","m"]', b'{"eventCount":true,"quantity":"1.000000"}'),
        (b'["svc","m"]', b'{"eventCount":1,"quantity":"1"}'),
        (b'["svc","m"]', b"[]"),
    ],
)
def test_a_record_that_no_worker_wrote_is_refused(key: bytes | None, value: bytes | None) -> None:
    with pytest.raises((ValueError, LookupError, TypeError)):
        UsageRate.of_record(key, value)


@pytest.mark.parametrize(
    ("at", "start", "end", "counted"),
    [
        (T, T, T + STEP_MS, 1),  # the first ms of the step
        (T + STEP_MS - 1, T, T + STEP_MS, 1),  # its last
        (T + STEP_MS, T, T + STEP_MS, 0),
        (T - 1, T, T + STEP_MS, 0),
        (T, T - KEPT_MS, T, 0),
        (T - 1, T - KEPT_MS, T, 1),
        (T - KEPT_MS, T - KEPT_MS, T, 1),
        (T - KEPT_MS - 1, T - KEPT_MS, T, 0),
    ],
)
def test_a_record_is_in_the_windows_that_its_append_time_is_in(at: int, start: int, end: int, counted: int) -> None:
    rates = Rates(10)
    rates.add(rate("m"), at)
    assert rates.within(start, end) == ({("svc", "m"): Usage(1, ONE)} if counted else {})
    assert sum(rates.series(start, end)) == counted


@pytest.mark.parametrize(
    ("at", "end"),
    [
        (T + SETTLE_MS, T),
        (T + SETTLE_MS - 1, T - STEP_MS),
        (T + SETTLE_MS + STEP_MS - 1, T),
        (T + SETTLE_MS + STEP_MS, T + STEP_MS),
    ],
)
def test_a_window_ends_with_a_step_that_had_time_to_be_read(at: int, end: int) -> None:
    assert settled_end(at) == end


def test_what_no_window_reaches_is_forgotten() -> None:
    rates = Rates(10)
    rates.add(rate("old"), T - KEPT_MS - 1)
    rates.add(rate("young"), T - KEPT_MS)
    rates.expire(T + SETTLE_MS)
    assert len(rates) == 1
    assert rates.within(0, T) == {("svc", "young"): Usage(1, ONE)}


@pytest.mark.parametrize("meters", [1, 3, 4, 100, 100_000])
def test_any_number_of_meters_takes_a_bounded_number_of_places_and_loses_no_event(meters: int) -> None:
    rates = Rates(3)
    for number in range(meters):
        rates.add(rate(f"m{number}", service=f"svc{number}"), T)
    assert len(rates) <= 7
    assert sum(rates.series(T, T + STEP_MS)) == meters


def test_a_reserved_meter_has_its_place_however_many_came_before() -> None:
    rates = Rates(1, reserved=[("svc", "watched")])
    for meter in ("first", "second", "watched"):
        rates.add(rate(meter), T)
    assert set(rates.within(T, T + STEP_MS)) == {("svc", "first"), ("svc", ""), ("svc", "watched")}


def test_the_page_shows_both_windows_of_each_meter_and_of_all() -> None:
    rates = Rates(10)
    rates.add(rate("rare", 6, 12 * ONE), T - 1)
    rates.add(rate("busy", 300, 3 * ONE), T - 60_001)
    page = cast("dict[str, Any]", json.loads(json.dumps(rates_page(rates, T + SETTLE_MS))))
    assert page["asOf"] == "2026-01-01T00:00:00.000Z"
    assert [shown["meter"] for shown in page["rates"]] == ["busy", "rare"]
    busy, rare = page["rates"]
    assert busy["lastMinute"]["eventCount"] == 0
    assert busy["last15Minutes"]["eventsPerSecond"] == "0.333333"  # 300 in 900 s
    assert rare["lastMinute"] == {
        "eventCount": 6,
        "quantity": "12.000000",
        "eventsPerSecond": "0.100000",
        "quantityPerSecond": "0.200000",
    }
    assert page["total"]["last15Minutes"]["eventCount"] == 306
    counts = page["total"]["series"]["eventCounts"]
    assert len(counts) == 180
    assert (counts[-1], counts[-13]) == (6, 300)
