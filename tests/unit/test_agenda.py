"""The agenda over a real RocksDB: which periods a round closes, and when. Written as the engine does, less Kafka."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aggregator.engine.closing import Agenda, Round
from aggregator.engine.stores import Memory
from aggregator.engine.tables import Changes, Due, Tables
from aggregator.rules.deciding import decide
from schemas.topics import partition_of
from schemas.totals import PERIOD_METER, total_key
from tests.unit.world import (
    DAY,
    HOUR,
    MINUTE,
    LogRecord,
    MemoryCatalog,
    account,
    ms,
    plan,
    service,
    subscription,
    usage,
)

JANUARY, FEBRUARY, MARCH = (ms(f"2026-{month}-01T00:00:00Z") for month in ("01", "02", "03"))
GRACE_SECONDS = 3_600


class Shelf:
    """One partition's tables and agenda."""

    def __init__(self, tables: Tables, catalog: MemoryCatalog, partitions: int = 1) -> None:
        self.tables = tables
        self.catalog = catalog
        self.agenda = Agenda(tables, catalog, 0, partitions, GRACE_SECONDS)
        self._next_offset = 0

    def enrol(self, *subscription_ids: str) -> None:
        changes = Changes()
        self.agenda.enrol(subscription_ids, changes)
        self.tables.write(changes, self.tables.meta)

    def count(self, at: int, occurred_at: str, subscription_id: str = "sub") -> None:
        """Accept one event appended at a time."""
        value = usage(subscriptionId=subscription_id, eventKey=f"call#{self._next_offset}", occurredAt=occurred_at)
        decisions = decide([LogRecord(self._next_offset, at, value)], 0, 1, self.tables, self.catalog)
        self._next_offset += 1
        assert not decisions.rejected
        changes = Changes()
        for (_, start, meter), total in decisions.totals.items():
            period = decisions.periods[subscription_id, start][0]
            changes.put_total(total_key(subscription_id, period.start_text, meter), total.to_json())
        for (_, start), (period, state) in decisions.periods.items():
            changes.put_total(total_key(subscription_id, period.start_text, PERIOD_METER), state.to_json())
            changes.periods[subscription_id, start] = state
        changes.totals = decisions.totals
        for key, of_account in decisions.waiting.items():
            due = self.agenda.entry(of_account, *decisions.periods[key])
            if due is not None:
                changes.put_due(due)
        self.tables.write(changes, self.tables.meta)

    def tick(self, now: int) -> list[tuple[str, int, int | None]]:
        """One round. Returns subscription, start and sequence of each period it closes; None for no invoice."""
        round_ = self.agenda.round(now)
        self._write(round_)
        return [
            (
                closed.account.subscription.id,
                closed.period.start,
                None if closed.closing.closed is None else closed.closing.closed.sequence,
            )
            for closed in round_.closed
        ]

    def _write(self, round_: Round) -> None:
        changes = Changes()
        for of_account, period, closing in round_.closed:
            subscription_id = of_account.subscription.id
            for meter, total in closing.totals.items():
                changes.put_total(total_key(subscription_id, period.start_text, meter), total.to_json())
                changes.totals[subscription_id, period.start, meter] = total
            changes.put_total(total_key(subscription_id, period.start_text, PERIOD_METER), closing.state.to_json())
            changes.periods[subscription_id, period.start] = closing.state
            latest = self.tables.latest_closed(subscription_id)
            changes.put_latest_closed(subscription_id, max(latest or 0, period.start))
        for due in round_.settled:
            changes.drop_due(due)
        for due in round_.put:
            changes.put_due(due)
        self.tables.write(changes, self.tables.meta)


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
    assert [shelf.tick(now) for _ in range(4)] == [
        [("sub", JANUARY, 0)],
        [("sub", FEBRUARY, 0)],
        [("sub", MARCH, 0)],
        [],
    ]


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
    changes = Changes()
    for due in shelf.tables.due_until(MARCH):
        changes.drop_due(due)
    shelf.tables.write(changes, shelf.tables.meta)
    shelf.enrol("sub")
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
    names = [f"sub-{number:04d}" for number in range(1_100)]
    one_account = account()
    for name in names:
        shelf.catalog.accounts[name] = account(subscription(name), one_account.service)
    shelf.enrol(*names)
    shelf.tick(FEBRUARY)  # whatever this round looks at is put off by the grace
    rounds = [len(shelf.tick(FEBRUARY + HOUR)) for _ in range(4)]
    assert sum(rounds) == 1_100
    assert max(rounds) <= 1_000


def test_a_period_that_began_before_2000_is_closed(shelf: Shelf) -> None:
    anchored = subscription(billingAnchor="2026-01-15T00:00:00Z")
    shelf.catalog.add(account(anchored))
    shelf.count(JANUARY + DAY, "2000-01-01T00:00:00Z")
    assert shelf.tick(JANUARY + DAY + HOUR) == [("sub", ms("1999-12-15T00:00:00Z"), 0)]


def test_a_subscription_whose_plan_is_not_known_yet_is_to_be_enrolled_again(shelf: Shelf) -> None:
    assert shelf.agenda.enrol(["sub-of-a-late-plan"], Changes()) is False
    shelf.catalog.accounts["sub-of-a-late-plan"] = account(subscription("sub-of-a-late-plan"))
    assert shelf.agenda.enrol(["sub-of-a-late-plan"], Changes()) is True
