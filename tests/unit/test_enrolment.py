"""The subscriptions of the catalog come on the agenda some at a time."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aggregator.engine.catalog import CatalogStore
from aggregator.engine.closing import Agenda, Enrolment
from aggregator.engine.stores import Memory
from aggregator.engine.tables import Changes, Tables
from tests.unit.shelf import FAR, GRACE_SECONDS, Slow
from tests.unit.world import ms, plan, service, subscription


@dataclass
class Record:
    """A record of the topic `catalog`."""

    key: bytes
    value: bytes
    offset: int
    timestamp: int = ms("2026-01-01T00:00:00Z")


class Desk:
    """A catalog, and the enrolment of the partition that has everything."""

    def __init__(self, store: CatalogStore, tables: Tables) -> None:
        self.store, self.tables = store, tables
        self.agenda = Agenda(tables, store, 0, 1, GRACE_SECONDS)
        self.enrolment = Enrolment(self.agenda, store, 0)

    def publish(self, *entries: Any) -> None:
        first = self.store.next_offset
        kinds = {"Service": "service", "Plan": "plan", "Subscription": "subscription"}
        records = [
            Record(f"{kinds[type(one).__name__]}/{one.id}".encode(), json.dumps(one.wire()).encode(), offset)
            for offset, one in enumerate(entries, start=first)
        ]
        self.store.apply(records, first + len(records))

    def go_on(self) -> set[str]:
        """Do a part of it. Returns who is on the agenda then."""
        changes = Changes()
        asyncio.run(self.enrolment.go_on(changes, Slow()))
        self.tables.write(changes, self.tables.meta)
        return {due.subscription_id for due in self.tables.due_until(FAR)}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    memory = Memory(8, 8)
    store, tables = CatalogStore(memory.open(tmp_path / "catalog")), Tables(memory.open(tmp_path / "partition-0"))
    yield Desk(store, tables)
    store.close()
    tables.close()


def test_many_subscriptions_are_enrolled_in_parts(desk: Desk) -> None:
    names = [f"sub-{number:02d}" for number in range(25)]
    desk.publish(service(), plan(), *(subscription(name) for name in names))
    enrolled = []
    while desk.enrolment.is_behind:
        enrolled.append((len(desk.go_on()), desk.enrolment.offset))
    assert enrolled == [(10, 12), (20, 22), (25, 27)]  # two entries of the catalog came first
    assert not desk.enrolment.is_behind


def test_what_comes_while_some_are_enrolled_is_enrolled_too(desk: Desk) -> None:
    desk.publish(service(), plan(), *(subscription(f"sub-{number:02d}") for number in range(12)))
    desk.go_on()
    desk.publish(subscription("sub-00"), subscription("sub-11"), subscription("late"))
    while desk.enrolment.is_behind:
        enrolled = desk.go_on()
    assert enrolled == {*(f"sub-{number:02d}" for number in range(12)), "late"}
    assert desk.enrolment.offset == desk.store.next_offset


def test_a_subscription_waits_for_its_plan_and_holds_up_no_other(desk: Desk) -> None:
    desk.publish(service(), subscription("early"), subscription("too_early", paymentPlanId="none"))
    assert desk.go_on() == set()
    assert (desk.enrolment.is_behind, desk.enrolment.offset) == (False, 1)  # a restart begins with the first of them
    desk.publish(plan())
    assert desk.go_on() == {"early"}
    desk.publish(subscription("late"))
    assert desk.go_on() == {"early", "late"}
    assert (desk.enrolment.is_behind, desk.enrolment.offset) == (False, 2)
    desk.publish(plan(id="none"))
    assert desk.go_on() == {"early", "late", "too_early"}
    assert desk.enrolment.offset == desk.store.next_offset
