"""What `tally doctor` says of those who read the log, of ledgers, and of clocks."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka import TopicPartition

from deploy.cluster import FoundPartition, FoundTopic
from deploy.doctor.clocks import Skew, judge_clocks, leaders, measure
from deploy.doctor.finding import Finding, Outcome
from deploy.doctor.reading import BEHIND_MS, Reader, Standing, judge_reading
from deploy.doctor.workers import Partitions, judge_ledgers, judge_members, offsets_of
from schemas.position import SOURCES, Ledger, Position
from schemas.settings import Settings

READER = Reader("workers", "decided", "start it", "bring it back", "look elsewhere")
NOW, STALLED = 1_000_000_000, 30_000


def standing(position: int, waited_ms: int | None, *, moved: bool = False, begin: int = 0, end: int = 100) -> Standing:
    since = None if waited_ms is None else NOW - waited_ms
    return Standing(TopicPartition("usage-events", 3), position, begin, end, since, moved)


@pytest.mark.parametrize(
    ("found", "outcome", "fact", "remedy"),
    [
        (standing(100, None), "ok", "1 partitions, nothing waits", ""),
        (standing(98, None), "ok", "nothing waits", ""),  # what is left are the marks of transactions
        (standing(90, STALLED - 1), "ok", "10 records wait", ""),
        (standing(90, STALLED), "fail", "usage-events-3 (10), the oldest for 30 s", "start it"),
        (standing(90, STALLED, moved=True), "ok", "10 records wait", ""),
        (standing(90, BEHIND_MS - 1, moved=True), "ok", "10 records wait", ""),
        (standing(90, BEHIND_MS, moved=True), "warn", "it gets on, and is behind", "more workers"),
        (standing(4, None, begin=5), "fail", "(position 4, log 5 to 100)", "bring it back"),
        (standing(101, None), "fail", "(position 101, log 0 to 100)", "look elsewhere"),
        (standing(5, None, begin=5), "ok", "nothing waits", ""),
    ],
)
def test_a_reader_is_judged_by_what_waits_for_it(found: Standing, outcome: str, fact: str, remedy: str) -> None:
    (said,) = judge_reading(READER, [found], NOW, STALLED)
    assert said.outcome == outcome
    assert fact in said.fact
    assert remedy in said.remedy


def position(ledger: Ledger, offset: int, partitions: int = 2) -> Position:
    return Position(dict.fromkeys(SOURCES, offset), partitions, None, ledger)


@pytest.mark.parametrize(
    ("partitions", "outcome", "fact"),
    [
        (Partitions(2), "ok", "adds up in all partitions: 0 received = 0 accepted"),
        (
            Partitions(2, {0: position(Ledger(1_500, 1_499, 1), 1_500), 1: position(Ledger(1, 0, 0, 0, 1), 1)}),
            "ok",
            "1,501 received = 1,499 accepted + 1 duplicate + 0 rejected + 1 forwarded",
        ),
        (Partitions(2, {}, {1: "offset 7: its ledger does not add up"}), "fail", "partition 1, offset 7"),
        (Partitions(2, {1: position(Ledger(3, 3), 2)}), "fail", "partition 1: 3 received of 2 offsets"),
        (Partitions(3, {0: position(Ledger(), 0)}), "fail", "counting began with 2 partitions, and there are 3"),
    ],
)
def test_ledgers(partitions: Partitions, outcome: str, fact: str) -> None:
    (said,) = judge_ledgers(partitions)
    assert (said.check, said.outcome) == ("ledger", outcome)
    assert fact in said.fact


def test_a_partition_without_a_position_stands_at_its_beginning_and_an_unreadable_one_nowhere() -> None:
    found = offsets_of(Partitions(3, {1: position(Ledger(), 7, 3)}, {2: "?"}), Settings(topic_prefix="p-"))
    of_events = {place.partition: offset for place, offset in found.items() if place.topic == "p-usage-events"}
    assert of_events == {0: 0, 1: 7}
    assert len(found) == 2 * 3


@pytest.mark.parametrize(("members", "outcome"), [(0, "fail"), (1, "ok"), (2, "ok"), (3, "warn")])
def test_members_of_the_group(members: int, outcome: str) -> None:
    assert judge_members(members, "tally", 2).outcome == outcome


def said_of(brokers: Sequence[Skew], unseen: Sequence[int] = (), postgres: Skew | None = None) -> list[Any]:
    return [(one.check, one.outcome.value) for one in judge_clocks(brokers, unseen, postgres) if not is_ok(one)]


def is_ok(finding: Finding) -> bool:
    return finding.outcome is Outcome.OK


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [
        # Of two brokers, each known to 10 ms, and of this machine's own clock.
        ((0, 1_000), []),
        ((0, 1_019), [("clocks", "warn")]),
        ((0, 1_020), [("broker clocks", "warn"), ("clocks", "warn")]),
        ((-510, 510), [("broker clocks", "warn")]),
        ((0, 60_009), [("broker clocks", "warn"), ("clocks", "warn")]),
        ((0, -60_010), [("broker clocks", "warn"), ("clocks", "fail")]),
        ((0, 60_020), [("broker clocks", "fail"), ("clocks", "fail")]),
        ((5_000, 5_000), [("clocks", "warn"), ("clocks", "warn")]),
    ],
)
def test_clocks_that_are_apart_for_certain(ahead: tuple[int, int], expected: list[tuple[str, str]]) -> None:
    first, second = ahead
    assert said_of([Skew("broker 1", first, 10), Skew("broker 2", second, 10)]) == expected


def test_what_is_within_the_error_of_the_measurement_is_no_difference() -> None:
    assert said_of([Skew("broker 1", 90_000, 89_500)], postgres=Skew("Postgres", -900, 0)) == []


def test_a_broker_whose_clock_was_not_seen_is_named() -> None:
    assert said_of([Skew("broker 1", 0, 1)], unseen=[2]) == [("clocks", "unknown")]


def test_a_broker_shows_its_clock_on_a_partition_that_it_leads() -> None:
    on = frozenset({1, 2})
    parts = [FoundPartition(number, leader, on, on) for number, leader in enumerate((1, 2, 1, -1))]
    assert leaders(FoundTopic(tuple(parts), {})) == {1: 2, 2: 1}


async def test_the_quickest_reading_counts_and_its_own_duration_bounds_the_error() -> None:
    delays = iter([0.05, 0.0, 0.05, 0.05, 0.05])

    async def clock() -> float:
        await asyncio.sleep(next(delays))
        return 7.0

    skew = await measure("a clock at 7", clock)
    assert skew.error < 25
    assert skew.ahead < -1_000_000_000_000
