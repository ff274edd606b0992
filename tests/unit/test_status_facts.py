"""What the status says of each part."""

import pytest
from aiokafka import TopicPartition

from ingest.gateway.status import facts
from ingest.gateway.status.log import Standing
from ingest.gateway.status.tables import Lease, Tables

NOW = 1_769_860_800_000


def standing(lag: int, waits_ms: int | None = None) -> Standing:
    since = None if waits_ms is None else NOW - waits_ms
    return Standing(TopicPartition("usage-events", 0), 10, 10 + lag, lag, since)


@pytest.mark.parametrize(
    ("standings", "is_well", "fact"),
    [
        ([standing(0)], True, "nothing waits"),
        ([standing(1, 900), standing(0)], True, "1 record waits, for 0.9 s"),
        ([standing(5, 900), standing(0)], True, "5 records wait, the oldest for 0.9 s"),
        ([standing(1_200, 29_999), standing(7, 400)], True, "1,207 records wait, the oldest for 29 s"),
        ([standing(5, 30_000)], False, "5 records wait, the oldest for 30 s"),
        ([standing(5, 120_000)], False, "5 records wait, the oldest for 2 min"),
        ([standing(5, 30 * 3_600_000)], False, "5 records wait, the oldest for 30 h"),
        ([standing(5, -400)], True, "5 records wait, the oldest for 0.0 s"),  # the broker's clock is ahead
        ([standing(5)], True, "5 records wait, behind a transaction that is open"),
    ],
)
def test_a_reader_is_well_while_nothing_waits_for_long(standings: list[Standing], is_well: bool, fact: str) -> None:
    assert facts.of_projector(standings, NOW) == facts.Fact("projector", is_well, fact)
    assert facts.of_workers(standings, None, NOW).is_well is is_well


def test_an_idle_worker_is_well_however_old_its_last_commit_is() -> None:
    told = facts.of_workers([standing(0)], NOW - 7_200_000, NOW)
    assert told == facts.Fact("workers", True, "nothing waits; the last batch was committed 2 h ago")


LEASE = Lease(2, is_over=False)


@pytest.mark.parametrize(
    ("lease", "held", "waiting", "is_well", "fact"),
    [
        (None, 0, standing(0), False, "no closer has ever run"),
        (LEASE, 0, standing(0), True, "its lease was renewed 2 s ago; nothing waits"),
        (LEASE, 0, standing(4, 61_000), False, "its lease was renewed 2 s ago; 4 records wait, the oldest for 61 s"),
        (LEASE, 1, standing(0), False, "its lease was renewed 2 s ago; nothing waits; 1 period is held"),
        (LEASE, 2, standing(0), False, "its lease was renewed 2 s ago; nothing waits; 2 periods are held"),
        (Lease(64, is_over=True), 0, standing(0), False, "its lease was last renewed 64 s ago; nothing waits"),
    ],
)
def test_a_closer_is_well_that_has_its_lease_and_holds_nothing(
    lease: Lease | None, held: int, waiting: Standing, is_well: bool, fact: str
) -> None:
    assert facts.of_closer(lease, held, [waiting], NOW) == facts.Fact("closer", is_well, fact)


@pytest.mark.parametrize(
    ("changes", "seconds", "is_well", "fact"),
    [
        (0, 0, True, "every change of the catalog is published"),
        (1, 3, True, "1 change of the catalog waits to be published, for 3 s"),
        (3, 29, True, "3 changes of the catalog wait to be published, the oldest for 29 s"),
        (3, 30, False, "3 changes of the catalog wait to be published, the oldest for 30 s"),
    ],
)
def test_an_outbox_is_well_that_nothing_stays_in(changes: int, seconds: int, is_well: bool, fact: str) -> None:
    assert facts.of_outbox(Tables(outbox=changes, outbox_seconds=seconds)) == facts.Fact("outbox", is_well, fact)


def test_a_ledger_that_does_not_add_up_is_told_of() -> None:
    assert facts.of_ledger(12, ["partition 3: The ledger has 12 received of 9 offsets."]) == facts.Fact(
        "ledger", False, "partition 3: The ledger has 12 received of 9 offsets."
    )
    assert facts.of_ledger(12, []).is_well
    assert not facts.of_projector([], NOW).is_well
