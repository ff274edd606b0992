"""The agenda over a real RocksDB: which periods a round closes, and when."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.engine.stores import Memory
from aggregator.engine.tables import Changes, Due, Tables
from schemas.timestamps import timestamp_text
from schemas.topics import partition_of
from tests.unit.shelf import FAR, Shelf, Slow
from tests.unit.world import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    MemoryCatalog,
    account,
    ms,
    plan,
    service,
    subscription,
)

JANUARY, FEBRUARY, MARCH = (ms(f"2026-{month}-01T00:00:00Z") for month in ("01", "02", "03"))


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[Tables]:
    tables = Tables(Memory(8, 8).open(tmp_path / "partition-0"))
    yield tables
    tables.close()


@pytest.fixture
def shelf(tables: Tables) -> Shelf:
    catalog = MemoryCatalog()
    catalog.add(service(), account())
    return Shelf(tables, catalog)


def test_a_subscription_is_billed_month_after_month_used_or_not(shelf: Shelf) -> None:
    shelf.enrol("sub")
    shelf.count(JANUARY + DAY, "2026-01-02T00:00:00Z")
    assert [
        (shelf.tick(FEBRUARY - 1), shelf.tick(FEBRUARY), shelf.tick(FEBRUARY + HOUR - 1)),
        shelf.tick(FEBRUARY + HOUR),
        shelf.tick(MARCH + HOUR - 1),
        shelf.tick(MARCH + HOUR),
        shelf.tick(MARCH + HOUR),
    ] == [([], [], []), [("sub", JANUARY, 0)], [], [("sub", FEBRUARY, 0)], []]


def test_usage_puts_a_period_off(shelf: Shelf) -> None:
    shelf.enrol("sub")
    shelf.count(FEBRUARY + 30 * MINUTE, "2026-01-31T23:00:00Z")
    assert shelf.tick(FEBRUARY + HOUR) == []
    assert shelf.tables.next_due_at() == FEBRUARY + 90 * MINUTE
    assert shelf.tick(FEBRUARY + 90 * MINUTE) == [("sub", JANUARY, 0)]


def test_usage_of_a_closed_period_is_adjusted_when_it_is_quiet_again(shelf: Shelf) -> None:
    shelf.enrol("sub")
    assert shelf.tick(FEBRUARY + HOUR) == [("sub", JANUARY, 0)]
    shelf.count(FEBRUARY + 2 * HOUR, "2026-01-31T23:00:00Z")
    assert shelf.tick(FEBRUARY + 3 * HOUR - 1) == []
    assert shelf.tick(FEBRUARY + 3 * HOUR) == [("sub", JANUARY, 1)]
    assert shelf.tick(FEBRUARY + 4 * HOUR) == []
    assert shelf.tick(MARCH + HOUR) == [("sub", FEBRUARY, 0)]


def test_usage_before_the_subscription_is_billed_in_its_own_period(shelf: Shelf) -> None:
    shelf.enrol("sub")
    shelf.count(JANUARY + DAY, "2025-03-10T00:00:00Z")
    assert shelf.tick(JANUARY + DAY + HOUR) == [("sub", ms("2025-03-01T00:00:00Z"), 0)]
    assert shelf.tick(FEBRUARY + HOUR) == [("sub", JANUARY, 0)]


def test_months_that_passed_unattended_close_one_after_the_other(shelf: Shelf) -> None:
    shelf.enrol("sub")
    now = ms("2026-04-02T00:00:00Z")
    assert shelf.tick(now) == [("sub", JANUARY, 0), ("sub", FEBRUARY, 0), ("sub", MARCH, 0)]
    assert shelf.tick(now) == []
    assert shelf.tick(ms("2026-05-01T01:00:00Z")) == [("sub", ms("2026-04-01T00:00:00Z"), 0)]


def test_enrolling_again_changes_nothing(shelf: Shelf) -> None:
    shelf.enrol("sub", "sub")
    shelf.enrol("sub")
    assert shelf.tick(FEBRUARY + HOUR) == [("sub", JANUARY, 0)]
    shelf.enrol("sub")
    assert shelf.tick(FEBRUARY + 2 * HOUR) == []
    assert shelf.tick(MARCH + HOUR) == [("sub", FEBRUARY, 0)]


def test_enrolling_after_a_restore_goes_on_after_the_latest_closed_period(shelf: Shelf) -> None:
    """The changelogs hold what was closed, and no agenda."""
    shelf.enrol("sub")
    shelf.tick(FEBRUARY + HOUR)
    shelf.lose_the_agenda()
    assert shelf.tick(MARCH + HOUR) == [("sub", FEBRUARY, 0)]


def test_the_last_period_is_that_in_which_the_subscription_ended(shelf: Shelf) -> None:
    shelf.enrol("sub")
    shelf.tick(FEBRUARY + HOUR)
    history = (("ACTIVE", "2026-01-01T00:00:00Z"), ("CANCELLED", "2026-02-10T00:00:00Z"))
    shelf.catalog.add(account(subscription(history=history)))
    shelf.enrol("sub")
    assert shelf.tick(MARCH + HOUR) == [("sub", FEBRUARY, 0)]
    assert shelf.tables.next_due_at() is None
    shelf.enrol("sub")
    assert shelf.tables.next_due_at() is None


@pytest.mark.parametrize("billing_interval", ["NONE", "MONTH"])
def test_interval_none_is_on_no_agenda(shelf: Shelf, billing_interval: str) -> None:
    shelf.catalog.add(account(of_plan=plan(billingInterval=billing_interval)))
    shelf.enrol("sub", "unknown")
    shelf.count(JANUARY + DAY, "2026-01-02T00:00:00Z")
    assert (shelf.tables.next_due_at() is None) == (billing_interval == "NONE")


def test_the_partition_enrols_its_own_subscriptions(tables: Tables) -> None:
    catalog = MemoryCatalog()
    names = [f"sub-{number}" for number in range(20)]
    catalog.add(*(account(subscription(name)) for name in names))
    shelf = Shelf(tables, catalog, partitions=4)
    shelf.enrol(*names)
    assert {due.subscription_id for due in tables.due_until(MARCH)} == {n for n in names if partition_of(n, 4) == 0}


def test_the_agenda_is_in_the_order_of_time(shelf: Shelf) -> None:
    changes = Changes()
    entries = [Due(at, f"sub-{at}", JANUARY) for at in (300, 1, 2**40, 20, 256)]
    for entry in entries:
        changes.put_due(entry)
    shelf.tables.write(changes, shelf.tables.meta)
    assert list(shelf.tables.due_until(300)) == sorted(entries, key=lambda entry: entry.at)[:-1]
    assert shelf.tables.next_due_at() == 1


def test_a_round_is_bounded_and_the_next_one_goes_on(shelf: Shelf) -> None:
    names = [f"sub-{number:04d}" for number in range(25)]
    for name in names:
        shelf.catalog.accounts[name] = account(subscription(name))
    shelf.enrol(*names)
    rounds = []
    for _ in range(4):
        shelf.pace = Slow()
        rounds.append(len(shelf.tick(FEBRUARY + HOUR)))
    assert rounds == [10, 10, 5, 0]  # of 20 ms


def test_periods_of_one_subscription_that_are_overdue_are_bounded_too(shelf: Shelf) -> None:
    shelf.enrol("sub")
    now, found = ms("2030-01-01T00:00:00Z"), []
    while True:
        shelf.pace = Slow()
        if not (closed := shelf.tick(now)):
            break
        assert len(closed) <= 11
        found += closed
    starts = [start for _, start, _ in found]
    assert len(starts) == 47  # from January of 2026 to November of 2029: December is not quiet yet
    assert starts == sorted(set(starts))
    assert {sequence for _, _, sequence in found} == {0}


def test_an_entry_that_is_put_before_all_others_is_found(shelf: Shelf) -> None:
    """Though the search for what is due no longer begins at the beginning."""
    for ats, first in (((500, 400), 400), ((300,), 300), ((450,), 300)):
        changes = Changes()
        for at in ats:
            changes.put_due(Due(at, "sub", JANUARY))
        shelf.tables.write(changes, shelf.tables.meta)
        assert shelf.tables.next_due_at() == first
    changes = Changes()
    changes.drop_due(Due(300, "sub", JANUARY))
    shelf.tables.write(changes, shelf.tables.meta)
    assert shelf.tables.next_due_at() == 400
    changes = Changes()
    changes.put_due(Due(350, "sub", JANUARY))
    changes.drop_due(Due(400, "sub", JANUARY))
    shelf.tables.write(changes, shelf.tables.meta)
    assert [due.at for due in shelf.tables.due_until(FAR)] == [350, 450, 500]


@pytest.mark.parametrize("is_lost", [False, True])
def test_the_periods_before_one_that_closed_early_are_not_forgotten(tables: Tables, *, is_lost: bool) -> None:
    """By the day, with a grace of a day. Usage of the 1st goes on for days, which puts its close off; the 3rd is used
    too and then quiet, so it closes first. The 2nd has no state, and only the close of the 1st leads to it."""
    catalog = MemoryCatalog()
    catalog.add(account(of_service=service(gracePeriodSeconds=DAY // SECOND), of_plan=plan(billingInterval="DAY")))
    first, second, third, fourth, fifth, sixth = (JANUARY + day * DAY for day in range(6))
    shelf = Shelf(tables, catalog)
    shelf.enrol("sub")
    shelf.count(third, "2026-01-03T00:00:00Z")
    for at in (first, second, third, fourth, fifth - 1):
        shelf.count(at, "2026-01-01T00:00:00Z")
    assert shelf.tick(fifth) == [("sub", third, 0)]
    if is_lost:
        shelf.lose_the_agenda()
    assert shelf.tick(sixth - 2) == []
    assert shelf.tick(sixth - 1) == [("sub", first, 0), ("sub", second, 0)]
    assert shelf.tick(sixth) == [("sub", fourth, 0)]


happenings = st.one_of(
    st.tuples(st.just("use"), st.integers(-12 * 24, 1)),
    st.tuples(st.just("wait"), st.integers(1, 70)),
    st.tuples(st.just("lose"), st.just(0)),
)


@settings(max_examples=25)
@given(st.lists(happenings, max_size=25), st.sampled_from([0, 1, 5, 30]))
def test_whatever_happens_each_day_of_its_life_closes_once_and_all_its_usage_is_charged(
    happened: list[tuple[str, int]], grace_hours: int
) -> None:
    """Usage of some hours ago, some hours that pass, the loss of the agenda."""
    with TemporaryDirectory() as directory, closing(Tables(Memory(8, 8).open(Path(directory) / "p"))) as tables:
        shelf = Shelf(tables, MemoryCatalog())
        ended = (("ACTIVE", "2026-01-01T06:00:00Z"), ("CANCELLED", "2026-02-01T18:00:00Z"))
        grace = service(gracePeriodSeconds=grace_hours * HOUR // SECOND)
        shelf.catalog.add(account(subscription(history=ended), grace, plan(billingInterval="DAY")))
        shelf.enrol("sub")
        now, used, found = JANUARY + 6 * HOUR, Counter[int](), []
        for what, hours in [*happened, *[("wait", 30 * 24)] * 3]:
            if what == "use" and now < FEBRUARY:
                occurred_at = now + hours * HOUR if hours < 1 else now + 4 * MINUTE
                shelf.count(now, timestamp_text(occurred_at))
                used[occurred_at - (occurred_at - JANUARY) % DAY] += 1
            elif what == "wait":
                now += hours * HOUR
                while closed := shelf.tick(now):
                    found += closed
            else:
                shelf.lose_the_agenda()
        life = [JANUARY + day * DAY for day in range(32)]  # the cancellation was on the 32nd day
        sequences: dict[int, list[int | None]] = {}
        for _, start, sequence in found:
            sequences.setdefault(start, []).append(sequence)
        assert sequences.keys() == {*life, *used}
        assert all(numbers == list(range(len(numbers))) for numbers in sequences.values())
        of_account = shelf.catalog.accounts["sub"]
        for start in life:
            charged = dict(tables.totals_of("sub", of_account.calendar.period_at(start)))
            assert sum(total.charged.event_count for total in charged.values()) == used[start]
        unused = [start for _, start, _ in found if start in life and not used[start]]
        assert unused == sorted(unused)
        assert tables.next_due_at() is None


def test_a_period_that_began_before_2000_is_closed(shelf: Shelf) -> None:
    anchored = subscription(billingAnchor="2026-01-15T00:00:00Z")
    shelf.catalog.add(account(anchored))
    shelf.count(JANUARY + DAY, "2000-01-01T00:00:00Z")
    assert shelf.tick(JANUARY + DAY + HOUR) == [("sub", ms("1999-12-15T00:00:00Z"), 0)]


def test_a_subscription_whose_plan_is_not_known_yet_is_to_be_enrolled_again(shelf: Shelf) -> None:
    assert shelf.agenda.enrol("sub-of-a-late-plan", Changes()) is False
    shelf.catalog.accounts["sub-of-a-late-plan"] = account(subscription("sub-of-a-late-plan"))
    assert shelf.agenda.enrol("sub-of-a-late-plan", Changes()) is True
