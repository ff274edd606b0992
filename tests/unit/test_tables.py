"""What is read of a partition's tables ends where it must, in a real RocksDB."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rocksdict import ReadOptions

from aggregator.engine.stores import Memory
from aggregator.engine.tables import Changes, Meta, Tables
from schemas.billing_period import BillingPeriod
from schemas.totals import PERIOD_METER, MeterTotal, PeriodState, total_key

PERIOD = BillingPeriod(1_767_225_600_000, 1_769_904_000_000)
SUBSCRIPTIONS = [f"sub_{number:02d}" for number in range(40)]


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[Tables]:
    """Each subscription has two meters with its own quantities, and a key of each event."""
    tables, changes = Tables(Memory(8, 8).open(tmp_path / "partition-0")), Changes()
    for number, subscription_id in enumerate(SUBSCRIPTIONS):
        for meter in ("call", "token"):
            total = MeterTotal(PERIOD.end, number, 1)
            changes.put_total(total_key(subscription_id, PERIOD.start_text, meter), total.to_json())
            changes.put_places({f"{subscription_id} {meter}".encode(): bytes(28)})
        state = PeriodState(PERIOD.end)
        changes.put_total(total_key(subscription_id, PERIOD.start_text, PERIOD_METER), state.to_json())
    tables.write(changes, Meta())
    yield tables
    tables.close()


def other_reads() -> list[ReadOptions]:
    """What takes the place of a bound that was given back too early."""
    made = [ReadOptions() for _ in range(2_000)]
    for options in made:
        options.set_iterate_upper_bound(b"\xff" * 40)
    return made


def test_the_totals_of_a_period_are_its_own(tables: Tables) -> None:
    for number, subscription_id in enumerate(SUBSCRIPTIONS):
        totals = tables.totals_of(subscription_id, PERIOD)
        first = next(totals)
        others = other_reads()
        found = [first, *totals]
        assert [(meter, total.quantity) for meter, total in found] == [("call", number), ("token", number)]
        del others


@pytest.mark.parametrize("count", [Tables.counted_keys, Tables.counted_events])
def test_keys_and_events_are_counted_and_nothing_else(tables: Tables, count: Callable[[Tables], Iterator[int]]) -> None:
    counted = count(tables)
    first = next(counted)
    others = other_reads()
    assert first + sum(counted) == 80
    del others
