import json

import pytest

from schemas.position import LastRecord, Ledger, Position, first_position
from tests.unit.world import ms


def test_first_position_is_the_beginning_of_every_source() -> None:
    position = first_position(8)
    assert position.positions == {"usage-events": 0, "usage-corrections": 0, "usage-forwarded": 0}
    assert (position.partitions, position.prev, position.last, position.ledger) == (8, None, None, Ledger())


def test_position_on_the_topic() -> None:
    before = first_position(8)
    position = Position(
        positions={**before.positions, "usage-events": 10},
        partitions=8,
        prev=before.positions,
        ledger=Ledger(received=10, accepted=5, duplicate=3, rejected=1, forwarded=1, forwarded_in=4, voids=2),
        last=LastRecord("usage-events", 9, ms("2026-01-01T00:00:00.001Z"), 0xFFFFFFFF),
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
            "forwardedIn": 4,
            "voids": 2,
        },
        "last": {"topic": "usage-events", "offset": 9, "time": "2026-01-01T00:00:00.001Z", "crc": 4294967295},
    }
    assert Position.of_json(position.to_json()) == position
    assert Position.of_json(before.to_json()) == before


def test_ledger_counts_each_verdict_once_and_keeps_the_others() -> None:
    before = Ledger(received=4, accepted=1, duplicate=1, rejected=1, forwarded=1, forwarded_in=6, voids=7)
    assert before.plus(accepted=10, duplicate=20, rejected=30) == Ledger(
        received=64, accepted=11, duplicate=21, rejected=31, forwarded=1, forwarded_in=6, voids=7
    )


@pytest.mark.parametrize("counts", [{"received": 1}, {"accepted": 1}, {"received": 2, "duplicate": 1}])
def test_a_ledger_that_does_not_add_up_cannot_be(counts: dict[str, int]) -> None:
    with pytest.raises(AssertionError, match="does not add up"):
        Ledger(**counts)
