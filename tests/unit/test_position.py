import json
from dataclasses import replace

import pytest

from schemas.position import Counts, LastRecord, Ledger, Position, first_position
from schemas.topics import Topic
from tests.unit.world import ms


def test_first_position_is_the_beginning_of_every_source() -> None:
    position = first_position(8)
    assert position.positions == {"usage-events": 0, "usage-corrections": 0, "usage-forwarded": 0}
    assert (position.partitions, position.prev, position.last, position.ledger) == (8, None, {}, Ledger())


def test_position_on_the_topic() -> None:
    before = first_position(8)
    position = Position(
        positions={**before.positions, "usage-events": 10},
        partitions=8,
        prev=before.positions,
        ledger=Ledger(
            10,
            5,
            3,
            1,
            1,
            forwarded_in=9,
            forwarded_in_accepted=4,
            forwarded_in_duplicate=3,
            forwarded_in_rejected=2,
            voids=8,
            voids_repeated=7,
            voids_rejected=6,
        ),
        last={"usage-events": LastRecord(9, ms("2026-01-01T00:00:00.001Z"), 0xFFFFFFFF)},
    )
    assert json.loads(position.to_json()) == {
        "positions": {"usage-events": 10, "usage-corrections": 0, "usage-forwarded": 0},
        "partitions": 8,
        "prev": {"usage-events": 0, "usage-corrections": 0, "usage-forwarded": 0},
        "ledger": {
            "received": 10,
            "accepted": 5,
            "duplicate": 3,
            "rejected": 1,
            "forwarded": 1,
            "forwardedIn": 9,
            "forwardedInAccepted": 4,
            "forwardedInDuplicate": 3,
            "forwardedInRejected": 2,
            "voids": 8,
            "voidsRepeated": 7,
            "voidsRejected": 6,
        },
        "last": {"usage-events": {"offset": 9, "time": "2026-01-01T00:00:00.001Z", "crc": 4294967295}},
    }
    assert Position.of_json(position.to_json()) == position
    assert Position.of_json(before.to_json()) == before


BEFORE = Ledger(
    4,
    1,
    1,
    1,
    1,
    forwarded_in=6,
    forwarded_in_accepted=3,
    forwarded_in_duplicate=2,
    forwarded_in_rejected=1,
    voids=7,
    voids_repeated=8,
    voids_rejected=9,
)

# A batch of which source, what became of its records, and the counts that it changes.
BATCHES = [
    (
        Topic.USAGE_EVENTS,
        Counts(accepted=10, duplicate=20, rejected=30, forwarded=40),
        {"received": 104, "accepted": 11, "duplicate": 21, "rejected": 31, "forwarded": 41},  # 4 + 100 records
    ),
    (
        Topic.USAGE_FORWARDED,
        Counts(accepted=10, duplicate=20, rejected=30),
        {"forwarded_in": 66, "forwarded_in_accepted": 13, "forwarded_in_duplicate": 22, "forwarded_in_rejected": 31},
    ),
    (
        Topic.USAGE_CORRECTIONS,
        Counts(accepted=10, duplicate=0, rejected=30, repeated=50),
        {"voids": 17, "voids_repeated": 58, "voids_rejected": 39},
    ),
]


@pytest.mark.parametrize(("source", "counts", "changed"), BATCHES)
def test_ledger_counts_each_record_once_under_its_source(
    source: Topic, counts: Counts, changed: dict[str, int]
) -> None:
    assert BEFORE.plus(source, counts) == replace(BEFORE, **changed)


@pytest.mark.parametrize(
    "counts", [{"received": 1}, {"accepted": 1}, {"received": 2, "duplicate": 1}, {"forwarded_in": 1}]
)
def test_a_ledger_that_does_not_add_up_cannot_be(counts: dict[str, int]) -> None:
    with pytest.raises(AssertionError, match="does not add up"):
        Ledger(**counts)
