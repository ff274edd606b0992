"""Batches of closed periods: bounded in lines, each beginning where the one before ended."""

from collections import deque
from dataclasses import dataclass
from typing import Any, cast

from aiokafka import TopicPartition

from aggregator.closer.batches import LINES_MAX, Batch, Batches
from schemas.closed_period import PART_LINES_MAX, ClosedLine, ClosedPeriod
from tests.unit.world import ms, plan

START, END = ms("2026-01-01T00:00:00Z"), ms("2026-02-01T00:00:00Z")
NEAR, FAR = TopicPartition("closed-periods", 0), TopicPartition("closed-periods", 1)


@dataclass
class Record:
    offset: int
    value: bytes


class Fetches:
    """A reader that returns these fetches, and then nothing."""

    def __init__(self, *fetches: dict[TopicPartition, list[Record]]) -> None:
        self._fetches = deque(fetches)

    async def read(self, _records_max: int, _timeout_ms: int) -> dict[TopicPartition, list[Record]]:
        return self._fetches.popleft() if self._fetches else {}


def records(first_offset: int, *line_counts: int) -> list[Record]:
    """The records of periods with so many lines each."""
    values = [
        value
        for number, count in enumerate(line_counts)
        for _, value in ClosedPeriod(
            f"sub_{first_offset}_{number}", "ai", "ada", plan(), START, END, 0,
            tuple(ClosedLine(f"meter-{line:06d}", 1, 1) for line in range(count)), 7, 9,
        ).records()
    ]  # fmt: skip
    return [Record(first_offset + number, value) for number, value in enumerate(values)]


async def all_of(*fetches: dict[TopicPartition, list[Record]]) -> list[Batch]:
    batches = Batches(cast(Any, Fetches(*fetches)), {NEAR: 0, FAR: 40}, 1_000)
    found = []
    while (batch := await batches.following()).after or batch.invoices:
        found.append(batch)
    return found


async def test_a_batch_is_what_was_fetched_and_says_from_where_to_where() -> None:
    (one, other) = await all_of({NEAR: records(0, 1, 0), FAR: records(40, 2)}, {NEAR: records(2, 1)})
    assert (one.before, one.after, len(one.invoices)) == ({NEAR: 0, FAR: 40}, {NEAR: 2, FAR: 41}, 3)
    assert (other.before, other.after, len(other.invoices)) == ({NEAR: 2}, {NEAR: 3}, 1)


async def test_a_batch_with_many_lines_is_full_and_the_rest_is_in_the_next() -> None:
    lines = [PART_LINES_MAX] * (LINES_MAX // PART_LINES_MAX)
    one, other = await all_of({NEAR: records(0, *lines, 1), FAR: records(40, 5)})
    assert (one.before, one.after, len(one.invoices)) == ({NEAR: 0}, {NEAR: len(lines)}, len(lines))
    last = len(lines)
    assert (other.before, other.after) == ({NEAR: last, FAR: 40}, {NEAR: last + 1, FAR: 41})
    assert [len(invoice.bill.lines) for invoice in other.invoices] == [1, 5]


async def test_a_period_whose_parts_come_in_two_fetches_moves_no_offset_before_the_last() -> None:
    first, last = records(0, PART_LINES_MAX + 1)
    batches = Batches(cast(Any, Fetches({NEAR: [first]}, {NEAR: [last]})), {NEAR: 0}, 1_000)
    assert (await batches.following()).after == {}
    batch = await batches.following()
    assert (batch.before, batch.after, len(batch.invoices)) == ({NEAR: 0}, {NEAR: 2}, 1)
