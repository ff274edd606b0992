"""What a real worker, closer and projector have made agrees; and so it does after what time does to the topics."""

import json
from decimal import Decimal

import pytest

from aggregator.audit.report import Check
from aggregator.audit.times import own_time
from schemas.topics import Topic
from tests.integration.audit_captured import Captured
from tests.integration.audit_world import FEBRUARY, HOME, JANUARY, PARTITIONS, SUBS, captured


@pytest.fixture
def world(kafka_bootstrap: str, postgres_dsn: str) -> Captured:
    return captured(kafka_bootstrap, postgres_dsn).copy()


def test_what_was_made_agrees_and_every_check_has_compared_something(world: Captured) -> None:
    report = world.audit()
    assert report.agrees, report.findings.kept
    assert {check for check in Check if not report.findings.compared[check]} == {Check.HELD}
    rare = ("duplicate", "rejected", "forwarded", "forwardedInDuplicate", "voids", "voidsRepeated", "aborted")
    assert all(report.counts[name] for name in rare), report.counts


def test_a_changed_plan_bills_the_periods_from_its_own_on(world: Captured) -> None:
    """8 calls and 4 late ones at 0.25 in January, a flat amount in February."""
    rows = [row for row in world.rows_["invoices"] if row[4] == SUBS["upgraded"]]
    assert sorted((row[7], row[9], row[2], Decimal(row[5])) for row in rows) == [
        (own_time(JANUARY) * 1_000, 0, "plan", Decimal(2)),
        (own_time(JANUARY) * 1_000, 1, "plan", Decimal(1)),
        (own_time(FEBRUARY) * 1_000, 0, "plan_flat", Decimal(49)),
    ]


def test_tiers_packages_and_what_is_included_are_billed_through_an_adjustment_and_a_void(world: Captured) -> None:
    """Closed at 20.5 graded, 22.6 by volume, 2,000 packed, 150 single; then 100 graded and a millionth packed come
    late; then 0.1 by volume and 60 single are voided."""
    rows = sorted((row[9], row[0], Decimal(row[5])) for row in world.rows_["invoices"] if row[4] == SUBS["tiered"])
    found = {
        (sequence, meter): (unit_price and Decimal(unit_price), Decimal(amount))
        for sequence, invoice_id, _ in rows
        for of, meter, _, unit_price, amount, _ in world.rows_["invoice_lines"]
        if of == invoice_id
    }
    assert found == {
        (0, "graded"): (None, Decimal("20.25")),  # 10 x 1 + 10.5 x 0.5 + 5
        (0, "volume"): (Decimal("0.1"), Decimal("9.06")),  # 20.6 x 0.1 + 7
        (0, "packed"): (Decimal("2.5"), Decimal("2.5")),  # 1,000 beyond those included
        (0, "single"): (Decimal("0.01"), Decimal("0.5")),  # 50 beyond
        (1, "graded"): (None, Decimal(17)),  # + 100 x 0.1 + 7
        (1, "packed"): (Decimal("2.5"), Decimal("2.5")),  # another package is begun
        (2, "volume"): (Decimal("0.5"), Decimal("6.19")),  # 20.5 x 0.5 + 5 - 9.06: back in the dearer tier
        (2, "single"): (Decimal("0.01"), Decimal("-0.5")),  # 90 are included
    }
    assert [amount for _, _, amount in rows] == [Decimal("32.31"), Decimal("19.5"), Decimal("5.69")]


def test_compaction_takes_records_away_and_no_agreement(world: Captured) -> None:
    """Of each key the last record stays, on every compacted topic."""
    for place, records in world.records.items():
        if place[0] in (Topic.ACCEPTED_USAGE, Topic.USAGE_TOTALS, Topic.AGGREGATOR_POSITIONS):
            last = {record.key: record.offset for record in records}
            world.records[place] = [record for record in records if last[record.key] == record.offset]
    report = world.audit()
    assert report.agrees, report.findings.kept


def test_what_was_rejected_may_be_deleted_in_the_end(world: Captured) -> None:
    """The ledger still counts it, and that is all that is left of it."""
    for partition in range(PARTITIONS):
        records = world.records[Topic.REJECTED_USAGE, partition]
        world.beginnings[Topic.REJECTED_USAGE, partition] = records[-1].offset + 1
    report = world.audit()
    assert report.agrees, report.findings.kept


def test_the_ledger_counts_what_was_rejected_and_is_deleted(world: Captured) -> None:
    records = world.records[Topic.REJECTED_USAGE, HOME]
    world.beginnings[Topic.REJECTED_USAGE, HOME] = records[-1].offset + 1
    ledger = world.records[Topic.AGGREGATOR_POSITIONS, HOME][-1].document["ledger"]
    ledger |= {"rejected": ledger["rejected"] - 1, "received": ledger["received"] - 1}
    world.change((Topic.AGGREGATOR_POSITIONS, HOME), -1, ledger=ledger)
    found = {disagreement.key for disagreement in world.audit().findings.kept if disagreement.check is Check.LEDGER}
    assert found == {"rejected", "received"}


def test_the_report_is_json(world: Captured) -> None:
    world.records[Topic.ACCEPTED_USAGE, HOME].pop()
    wire = json.loads(json.dumps(world.audit().wire(), default=str))
    assert wire["agrees"] is False
    assert {check["name"] for check in wire["checks"]} == set(Check)
    assert {"check", "what", "partition", "offset", "id", "key", "expected", "found"} == set(wire["disagreements"][0])
    assert len(wire["cut"]["partitions"]) == PARTITIONS
