"""Billing periods as tables, and against boundaries that are found the dumb way."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aggregator.audit import periods as audit
from schemas.billing_period import BillingInterval, BillingPeriod, Calendar, UnknownTimeZone, time_zone
from tests.unit.world import DAY, HOUR, ms

MONTH, WEEK, EACH_DAY, NONE = BillingInterval.MONTH, BillingInterval.WEEK, BillingInterval.DAY, BillingInterval.NONE

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",  # its clock changed at midnight until 2019
    "America/St_Johns",  # -03:30, changed at 00:01 until 2011
    "Australia/Lord_Howe",  # changes by half an hour
    "Asia/Kathmandu",  # +05:45
    "Africa/Casablanca",  # changes twice about Ramadan
    "Pacific/Apia",  # had no 2011-12-30
    "Pacific/Kwajalein",  # had no 1993-08-21
    "Africa/Monrovia",  # -00:44:30 until 1972
    "Antarctica/Troll",  # changes by two hours
)
ALL_ZONES = tuple((files("tzdata") / "zones").read_text().split())


def starts(calendar: Calendar, at: str, count: int) -> list[str]:
    """Where the period of a moment and those after it begin, in UTC."""
    period = calendar.period_at(ms(at))
    found = [period]
    while len(found) < count:
        found.append(calendar.next_period(found[-1]))
    return [period.start_text.removesuffix(".000Z") for period in found]


@pytest.mark.parametrize(
    ("anchor", "at", "expected"),
    [
        ("2026-01-15T00:00:00Z", "2026-01-15T00:00:00Z", ["2026-01-15T00:00:00", "2026-02-15T00:00:00"]),
        ("2026-01-15T00:00:00Z", "2026-01-14T23:59:59Z", ["2025-12-15T00:00:00", "2026-01-15T00:00:00"]),
        ("2026-01-15T10:30:00Z", "2026-03-15T10:29:59Z", ["2026-02-15T10:30:00", "2026-03-15T10:30:00"]),
        ("2026-01-31T00:00:00Z", "2026-01-31T00:00:00Z", ["2026-01-31T00:00:00", "2026-02-28T00:00:00"]),
        ("2026-01-31T00:00:00Z", "2026-03-01T00:00:00Z", ["2026-02-28T00:00:00", "2026-03-31T00:00:00"]),  # comes back
        ("2026-01-31T00:00:00Z", "2028-02-29T00:00:00Z", ["2028-02-29T00:00:00", "2028-03-31T00:00:00"]),
        ("2026-01-31T00:00:00Z", "2028-02-28T23:59:59Z", ["2028-01-31T00:00:00", "2028-02-29T00:00:00"]),
        ("2026-01-30T00:00:00Z", "2026-02-28T00:00:00Z", ["2026-02-28T00:00:00", "2026-03-30T00:00:00"]),
        ("2026-01-29T00:00:00Z", "2026-02-28T00:00:00Z", ["2026-02-28T00:00:00", "2026-03-29T00:00:00"]),
        ("2026-01-29T00:00:00Z", "2028-02-28T00:00:00Z", ["2028-01-29T00:00:00", "2028-02-29T00:00:00"]),
        ("2024-02-29T00:00:00Z", "2025-02-28T00:00:00Z", ["2025-02-28T00:00:00", "2025-03-29T00:00:00"]),
        ("2024-02-29T00:00:00Z", "2024-01-29T00:00:00Z", ["2024-01-29T00:00:00", "2024-02-29T00:00:00"]),
        ("2026-01-31T00:00:00Z", "2100-02-28T00:00:00Z", ["2100-02-28T00:00:00", "2100-03-31T00:00:00"]),  # no leap
        ("2026-01-31T00:00:00Z", "2000-02-29T00:00:00Z", ["2000-02-29T00:00:00", "2000-03-31T00:00:00"]),  # leap
        ("1970-01-31T00:00:00Z", "2100-02-28T00:00:00Z", ["2100-02-28T00:00:00", "2100-03-31T00:00:00"]),  # far away
        ("2100-12-31T00:00:00Z", "2000-02-29T00:00:00Z", ["2000-02-29T00:00:00", "2000-03-31T00:00:00"]),
    ],
)
def test_months_clamp_to_their_end_and_come_back(anchor: str, at: str, expected: list[str]) -> None:
    assert starts(Calendar(ms(anchor), MONTH), at, 2) == expected


@pytest.mark.parametrize(
    ("zone", "interval", "anchor", "at", "expected"),
    [
        # Lord Howe's midnight is 13:00 UTC in summer, 13:30 in winter.
        (
            *("Australia/Lord_Howe", EACH_DAY, "2025-12-31T13:00:00Z"),
            *("2026-04-05T00:00:00Z", "2026-04-04T13 2026-04-05T13:30"),
        ),
        (
            *("Australia/Lord_Howe", EACH_DAY, "2025-12-31T13:00:00Z"),
            *("2026-10-04T00:00:00Z", "2026-10-03T13:30 2026-10-04T13"),
        ),
        # Monrovia's midnight was 00:44:30 UTC; that of 1972-01-07 was skipped.
        (
            *("Africa/Monrovia", EACH_DAY, "1971-12-01T00:44:30Z"),
            *("1972-01-07T00:44:29Z", "1972-01-06T00:44:30 1972-01-07T00:44:30"),
        ),
        (
            *("Africa/Monrovia", EACH_DAY, "1971-12-01T00:44:30Z"),
            *("1972-01-07T00:44:30Z", "1972-01-07T00:44:30 1972-01-08T00"),
        ),
        # Sao Paulo skipped the midnight of 2018-11-04: that day began at 01:00, which was 03:00 UTC.
        ("America/Sao_Paulo", EACH_DAY, "2018-01-04T02:00:00Z", "2018-11-04T02:59:59Z", "2018-11-03T03 2018-11-04T03"),
        ("America/Sao_Paulo", EACH_DAY, "2018-01-04T02:00:00Z", "2018-11-04T03:00:00Z", "2018-11-04T03 2018-11-05T02"),
        # Midnight in Berlin is 23:00 UTC in winter and 22:00 in summer.
        ("Europe/Berlin", MONTH, "2025-12-31T23:00:00Z", "2026-03-15T00:00:00Z", "2026-02-28T23 2026-03-31T22"),
        ("Europe/Berlin", MONTH, "2025-12-31T23:00:00Z", "2026-10-15T00:00:00Z", "2026-09-30T22 2026-10-31T23"),
        ("Europe/Berlin", EACH_DAY, "2025-12-31T23:00:00Z", "2026-03-29T12:00:00Z", "2026-03-28T23 2026-03-29T22"),
        ("Europe/Berlin", EACH_DAY, "2025-12-31T23:00:00Z", "2026-10-25T12:00:00Z", "2026-10-24T22 2026-10-25T23"),
        ("Europe/Berlin", WEEK, "2026-03-22T23:00:00Z", "2026-03-24T00:00:00Z", "2026-03-22T23 2026-03-29T22"),
        # 02:00 in Berlin: skipped on 2026-03-29 (read with +01:00), twice on 2026-10-25 (the first one, +02:00).
        ("Europe/Berlin", EACH_DAY, "2026-01-01T01:00:00Z", "2026-03-28T12:00:00Z", "2026-03-28T01 2026-03-29T01"),
        ("Europe/Berlin", EACH_DAY, "2026-01-01T01:00:00Z", "2026-03-29T12:00:00Z", "2026-03-29T01 2026-03-30T00"),
        ("Europe/Berlin", EACH_DAY, "2026-01-01T01:00:00Z", "2026-10-24T12:00:00Z", "2026-10-24T00 2026-10-25T00"),
        ("Europe/Berlin", EACH_DAY, "2026-01-01T01:00:00Z", "2026-10-25T12:00:00Z", "2026-10-25T00 2026-10-26T01"),
        # The second 02:10 of that night is after the first 02:30, at which the day began.
        (
            "Europe/Berlin",
            EACH_DAY,
            "2026-01-01T01:30:00Z",
            "2026-10-25T00:10:00Z",
            "2026-10-24T00:30 2026-10-25T00:30",
        ),
        (
            "Europe/Berlin",
            EACH_DAY,
            "2026-01-01T01:30:00Z",
            "2026-10-25T01:10:00Z",
            "2026-10-25T00:30 2026-10-26T01:30",
        ),
        # Apia went from 2011-12-29 to 2011-12-31: there is no period for the missing day. Kwajalein the same in 1993.
        ("Pacific/Apia", EACH_DAY, "2011-01-01T10:00:00Z", "2011-12-29T12:00:00Z", "2011-12-29T10 2011-12-30T10"),
        ("Pacific/Apia", EACH_DAY, "2011-01-01T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T10 2011-12-31T10"),
        ("Pacific/Apia", EACH_DAY, "2011-01-01T15:30:00Z", "2011-12-30T15:30:00Z", "2011-12-30T15:30 2011-12-31T15:30"),
        ("Pacific/Kwajalein", EACH_DAY, "1993-08-01T12:00:00Z", "1993-08-20T13:00:00Z", "1993-08-20T12 1993-08-21T12"),
        ("Pacific/Kwajalein", EACH_DAY, "1993-08-01T12:00:00Z", "1993-08-21T12:00:00Z", "1993-08-21T12 1993-08-22T12"),
        # Monthly by the 30th, Apia's December of 2011 ended with the 29th; weekly by its Friday, a week had six days.
        ("Pacific/Apia", MONTH, "2011-01-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T10 2012-01-29T10"),
        ("Pacific/Apia", WEEK, "2011-12-09T10:00:00Z", "2011-12-29T00:00:00Z", "2011-12-23T10 2011-12-30T10"),
        ("Pacific/Apia", WEEK, "2011-12-09T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T10 2012-01-05T10"),
    ],
)
def test_periods_follow_the_wall_clock(
    zone: str, interval: BillingInterval, anchor: str, at: str, expected: str
) -> None:
    assert [
        start.removesuffix(":00").removesuffix(":00") for start in starts(Calendar(ms(anchor), interval, zone), at, 2)
    ] == (expected.split())


@pytest.mark.parametrize(
    ("at", "hours"), [("2026-03-28T12:00:00Z", 24), ("2026-03-29T12:00:00Z", 23), ("2026-10-25T12:00:00Z", 25)]
)
def test_a_day_of_a_clock_change_has_23_or_25_hours(at: str, hours: int) -> None:
    period = Calendar(ms("2025-12-31T23:00:00Z"), EACH_DAY, "Europe/Berlin").period_at(ms(at))
    assert period.end is not None
    assert period.end - period.start == hours * HOUR


def test_interval_none_is_one_period_without_an_end() -> None:
    calendar = Calendar(ms("2026-01-15T00:00:00Z"), NONE, "Europe/Berlin")
    period = calendar.period_at(ms("2050-01-01T00:00:00Z"))
    assert (period.start, period.end) == (ms("2026-01-15T00:00:00Z"), None)
    assert period.json == '{"start":"2026-01-15T00:00:00.000Z","end":null}'
    for moment in (ms("2000-01-01T00:00:00Z"), ms("2100-01-01T00:00:00Z")):
        assert moment in period
        assert calendar.period_at(moment) == period


def test_a_period_holds_its_start_and_not_its_end() -> None:
    period = BillingPeriod(ms("2026-01-01T00:00:00Z"), ms("2026-02-01T00:00:00Z"))
    assert [at in period for at in (period.start - 1, period.start, period.start + 31 * DAY - 1)] == [False, True, True]
    assert period.start + 31 * DAY not in period
    assert period.json == '{"start":"2026-01-01T00:00:00.000Z","end":"2026-02-01T00:00:00.000Z"}'


@pytest.mark.parametrize(
    "name",
    [
        *("", "Europe", "Europe/", "/Europe/Berlin", "Europe//Berlin", "europe/berlin", "Berlin", "UTC+1", "zone.tab"),
        *("../zoneinfo/UTC", "Europe/./Berlin", "Europe/../UTC", "__init__.py", "tzdata.zi", "U\0TC", "x" * 300, "Ü"),
    ],
)
def test_what_is_no_iana_zone_is_refused(name: str) -> None:
    with pytest.raises(UnknownTimeZone):
        time_zone(name)


@pytest.mark.parametrize("name", ["UTC", "Etc/UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+12"])
def test_iana_zone(name: str) -> None:
    assert time_zone(name).key == name


def instant_of(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first instant at which clocks in the zone show a time; where they never do, as if they had not changed yet.

    By trial of the offsets that hold about that time, without `fold`.
    """
    about = wall.replace(tzinfo=UTC)
    offsets = [(about + timedelta(hours=hours)).astimezone(zone).utcoffset() for hours in (-36, 0, 36)]
    tries = sorted(about - offset for offset in offsets if offset is not None)
    shown = [instant for instant in tries if instant.astimezone(zone).replace(tzinfo=None) == wall]
    before = offsets[0]
    assert before is not None
    return shown[0] if shown else about - before


def walls_around(anchor: datetime, interval: BillingInterval, at: datetime) -> list[datetime]:
    """Some boundaries on the clock, from before a moment to after it, each derived from the anchor alone."""
    if interval is not MONTH:
        span = timedelta(days=7 if interval is WEEK else 1)
        number = (at - anchor) // span
        return [anchor + n * span for n in range(number - 3, number + 5)]
    months = [(at.year + (at.month - 1 + n) // 12, (at.month - 1 + n) % 12 + 1) for n in range(-3, 5)]
    return [anchor.replace(year=y, month=m, day=min(anchor.day, monthrange(y, m)[1])) for y, m in months]


moments = st.integers(min_value=ms("1970-01-01T00:00:00Z"), max_value=ms("2101-01-01T00:00:00Z") - 1)
month_ends = st.builds(
    lambda year, month, day, at: ms(f"{year}-{month:02d}-{min(day, monthrange(year, month)[1]):02d}T00:00:00Z") + at,
    st.integers(1970, 2100),
    st.integers(1, 12),
    st.integers(28, 31),
    st.integers(0, DAY - 1),
)
anchors = st.one_of(moments, month_ends)
intervals = st.sampled_from([MONTH, WEEK, EACH_DAY])


@given(anchors, intervals, st.sampled_from(ZONES), anchors)
@example(ms("2011-01-01T10:00:00Z"), EACH_DAY, "Pacific/Apia", ms("2011-12-30T10:00:00Z"))
@example(ms("2018-01-04T02:00:00Z"), EACH_DAY, "America/Sao_Paulo", ms("2018-11-04T03:00:00Z"))
def test_each_boundary_is_derived_from_the_anchor(anchor: int, interval: BillingInterval, zone: str, at: int) -> None:
    of_zone, epoch = time_zone(zone), datetime(1970, 1, 1, tzinfo=UTC)  # the pinned rules of the zone, as the bill
    wall_anchor, wall_at = (
        (epoch + timedelta(milliseconds=moment)).astimezone(of_zone).replace(tzinfo=None) for moment in (anchor, at)
    )
    instants = [instant_of(wall, of_zone) for wall in walls_around(wall_anchor, interval, wall_at)]
    boundaries = [(instant - epoch) // timedelta(milliseconds=1) for instant in instants]
    assert boundaries == sorted(boundaries)
    start, end = next((start, end) for start, end in pairwise(boundaries) if start <= at < end)
    period = Calendar(anchor, interval, zone).period_at(at)
    assert (period.start, period.end) == (start, end)


@st.composite
def in_a_zone(draw: st.DrawFn) -> tuple[str, int]:
    """One of all zones, and a moment: mostly within two days of a change of its clocks, if they change in that year."""
    zone, at = draw(st.sampled_from(ALL_ZONES)), draw(anchors)
    new_year = datetime(1970 + at // (366 * DAY), 1, 1, tzinfo=UTC)
    days = [new_year + timedelta(days=number) for number in range(367)]
    offsets = [day.astimezone(time_zone(zone)).utcoffset() for day in days]
    changes = [day for day, (before, after) in zip(days, pairwise(offsets), strict=False) if before != after]
    if not changes or draw(st.integers(0, 3)) == 0:
        return zone, at
    change = (draw(st.sampled_from(changes)) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    return zone, change + draw(st.integers(-2 * DAY, 3 * DAY))


@given(anchors, intervals, in_a_zone())
@example(ms("2011-01-01T10:00:00Z"), EACH_DAY, ("Pacific/Apia", ms("2011-12-30T10:00:00Z")))
@example(ms("2011-01-01T10:00:00Z"), NONE, ("Pacific/Apia", ms("2010-12-30T10:00:00Z")))
@example(ms("2026-10-25T01:30:00Z"), NONE, ("Europe/Berlin", ms("2026-10-25T00:30:00Z")))  # the second 02:30
@example(ms("1993-08-20T12:00:00Z"), EACH_DAY, ("Pacific/Kwajalein", ms("1993-08-21T12:00:00Z")))
def test_the_audit_which_shares_no_code_finds_the_same_period(
    anchor: int, interval: BillingInterval, zone_and_moment: tuple[str, int]
) -> None:
    zone, at = zone_and_moment
    period = Calendar(anchor, interval, zone).period_at(at)
    assert (period.start, period.end) == audit.Calendar(anchor, interval.value, zone).period_at(at)


@given(anchors, intervals, in_a_zone())
@example(ms("1993-01-01T12:00:00Z"), EACH_DAY, ("Pacific/Kwajalein", ms("1993-08-20T12:00:00Z")))
@example(ms("2011-12-09T10:00:00Z"), WEEK, ("Pacific/Apia", ms("2011-12-23T10:00:00Z")))
def test_periods_tile_the_line_without_gap_or_overlap(
    anchor: int, interval: BillingInterval, zone_and_moment: tuple[str, int]
) -> None:
    zone, at = zone_and_moment
    calendar = Calendar(anchor, interval, zone)
    period = calendar.period_at(at)
    assert at in period
    for _ in range(14):  # over a year of months
        assert period.end is not None
        assert period.start < period.end
        following = calendar.next_period(period)
        assert following.start == period.end
        assert calendar.period_at(period.end - 1) == calendar.period_at(period.start) == period
        period = following


@settings(max_examples=15)
@given(anchors, intervals, st.lists(anchors, min_size=33, max_size=40))  # more than are kept
def test_what_was_asked_before_changes_no_answer(anchor: int, interval: BillingInterval, asked: list[int]) -> None:
    calendar = Calendar(anchor, interval)
    for at in [*asked, *asked]:
        assert calendar.period_at(at) == Calendar(anchor, interval).period_at(at)
