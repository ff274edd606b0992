"""A cut, and the rounds after it: what is due closes a little at a time, and what is counted in between is right."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aggregator.engine.closing import Round
from aggregator.engine.commit import BrokerTime
from aggregator.engine.stores import Memory
from aggregator.engine.tables import Tables
from aggregator.engine.tending import Tending
from schemas.position import first_position
from tests.unit.shelf import Shelf
from tests.unit.world import DAY, HOUR, MINUTE, MemoryCatalog, account, ms, service, subscription

FEBRUARY = ms("2026-02-01T00:00:00Z")
IDLE = 1_500
"""Far more subscriptions than close in 20 ms of CPU time."""


@dataclass
class Calls:
    """Kafka as Tending knows it: the catalog's follower, the sources and the commits, in the order of its calls."""

    shelf: Shelf
    clock: int
    has_read_all: bool = True
    calls: list[str] = field(default_factory=list)
    closed: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Of each subscription the sequence of its latest close, and the events in it."""
    broker_time: BrokerTime = field(default_factory=BrokerTime)

    @property
    def store(self) -> Any:
        return self

    next_offset = 0

    async def barrier(self) -> None:
        self.calls.append("catalog")

    async def heartbeat(self, _: object) -> None:
        self.calls.append("T")
        self.broker_time = BrokerTime(self.clock, 0.0)

    async def ends(self) -> dict[Any, int]:
        self.calls.append("E")
        return {}

    async def has_read(self, _: object) -> bool:
        return self.has_read_all

    async def closings(self, _: object, round_: Round) -> None:
        self.calls.append("round")
        for of_account, _, closing in round_.closed:
            assert closing.closed is not None
            events = sum(line.event_count for line in closing.closed.lines)
            self.closed[of_account.subscription.id] = closing.closed.sequence, events
        self.shelf.write(round_)


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    tables, catalog = Tables(Memory(8, 8).open(tmp_path / "partition-0")), MemoryCatalog()
    catalog.add(service())
    yield Shelf(tables, catalog)
    tables.close()


def populate(shelf: Shelf, *names: str) -> None:
    for name in names:
        shelf.catalog.add(account(subscription(name)))
    shelf.enrol(*names)


def tending(shelf: Shelf, kafka: Any) -> Tending:
    return Tending(0, kafka, shelf.tables, shelf.agenda, kafka, kafka, lambda: first_position(1), asyncio.Lock())


def test_the_ends_are_asked_for_after_the_time_and_the_catalog(shelf: Shelf) -> None:
    populate(shelf, "sub")
    kafka = Calls(shelf, FEBRUARY + HOUR, has_read_all=False)
    tended = tending(shelf, kafka)
    assert asyncio.run(tended.go_on()) is False
    assert kafka.calls == ["catalog", "T", "catalog", "E"]
    assert asyncio.run(tended.go_on()) is False  # nothing closes before all up to there is counted
    assert kafka.closed == {}
    kafka.has_read_all = True
    assert asyncio.run(tended.go_on()) is True
    assert [call for call in kafka.calls if call != "catalog"] == ["T", "E", "round"]
    assert kafka.closed == {"sub": (0, 0)}
    assert asyncio.run(tended.go_on()) is False


def test_who_has_no_turn_waits_for_none(shelf: Shelf) -> None:
    populate(shelf, "sub")
    kafka, turn = Calls(shelf, FEBRUARY + HOUR), asyncio.Lock()
    tended = Tending(0, kafka, shelf.tables, shelf.agenda, kafka, kafka, lambda: first_position(1), turn)  # type: ignore[arg-type]

    async def go_on_while_others_close() -> bool:
        async with turn:
            return await tended.go_on()

    assert asyncio.run(go_on_while_others_close()) is False
    assert kafka.closed == {}
    assert asyncio.run(tended.go_on()) is True
    assert kafka.closed == {"sub": (0, 0)}


def test_nothing_is_asked_where_nothing_is_due(shelf: Shelf) -> None:
    populate(shelf, "sub")
    kafka = Calls(shelf, FEBRUARY - 1)
    tended = tending(shelf, kafka)
    assert asyncio.run(tended.go_on()) is False
    assert kafka.calls == ["catalog", "T"]


def test_usage_counted_between_the_rounds_is_in_the_right_sequence(shelf: Shelf) -> None:
    """The cut is at a day and a millisecond after the end of January, with a grace of an hour. The names of all who are
    idle come first. What is counted after the first round was appended behind the cut: the period of one who used
    nothing before is put off by it. That of one who was never quiet closes at the cap of 24 hours, and charges it."""
    names = [f"sub-{number:04d}" for number in range(IDLE)]
    populate(shelf, *names, "zz-busy", "zz-late", "zz-unused")
    for at in range(-10 * MINUTE, DAY, 50 * MINUTE):
        shelf.count(FEBRUARY + at, "2026-01-31T23:00:00Z", "zz-busy")
    before = len(range(-10 * MINUTE, DAY, 50 * MINUTE))
    kafka = Calls(shelf, FEBRUARY + DAY + 1)
    tended = tending(shelf, kafka)
    assert asyncio.run(tended.go_on()) is True
    assert 0 < len(kafka.closed) < IDLE  # and the partition decides a batch
    for name in ("zz-busy", "zz-late"):
        shelf.count(FEBRUARY + DAY + 2, "2026-01-31T23:00:00Z", name)
    while asyncio.run(tended.go_on()):
        pass
    assert kafka.closed == dict.fromkeys([*names, "zz-unused"], (0, 0)) | {"zz-busy": (0, before + 1)}
    kafka = Calls(shelf, FEBRUARY + DAY + 2 + HOUR)
    tended = tending(shelf, kafka)
    while asyncio.run(tended.go_on()):
        pass
    assert kafka.closed == {"zz-late": (0, 1)}
