"""Positions, totals and closed periods changed in what a real deployment left: each turns the audit red, there."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from aggregator.audit.canonical import digest
from aggregator.audit.report import Check
from schemas.topics import Topic
from tests.integration.audit_captured import Captured, Change, Place, assert_found, latest
from tests.integration.audit_world import FAR, FEBRUARY, HOME, JANUARY, NEAR, SUBS, captured


@pytest.fixture
def world(kafka_bootstrap: str, postgres_dsn: str) -> Captured:
    return captured(kafka_bootstrap, postgres_dsn).copy()


def sealed(document: dict[str, Any], **changes: Any) -> bytes:
    """A record of closed-periods with the digest that fits its changes."""
    changed = {**document, **changes}
    return json.dumps({**changed, "digest": digest(changed)}, ensure_ascii=False).encode()


def break_the_chain(world: Captured) -> dict[str, Any]:
    place: Place = (Topic.AGGREGATOR_POSITIONS, HOME)
    record = world.records[place][3]
    before = record.document["prev"]
    world.change(place, 3, prev={**before, "usage-events": before["usage-events"] - 1})
    return {"partition": HOME, "offset": record.offset}


def remember_another_last_record(world: Captured) -> dict[str, Any]:
    place: Place = (Topic.AGGREGATOR_POSITIONS, HOME)
    last = world.records[place][-1].document["last"]
    last["usage-events"]["crc"] += 1
    world.change(place, -1, last=last)
    return {"partition": HOME, "found": last["usage-events"]}


def change_the_ledger(world: Captured) -> dict[str, Any]:
    place: Place = (Topic.AGGREGATOR_POSITIONS, HOME)
    ledger = world.records[place][-1].document["ledger"]
    ledger |= {"accepted": ledger["accepted"] + 1, "duplicate": ledger["duplicate"] - 1}
    world.change(place, -1, ledger=ledger)
    return {"partition": HOME, "key": "accepted", "found": ledger["accepted"]}


def raise_a_total_by_a_millionth(world: Captured) -> dict[str, Any]:
    place, index = latest(world, Topic.USAGE_TOTALS, NEAR, JANUARY, "tokens")
    quantity = Decimal(world.records[place][index].document["quantity"]) + Decimal("0.000001")
    world.change(place, index, quantity=str(quantity))
    return {"key": [NEAR, JANUARY, "tokens"], "offset": world.records[place][index].offset, "found": quantity}


def count_one_more_event_in_a_total(world: Captured) -> dict[str, Any]:
    place, index = latest(world, Topic.USAGE_TOTALS, FAR, JANUARY, "tokens")
    world.change(place, index, eventCount=world.records[place][index].document["eventCount"] + 1)
    return {"key": [FAR, JANUARY, "tokens"]}


def lose_a_total(world: Captured) -> dict[str, Any]:
    (place, _) = latest(world, Topic.USAGE_TOTALS, NEAR, FEBRUARY, "tokens")
    key = json.dumps([NEAR, FEBRUARY, "tokens"], separators=(",", ":")).encode()
    world.records[place] = [record for record in world.records[place] if record.key != key]
    return {"key": [NEAR, FEBRUARY, "tokens"]}


def swap_two_periods(world: Captured) -> dict[str, Any]:
    """What the topic says of January's tokens it says of February's."""
    january = latest(world, Topic.USAGE_TOTALS, NEAR, JANUARY, "tokens")
    february = latest(world, Topic.USAGE_TOTALS, NEAR, FEBRUARY, "tokens")
    values = [world.records[place][index].value for place, index in (january, february)]
    world.replace(*january, value=values[1])
    world.replace(*february, value=values[0])
    return {"key": [NEAR, JANUARY, "tokens"]}


def issue_a_millionth_more(world: Captured) -> dict[str, Any]:
    place, index = latest(world, Topic.USAGE_TOTALS, NEAR, JANUARY, "")
    issued = Decimal(world.records[place][index].document["issued"]) + Decimal("0.000001")
    world.change(place, index, issued=str(issued))
    return {"key": [NEAR, JANUARY, ""], "found": issued}


def forget_that_a_period_is_closed(world: Captured) -> dict[str, Any]:
    place, index = latest(world, Topic.USAGE_TOTALS, NEAR, JANUARY, "")
    world.change(place, index, closed=False)
    return {"key": [NEAR, JANUARY, ""]}


def change_a_closed_period_without_its_digest(world: Captured) -> dict[str, Any]:
    place, index = latest(world, Topic.CLOSED_PERIODS, NEAR, JANUARY, 0, 0)
    world.change(place, index, currency="EUR")
    return {"offset": world.records[place][index].offset}


def move_the_end_of_a_closed_period_by_1_ms(world: Captured) -> dict[str, Any]:
    place, index = latest(world, Topic.CLOSED_PERIODS, SUBS["berlin"], "2026-01-14T23:00:00.000Z", 0, 0)
    record = world.records[place][index]
    world.replace(place, index, value=sealed(record.document, periodEnd="2026-01-15T23:00:00.001Z"))
    return {"key": [SUBS["berlin"], "2026-01-14T23:00:00.000Z", 0]}


def charge_another_price(world: Captured) -> dict[str, Any]:
    place, index = latest(world, Topic.CLOSED_PERIODS, NEAR, FEBRUARY, 0, 0)
    record = world.records[place][index]
    prices = {"amount": "0.250000", "unitPrices": {"tokens": "0.000004000000"}}
    world.replace(place, index, value=sealed(record.document, prices=prices))
    return {"key": [NEAR, FEBRUARY, 0]}


def close_by_the_plan_before(world: Captured) -> dict[str, Any]:
    place, index = latest(world, Topic.CLOSED_PERIODS, SUBS["upgraded"], FEBRUARY, 0, 0)
    record = world.records[place][index]
    terms = {"planId": "plan", "pricingType": "USAGE_BASED", "prices": {"amount": "0.250000", "unitPrices": {}}}
    world.replace(place, index, value=sealed(record.document, **terms))
    return {"key": [SUBS["upgraded"], FEBRUARY, 0], "expected": ["plan_flat"], "found": "plan"}


def close_a_period_twice(world: Captured) -> dict[str, Any]:
    place, index = latest(world, Topic.CLOSED_PERIODS, NEAR, FEBRUARY, 0, 0)
    records = world.records[place]
    records.append(replace(records[index], offset=records[-1].offset))
    return {"partition": place[1], "offset": records[-1].offset}


def lose_a_part_of_a_closed_period(world: Captured) -> dict[str, Any]:
    place, index = latest(world, Topic.CLOSED_PERIODS, SUBS["many"], JANUARY, 0, 0)
    following = world.records[place][index + 1]
    world.records[place].pop(index)
    return {"partition": place[1], "offset": following.offset}


def leave_a_period_without_usage_open(world: Captured) -> dict[str, Any]:
    place, index = latest(world, Topic.CLOSED_PERIODS, SUBS["ended"], JANUARY, 0, 0)
    world.records[place].pop(index)
    return {"key": [SUBS["ended"], JANUARY, 0]}


def change_a_closed_line(world: Captured) -> dict[str, Any]:
    place, index = latest(world, Topic.CLOSED_PERIODS, SUBS["flat"], JANUARY, 0, 0)
    record = world.records[place][index]
    ((line,), _) = (record.document["lines"], None)
    world.replace(place, index, value=sealed(record.document, lines=[{**line, "quantity": "9.000000"}]))
    return {"key": [SUBS["flat"], JANUARY, 0], "offset": record.offset}


def change_what_was_charged_before(world: Captured) -> dict[str, Any]:
    place, index = latest(world, Topic.CLOSED_PERIODS, NEAR, JANUARY, 1, 0)
    record = world.records[place][index]
    lines = record.document["lines"]
    lines[0]["chargedBefore"]["amount"] = "1.000000"
    world.replace(place, index, value=sealed(record.document, lines=lines))
    return {"key": [NEAR, JANUARY, 1], "offset": record.offset}


def close_a_period_again_under_the_next_sequence(world: Captured) -> dict[str, Any]:
    (topic, partition), index = latest(world, Topic.CLOSED_PERIODS, NEAR, FEBRUARY, 0, 0)
    records = world.records[topic, partition]
    key = json.dumps([NEAR, FEBRUARY, 1, 0]).encode()
    offset = records[-1].offset + 1
    value = sealed(records[index].document, sequence=1)
    records.append(replace(records[index], offset=offset, key=key, value=value))
    assert world.cut is not None
    world.cut.partitions[partition].ends[topic] = offset + 1
    return {"key": [NEAR, FEBRUARY, 1], "offset": offset}


def tell_an_event_of_another_sequence(world: Captured) -> dict[str, Any]:
    place, index = world.find(Topic.ACCEPTED_USAGE, subscriptionId=NEAR, eventKey="tokens#late")
    assert world.records[place][index].document["sequence"] == 1
    world.change(place, index, sequence=0)
    return {"id": world.records[place][index].document["id"], "expected": 1, "key": [NEAR, JANUARY, 0]}


def tell_a_forwarded_event_of_a_sequence_that_there_is_not(world: Captured) -> dict[str, Any]:
    place, index = world.find(Topic.ACCEPTED_USAGE, subscriptionId=FAR, eventKey="tokens#late")
    world.change(place, index, sequence=9)
    return {"id": world.records[place][index].document["id"], "key": [FAR, JANUARY, 9]}


def lose_a_closed_period(world: Captured) -> dict[str, Any]:
    place, index = latest(world, Topic.CLOSED_PERIODS, SUBS["berlin"], "2026-01-14T23:00:00.000Z", 0, 0)
    world.records[place].pop(index)
    return {"key": [SUBS["berlin"], "2026-01-14T23:00:00.000Z", 0]}


CHANGES: list[tuple[Change, Check]] = [
    (break_the_chain, Check.POSITIONS),
    (remember_another_last_record, Check.POSITIONS),
    (change_the_ledger, Check.LEDGER),
    (raise_a_total_by_a_millionth, Check.TOTALS),
    (count_one_more_event_in_a_total, Check.TOTALS),
    (lose_a_total, Check.TOTALS),
    (swap_two_periods, Check.TOTALS),
    (issue_a_millionth_more, Check.PERIODS),
    (forget_that_a_period_is_closed, Check.PERIODS),
    (change_a_closed_period_without_its_digest, Check.CLOSED_PERIODS),
    (move_the_end_of_a_closed_period_by_1_ms, Check.CLOSED_PERIODS),
    (charge_another_price, Check.CLOSED_PERIODS),
    (close_by_the_plan_before, Check.CLOSED_PERIODS),
    (close_a_period_twice, Check.CLOSED_PERIODS),
    (leave_a_period_without_usage_open, Check.CLOSED_PERIODS),
    (lose_a_part_of_a_closed_period, Check.CLOSED_PERIODS),
    (change_a_closed_line, Check.LINES),
    (change_what_was_charged_before, Check.LINES),
    (close_a_period_again_under_the_next_sequence, Check.LINES),
    (tell_an_event_of_another_sequence, Check.LINES),
    (tell_a_forwarded_event_of_a_sequence_that_there_is_not, Check.LINES),
    (lose_a_closed_period, Check.INVOICES),
]


@pytest.mark.parametrize(("change", "check"), CHANGES, ids=lambda value: getattr(value, "__name__", value))
def test_one_change_turns_the_audit_red_at_its_place(world: Captured, change: Change, check: Check) -> None:
    assert_found(world, change(world), check)
