from collections.abc import Sequence

import pytest

from aggregator.rules.bisecting import bisected
from aggregator.rules.verdicts import Decisions, Record
from schemas.rejection import Reason
from tests.unit.world import LogRecord


class Defect(Exception):
    """What deciding certain records raises."""


class Fatal(Exception):
    """What says nothing of a record."""


def records(count: int) -> list[Record]:
    return [LogRecord(offset, 0, b"{}") for offset in range(count)]


@pytest.mark.parametrize(
    ("count", "poison", "parts"),
    [
        (4, set(), [[0, 1, 2, 3]]),
        (1, {0}, [[0]]),
        (4, {0}, [[0], [1], [2, 3]]),
        (4, {3}, [[0, 1], [2], [3]]),
        (5, {2}, [[0, 1], [2], [3, 4]]),
        (4, {0, 3}, [[0], [1], [2], [3]]),
        (3, {0, 1, 2}, [[0], [1], [2]]),
    ],
)
def test_only_the_records_that_fail_are_refused(count: int, poison: set[int], parts: list[list[int]]) -> None:
    def decide(part: Sequence[Record]) -> Decisions:
        if poison & {record.offset for record in part}:
            raise Defect
        return Decisions()

    found = list(bisected(records(count), decide, fatal=(Fatal,)))

    assert [[record.offset for record in part.records] for part in found] == parts
    refused = {r.record.offset: r.rejection.reason for part in found for r in part.decisions.rejected}
    assert refused == dict.fromkeys(poison, Reason.PROCESSING_FAILED)
    assert [isinstance(part.failure, Defect) for part in found] == [set(p) <= poison for p in parts]


def test_a_part_is_decided_only_after_the_one_before_it_was_taken() -> None:
    seen: list[list[int]] = []

    def decide(part: Sequence[Record]) -> Decisions:
        if len(part) > 1:
            raise Defect
        seen.append([record.offset for record in part])
        return Decisions()

    parts = bisected(records(2), decide, fatal=(Fatal,))
    next(parts)
    assert seen == [[0]]
    next(parts)
    assert seen == [[0], [1]]


def test_what_is_fatal_is_raised_and_refuses_nothing() -> None:
    def decide(_: Sequence[Record]) -> Decisions:
        raise Fatal

    with pytest.raises(Fatal):
        list(bisected(records(4), decide, fatal=(Fatal,)))
