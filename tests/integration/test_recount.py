"""The recount of one subscription, in what a real worker, closer and projector have left: it agrees, and whatever is
changed of an invoice or of the log behind it is a difference, in that period and in no other."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from aggregator.audit.evidence import AuditImpossible
from aggregator.audit.recounted import PeriodRecount, Usage
from aggregator.audit.times import own_time, time_text
from schemas.topics import Topic
from tests.integration.audit_captured import Captured, latest
from tests.integration.audit_world import FAR, FEBRUARY, HOME, JANUARY, METERS_OF_MANY, NEAR, SUBS, captured, event


@pytest.fixture
def world(kafka_bootstrap: str, postgres_dsn: str) -> Captured:
    return captured(kafka_bootstrap, postgres_dsn).copy()


def usage(quantity: str, events: int, amount: str) -> Usage:
    return Usage(Decimal(quantity), events, Decimal(amount))


def period(world: Captured, subscription_id: str, start: str) -> PeriodRecount:
    (found,) = world.recount(subscription_id, own_time(start)).periods
    return found


def test_every_subscription_agrees_in_every_period(world: Captured) -> None:
    for name, subscription_id in SUBS.items():
        recount = world.recount(subscription_id)
        assert recount.agrees, (name, recount.wire())
        assert json.loads(json.dumps(recount.wire()))["agrees"] is True


def test_a_period_is_recounted_with_its_adjustments_voids_and_duplicates(world: Captured) -> None:
    """January of NEAR: five events of n x 1,000,001 (the last one voided after the close), 1.5 linked to an invoice, n2
    again in a transaction, and 1,000,000 late; at 0.000003. And 3 calls at 0.25."""
    found = period(world, NEAR, "2026-01-15T00:00:00.000Z")
    assert (time_text(found.start), found.pricing_type, found.differs) == (JANUARY, "USAGE_BASED", False)
    meters = {meter.meter: meter for meter in found.meters}
    # 1,000,001 x (1 + 2 + 3 + 4) + 1.5 + 1,000,000 = 11,000,011.5
    assert meters["tokens"].recounted == usage("11000011.5", 6, "33.000034")  # 33.0000345: to the even 4
    assert meters["calls"].recounted == meters["calls"].invoiced == usage("3", 1, "0.75")
    assert meters["tokens"].invoiced == meters["tokens"].recounted
    assert [invoice.sequence for invoice in found.invoices] == [0, 1, 2]
    assert sum(invoice.amount or 0 for invoice in found.invoices) == Decimal("33.750034")
    assert found.waiting == []


def test_a_forwarded_event_is_recounted_where_it_counts(world: Captured) -> None:
    """January of FAR: 15.000005 of its own, 12 forwarded and voided again, 1,000,000 forwarded and late; the late event
    of a free meter costs nothing."""
    meters = {meter.meter: meter for meter in period(world, FAR, JANUARY).meters}
    assert meters["tokens"].recounted == meters["tokens"].invoiced == usage("1000015.000005", 6, "3.000045")
    assert meters["free"].recounted.plus(meters["free"].waiting) == usage("1", 1, "0")


def test_an_invoice_of_a_flat_plan_is_recounted(world: Captured) -> None:
    """Late usage of it is never invoiced, and no difference."""
    found = period(world, SUBS["flat"], JANUARY)
    assert [(invoice.amount, invoice.recounted) for invoice in found.invoices] == [(Decimal(49), Decimal(49))]
    (meter,) = found.meters
    assert (meter.invoiced, meter.waiting) == (usage("8", 1, "0"), usage("8", 1, "0"))


def test_invoices_by_hand_are_left_to_the_hand(world: Captured) -> None:
    found = period(world, SUBS["manual"], JANUARY)
    (meter,) = found.meters
    assert (meter.recounted, meter.invoiced, found.invoices) == (usage("8", 1, "16"), None, [])


def test_a_period_without_an_end_is_open_and_no_difference(world: Captured) -> None:
    found = period(world, SUBS["endless"], FEBRUARY)
    (meter,) = found.meters
    assert (found.end, found.sequences, meter.recounted, meter.waiting.quantity) == (None, 0, Usage(), Decimal(8))


def test_a_period_of_more_meters_than_a_record_holds_is_recounted_whole(world: Captured) -> None:
    assert len(period(world, SUBS["many"], JANUARY).meters) == METERS_OF_MANY


def test_a_period_with_nothing_in_it_shows_nothing(world: Captured) -> None:
    found = period(world, NEAR, "2031-07-01T00:00:00.000Z")
    assert (found.meters, found.invoices, found.sequences, found.differs) == ([], [], 0, False)


def test_a_subscription_that_nobody_knows_is_told(world: Captured) -> None:
    with pytest.raises(AuditImpossible, match=r"no subscription 'sub_none'.*GET /api/v1/subscriptions"):
        world.recount("sub_none")


def differing(world: Captured, subscription_id: str) -> list[str]:
    recount = world.recount(subscription_id)
    assert recount.agrees is not any(found.differs for found in recount.periods)
    return [time_text(found.start) for found in recount.periods if found.differs]


def test_a_line_that_was_falsified_is_a_difference_in_its_period_alone(world: Captured) -> None:
    """What is falsified is consistent in itself: line, amount and quantity."""
    row = next(row for row in world.rows_["invoices"] if row[4] == NEAR and row[7] == own_time(JANUARY) * 1_000)
    lines = world.rows_["invoice_lines"]
    index = next(i for i, line in enumerate(lines) if line[:2] == (row[0], "tokens"))
    invoice_id, meter, quantity, unit_price, amount, events = lines[index]
    lines[index] = (
        *(invoice_id, meter, f"{Decimal(quantity) + 1_000_000}", unit_price),
        *(f"{Decimal(amount) + 3}", events),
    )
    assert differing(world, NEAR) == [JANUARY]
    (tokens,) = [one for one in period(world, NEAR, JANUARY).meters if one.meter == "tokens"]
    assert tokens.difference == usage("1000000", 0, "3")
    assert not period(world, NEAR, FEBRUARY).differs


def test_an_amount_that_was_falsified_is_a_difference(world: Captured) -> None:
    for table, column in (("invoices", 5), ("listed_invoices", 4)):
        rows = world.rows_[table]
        index = next(i for i, row in enumerate(rows) if SUBS["flat"] in row and row[column] == "49.000000")
        rows[index] = (*rows[index][:column], "48.000000", *rows[index][column + 1 :])
    (invoice,) = period(world, SUBS["flat"], JANUARY).invoices
    assert (invoice.amount, invoice.recounted, invoice.differs) == (Decimal(48), Decimal(49), True)


def test_an_invoice_that_is_missing_is_a_difference(world: Captured) -> None:
    (row,) = [row for row in world.rows_["listed_invoices"] if row[1] == SUBS["flat"]]
    for table in ("invoices", "listed_invoices"):
        world.rows_[table] = [kept for kept in world.rows_[table] if kept[0] != row[0]]
    found = period(world, SUBS["flat"], JANUARY)
    assert found.differs
    assert [(invoice.id, invoice.amount, invoice.recounted) for invoice in found.invoices] == [
        (row[0], None, Decimal(49))
    ]


def test_an_invoice_that_the_closer_has_not_reached_is_no_difference(world: Captured) -> None:
    assert world.cut is not None
    place, index = latest(world, Topic.CLOSED_PERIODS, NEAR, FEBRUARY, 0, 0)
    (row,) = [
        row for row in world.rows_["listed_invoices"] if row[1] == NEAR and row[6:8] == (own_time(FEBRUARY) * 1_000, 0)
    ]
    for table in ("invoices", "listed_invoices"):
        world.rows_[table] = [kept for kept in world.rows_[table] if kept[0] != row[0]]
    passed = world.records[place][index].offset
    world.cut.copied["closer", place[0].value, place[1]] = passed
    found = period(world, NEAR, FEBRUARY)
    assert not found.differs
    assert [(invoice.id, invoice.status) for invoice in found.invoices if invoice.sequence == 0] == [(None, None)]
    assert [meter.waiting for meter in found.waiting] == [usage("7", 1, "0.000021")]


def test_an_event_that_never_reached_its_partition_is_told(world: Captured) -> None:
    """It was to be forwarded, and is not in usage-forwarded."""
    forwarded = world.records[Topic.USAGE_FORWARDED, 1 - HOME]
    index = next(i for i, record in enumerate(forwarded) if b"tokens#late" in (record.value or b""))
    lost = forwarded.pop(index)
    recount = world.recount(FAR)
    assert not recount.agrees
    (found,) = [one for one in recount.disagreements if "was to be forwarded, and did not arrive" in one.what]
    assert (found.partition, found.id) == (1 - HOME, f"ue_{HOME}_{int(dict(lost.headers)['origin-offset'])}")


def test_an_event_that_was_never_counted_is_a_difference(world: Captured) -> None:
    """It stands in the log among those that sequence 0 charges; it is spelled with escapes, which JSON may."""
    events = world.records[Topic.USAGE_EVENTS, HOME]
    index = next(i for i, record in enumerate(events) if b'"tokens#paid"' in (record.value or b""))
    value = event("near", "calls#hidden", "4").replace(NEAR.encode(), b"\\u%04x" % ord(NEAR[0]) + NEAR[1:].encode())
    events[index] = replace(events[index], value=value)
    found = {one.meter: one.difference for one in period(world, NEAR, JANUARY).meters}
    assert found["calls"] == usage("-4", -1, "-1")
