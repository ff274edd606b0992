"""Events that are counted in C, on the terms of a standing, count as they do one by one."""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aggregator.rules import deciding
from aggregator.rules.standing import Standings
from aggregator.rules.verdicts import Accepted, Decisions
from schemas.plain import compiled
from schemas.topics import partition_of
from tests.unit.fetches import Batch, Sent, fetch_of
from tests.unit.world import (
    HOUR,
    MINUTE,
    NOON,
    LogRecord,
    World,
    account,
    plan,
    populated,
    service,
    subscription,
    usage,
)

pytestmark = pytest.mark.skipif(compiled is None, reason="no C compiler was there when Tally was installed")

HUGE = "999999999999.999999"
"""Ten of it do not fit into 64 bits."""


def crowded() -> World:
    """The world, and a subscription that a standing can't speak for, by its user's name."""
    world = populated()
    world.catalog.add(
        account(subscription("ünnamed", userId="ada")),
        account(subscription("quoted", userId='a"da')),
        account(subscription("daily"), service(maxEventAgeSeconds=60)),
        account(subscription("endless"), of_plan=plan(billingInterval="NONE")),
    )
    return world


def told(decisions: Decisions) -> Any:
    """All that a batch came to."""
    return (
        [(accepted.key, accepted.place, accepted.value, accepted.record.offset) for accepted in decisions.accepted],
        [(rejected.record.offset, rejected.rejection) for rejected in decisions.rejected],
        [(forwarded.record.offset, forwarded.partition) for forwarded in decisions.forwarded],
        decisions.counts(),
        decisions.totals,
        decisions.before,
        decisions.periods,
        {key: waiting.subscription.id for key, waiting in decisions.waiting.items()},
        decisions.taken,
    )


def as_fetched(records: list[LogRecord]) -> list[Any]:
    """The records where a fetch holds them."""
    assert compiled is not None
    if not records:
        return []
    sent = [Sent(delta, record.timestamp, b"key", record.value) for delta, record in enumerate(records)]
    data = fetch_of([Batch(sent)], records[0].offset)
    return compiled.fetched(data, 0, len(data), 0)


def decided(
    slices: Sequence[Sequence[tuple[int, bytes | None]]],
    partitions: int = 1,
    received: Callable[[list[LogRecord]], list[Any]] = list,
) -> list[Any]:
    """What each of two batches of slices came to, the second on what the first has left."""
    world, found = crowded(), []
    for _ in range(2):
        decisions = Decisions()
        for number, appended in enumerate(slices, start=1):
            known = 0, partitions, world.tables, world.catalog
            has_more = number < len(slices)
            records = received(world.records(*appended))
            decisions = deciding.decide(records, *known, decisions=decisions, has_more=has_more)
        found.append(told(decisions))
        world.tables.apply(decisions)
    return found


_members = st.fixed_dictionaries(
    {"eventKey": st.sampled_from(["call#1", "call#2", "call", "in#1", "out#1", "a#1", "b#1", "c#1", 'ca"ll', "ü#1"])},
    optional={
        "subscriptionId": st.sampled_from(
            [
                "sub",
                "sub2",
                "bobs",
                "hourly",
                "by-period",
                "by-event",
                "cancelled-at-noon",
                "daily",
                "endless",
                "ünnamed",
                "quoted",
                "nobodys",
            ]
        ),
        "serviceId": st.sampled_from(["ai", "hourly", "by-period", "by-event"]),
        "userId": st.sampled_from(["ada", "bob", 'a"da']),
        "quantity": st.sampled_from(["0", "1", "2.5", HUGE, 3]),
        "occurredAt": st.sampled_from(
            ["2026-01-15T12:00:00Z", "2026-01-15T11:59:00Z", "2026-01-15T12:05:00.001Z", "2025-12-31T23:59:59.999Z"]
        ),
        "invoiceId": st.sampled_from(["open", "paid-at-noon"]),
        "eventId": st.sampled_from(["e", "f"]),
    },
)
_values = _members.map(lambda members: usage(**members)) | st.sampled_from([None, b"", b"{", b"[]"])
_records = st.tuples(st.sampled_from([NOON, NOON - MINUTE, NOON + HOUR, 0]), _values)
_slices = st.lists(st.lists(_records, max_size=12), min_size=1, max_size=3)
_huge = [(NOON, usage(eventKey=f"call#{number}", quantity=HUGE)) for number in range(20)]
_of_two_periods = [
    (
        NOON,
        usage(eventKey=f"call#{number}", occurredAt="2025-12-31T23:00:00Z" if number % 2 else "2026-01-15T12:00:00Z"),
    )
    for number in range(6)
]

_before_the_anchor = [
    (NOON, usage(subscriptionId="endless", eventKey=f"call#{number}", occurredAt=at))
    for number, at in enumerate(["2025-12-31T23:00:00Z", "2026-01-15T12:00:00Z", "2025-12-31T23:00:00Z"])
]
_by_period_and_event = [
    (NOON, usage(serviceId=scope, subscriptionId=scope, eventKey=f"call#{number % 3}", **fields))
    for number in range(6)
    for scope in ("by-period", "by-event")
    for fields in ({"eventId": "e"}, {"eventId": "f", "occurredAt": "2025-12-31T23:00:00Z"}, {"eventId": 'e"'}, {})
]


@given(_slices, st.sampled_from([1, 3]))
@example([_huge], 1)
@example([_by_period_and_event], 1)
@example([_before_the_anchor, _before_the_anchor], 1)
@example([[], _of_two_periods, _of_two_periods], 1)
@example([[(NOON + HOUR, usage()), (NOON, usage(eventKey="ü#1")), (NOON, usage(eventKey="call#2"))]], 1)
@example([[(NOON, usage(eventKey="ü#1")), (NOON + HOUR, usage())], [(NOON, usage(eventKey="call#2"))]], 1)
def test_as_one_by_one(slices: list[list[tuple[int, bytes | None]]], partitions: int) -> None:
    found = decided(slices, partitions)
    assert decided(slices, partitions, as_fetched) == found
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(deciding, "compiled", None)
        assert decided(slices, partitions) == found


def test_what_is_plain_is_not_looked_at_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[Any] = []
    examine = deciding._examine

    def examined(record: Any, *others: Any) -> Any:
        looked_at.append(json.loads(record.value)["eventKey"])
        return examine(record, *others)

    monkeypatch.setattr(deciding, "_examine", examined)
    world = crowded()
    world.process(*[(NOON, usage(eventKey=key)) for key in ("a#1", "a#2", "ü#1", "b#1", "a#1", "c#1")])
    assert looked_at == ["ü#1", "a#1"]  # what is not plain, and the repeat


@pytest.mark.parametrize(
    ("fields", "certain"),
    [
        ({}, True),
        ({"eventId": "e"}, True),
        ({"quantity": 1}, False),
        ({"invoiceId": "open"}, False),
        ({"userId": "bob"}, False),
        ({"serviceId": "hourly"}, False),
        ({"subscriptionId": "cancelled-at-noon"}, False),
        ({"subscriptionId": "nobodys"}, False),
        ({"subscriptionId": "by-period", "serviceId": "by-period"}, True),
        ({"subscriptionId": "by-event", "serviceId": "by-event", "eventId": "e"}, True),
        ({"subscriptionId": "by-event", "serviceId": "by-event"}, False),
        ({"note": "x"}, False),
    ],
)
def test_who_has_a_standing(fields: dict[str, Any], certain: bool) -> None:
    assert compiled is not None
    world = crowded()
    found: list[Any] = []
    decisions = Decisions()
    standings = Standings(compiled, 0, 1, world.tables, world.catalog, decisions)
    plain = compiled.Slice(
        world.records((NOON, usage(**fields))), 0, decisions.standings, decisions.touched, standings.find
    )
    assert plain.others == ([] if certain else [0])
    assert plain.count(0, [None], {}, found, Accepted) == (1 if certain else 0)
    assert len(found) == certain


def test_a_subscription_of_another_partition_has_none() -> None:
    partitions = next(count for count in range(2, 100) if partition_of("sub", count) != 0)
    world = crowded()
    decisions = deciding.decide(world.records((NOON, usage())), 0, partitions, world.tables, world.catalog)
    assert len(decisions.forwarded) == 1
    assert decisions.standings == {"sub": None}


def test_what_is_raised_on_the_way_is_raised() -> None:
    assert compiled is not None

    def fails(*_: Any) -> Any:
        raise ZeroDivisionError

    record = LogRecord(0, NOON, usage())
    with pytest.raises(ZeroDivisionError):
        compiled.Slice([record], 0, {}, [], fails)
    with pytest.raises(AttributeError):
        compiled.Slice([object()], 0, {}, [], fails)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (0,),
        (-1, [None], {}, [], Accepted),
        (0, [], {}, [], Accepted),
        (0, [None], [], [], Accepted),
        (0, [None], {}, [], str),
    ],
)
def test_what_can_not_be_counted_with_is_an_error(arguments: tuple[Any, ...]) -> None:
    assert compiled is not None
    plain = compiled.Slice([LogRecord(0, NOON, usage())], 0, {"sub": _standing(crowded())}, [], lambda *_: None)
    with pytest.raises(TypeError):
        plain.count(*arguments)


def test_a_standing_of_nonsense_is_an_error() -> None:
    assert compiled is not None
    make: Any = compiled.Standing
    terms: list[Any] = [None, "ai", "ada", "{}", 0, None, 0, None, 1, 0, None]
    with pytest.raises(TypeError):
        make(*terms, "next")
    with pytest.raises(TypeError):
        make(*terms)
    with pytest.raises(OverflowError):
        make(*[*terms[:5], 2**70, *terms[6:]], None)


def test_a_long_chain_of_standings_ends_well() -> None:
    assert compiled is not None
    make: Any = compiled.Standing
    last, marker = None, object()
    before = sys.getrefcount(marker)
    for number in range(1_000_000):
        last = make(marker, "ai", "ada", "{}", number, number + 1, 0, None, 1, 0, None, last)
    assert sys.getrefcount(marker) == before + 1_000_000
    del last
    assert sys.getrefcount(marker) == before


def test_nothing_is_kept_of_what_was_counted() -> None:
    """A reference that is not given back would let a worker grow with each event."""
    assert compiled is not None
    world = crowded()
    value = usage(eventKey="call#1")
    record, other = LogRecord(0, NOON, value), LogRecord(1, NOON, b"{")
    standing = _standing(world)
    counted = (value, record, other, standing, Accepted, None, standing.of[0])
    before = [sys.getrefcount(thing) for thing in counted]
    for _ in range(5_000):
        plain = compiled.Slice([record, other], 0, {"sub": standing}, [], lambda *_: None)
        assert plain.count(0, [None, None], {}, [], Accepted) == 1
        assert len(standing.take()[4]) == 1
        plain.count(0, [None, None], {b'["sub","call#1"]': b""}, [], Accepted)
    del plain
    after = [sys.getrefcount(thing) for thing in counted]
    assert all(abs(now - then) < 100 for then, now in zip(before, after, strict=True))


def _standing(world: World) -> Any:
    assert compiled is not None
    return Standings(compiled, 0, 1, world.tables, world.catalog, Decisions()).find("sub", NOON)
