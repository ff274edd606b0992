"""Single events changed in what a real deployment left: each turns the audit red, at the check and the place."""

from dataclasses import replace
from typing import Any

import pytest

from aggregator.audit.report import Check
from schemas.topics import Topic
from tests.integration.audit_captured import Captured, Change, Held, Place, assert_found
from tests.integration.audit_world import FEBRUARY, HOME, JANUARY, SUBS, captured


@pytest.fixture
def world(kafka_bootstrap: str, postgres_dsn: str) -> Captured:
    return captured(kafka_bootstrap, postgres_dsn).copy()


def event_at(world: Captured, key: str, name: str = "near") -> tuple[Place, int]:
    """The record of accepted-usage of an event key."""
    return world.find(Topic.ACCEPTED_USAGE, eventKey=key, subscriptionId=SUBS[name])


def rejection(world: Captured, code: str, part: bytes = b"") -> tuple[Place, int]:
    """A record of rejected-usage by its code, and by a part of its value."""
    for place, records in world.records.items():
        for index, record in enumerate(records if place[0] is Topic.REJECTED_USAGE else ()):
            if record.fields["reject-code"] == code.encode() and part in (record.value or b""):
                return place, index
    raise LookupError(code)


def drop_an_accepted_event(world: Captured) -> dict[str, Any]:
    place, index = event_at(world, "tokens#n3")
    return {"id": world.records[place].pop(index).document["id"]}


def count_an_event_twice(world: Captured) -> dict[str, Any]:
    place, index = event_at(world, "tokens#n3")
    records = world.records[place]
    records.append(replace(records[index], offset=records[-1].offset))
    return {"id": records[index].document["id"]}


def refuse_an_event_of_an_aborted_transaction(world: Captured) -> dict[str, Any]:
    committed = {record.offset for record in world.records[Topic.USAGE_EVENTS, HOME]}
    aborted = next(r for r in world.uncommitted[Topic.USAGE_EVENTS, HOME] if r.offset not in committed)
    place, index = rejection(world, "duplicate_event_key", b"tokens#n2")
    headers = dict(world.records[place][index].headers) | {"origin-offset": b"%d" % aborted.offset}
    world.records[place].append(replace(world.records[place][-1], headers=tuple(headers.items())))
    return {"id": f"ue_{HOME}_{aborted.offset}"}


def swap_the_place_that_an_event_takes(world: Captured) -> dict[str, Any]:
    place, index = event_at(world, "tokens#n3")
    record = world.records[place][index]
    world.replace(place, index, headers=(("place", record.fields["place"][:-1] + b"\x00"),))
    return {"offset": record.offset}


def refuse_a_valid_event(world: Captured) -> dict[str, Any]:
    place, index = event_at(world, "tokens#n3")
    accepted = world.records[place].pop(index).document
    source, at = world.find(Topic.USAGE_EVENTS, eventKey="tokens#n3")
    record = world.records[source][at]
    refused = world.records[rejection(world, "subscription_not_active")[0]]
    headers = dict(refused[0].headers) | {
        "reject-code": b"subscription_not_active",
        "origin-topic": b"usage-events",
        "origin-partition": b"%d" % HOME,
        "origin-offset": b"%d" % record.offset,
        "origin-time": accepted["createdAt"].encode(),
    }
    rejected = world.records[Topic.REJECTED_USAGE, HOME]
    offset = rejected[-1].offset + 1
    rejected.append(Held(offset, record.timestamp, record.key, record.value, tuple(headers.items())))
    assert world.cut is not None
    world.cut.partitions[HOME].ends[Topic.REJECTED_USAGE] = offset + 1
    return {"id": accepted["id"]}


def accept_an_event_that_is_not_valid(world: Captured) -> dict[str, Any]:
    """One that linked an invoice that was paid."""
    place, index = rejection(world, "invoice_closed", b"tokens#paid")
    refused = world.records[place].pop(index)
    at, like = event_at(world, "tokens#n3")
    offset = int(refused.fields["origin-offset"])
    fields = {"id": f"ue_{HOME}_{offset}", "offset": offset, "eventKey": "tokens#paid", "invoiceId": "inv_paid"}
    world.records[at].append(replace(world.records[at][like], offset=world.records[at][-1].offset))
    world.change(at, -1, **fields)
    packed = world.records[at][-1].fields["place"]
    world.replace(at, -1, headers=(("place", packed[:4] + offset.to_bytes(8, "big") + packed[12:]),))
    return {"id": f"ue_{HOME}_{offset}"}


def refuse_for_another_reason(world: Captured) -> dict[str, Any]:
    place, index = rejection(world, "invoice_not_found")
    record = world.records[place][index]
    headers = tuple((n, b"invoice_closed" if n == "reject-code" else v) for n, v in record.headers)
    world.replace(place, index, headers=headers)
    return {"id": f"ue_{HOME}_{int(record.fields['origin-offset'])}"}


def let_a_later_event_of_a_key_count(world: Captured) -> dict[str, Any]:
    """The repeat with another content is recorded, and the first one refused."""
    place, index = event_at(world, "tokens#n1")
    first = world.records[place][index]
    refused_at, refused = rejection(world, "duplicate_event_key", b'"quantity": "5"')
    other = world.records[refused_at][refused]
    offset = int(other.fields["origin-offset"])
    world.change(place, index, offset=offset, id=f"ue_{HOME}_{offset}", quantity="5.000000")
    packed = first.fields["place"]
    world.replace(place, index, headers=(("place", packed[:4] + offset.to_bytes(8, "big") + packed[12:]),))
    headers = tuple(
        (name, str(first.document["offset"]).encode() if name == "origin-offset" else value)
        for name, value in other.headers
    )
    world.replace(refused_at, refused, headers=headers)
    return {"id": f"ue_{HOME}_{offset}"}


def change_a_digit_of_a_quantity(world: Captured) -> dict[str, Any]:
    place, index = event_at(world, "tokens#n3")
    world.change(place, index, quantity="3000003.000001")
    return {"id": world.records[place][index].document["id"], "offset": world.records[place][index].offset}


def change_a_digit_of_what_arrived(world: Captured) -> dict[str, Any]:
    place, index = world.find(Topic.USAGE_EVENTS, eventKey="tokens#n3")
    world.change(place, index, quantity="3000004")
    return {"id": f"ue_{place[1]}_{world.records[place][index].offset}"}


def move_an_event_to_the_next_period(world: Captured) -> dict[str, Any]:
    place, index = event_at(world, "calls#jan")
    world.change(place, index, billingPeriod={"start": FEBRUARY, "end": "2026-03-01T00:00:00.000Z"})
    return {"id": world.records[place][index].document["id"]}


def move_the_boundary_of_an_events_period_by_1_ms(world: Captured) -> dict[str, Any]:
    place, index = event_at(world, "calls#jan")
    world.change(place, index, billingPeriod={"start": JANUARY, "end": "2026-01-31T23:59:59.999Z"})
    return {"id": world.records[place][index].document["id"]}


def alter_a_refused_event(world: Captured) -> dict[str, Any]:
    place, index = rejection(world, "invalid_body", b"\x00\xff")
    world.replace(place, index, value=b"\x00\xfe")
    return {"id": f"ue_{HOME}_{int(world.records[place][index].fields['origin-offset'])}"}


def lose_a_forwarded_event(world: Captured) -> dict[str, Any]:
    records = world.records[Topic.USAGE_FORWARDED, 1 - HOME]
    return {"id": f"ue_{HOME}_{int(records.pop(0).fields['origin-offset'])}"}


def forward_an_event_twice(world: Captured) -> dict[str, Any]:
    records = world.records[Topic.USAGE_FORWARDED, 1 - HOME]
    records.append(replace(records[0], offset=records[-1].offset + 1))
    assert world.cut is not None
    world.cut.partitions[1 - HOME].ends[Topic.USAGE_FORWARDED] += 10
    return {"id": f"ue_{HOME}_{int(records[0].fields['origin-offset'])}"}


def backdate_a_forwarded_event(world: Captured) -> dict[str, Any]:
    place: Place = (Topic.USAGE_FORWARDED, 1 - HOME)
    record = world.records[place][0]
    headers = dict(record.headers) | {"origin-time": b"2026-01-01T00:00:00.000Z"}
    world.replace(place, 0, headers=tuple(headers.items()))
    return {"id": f"ue_{HOME}_{int(record.fields['origin-offset'])}"}


def leave_a_void_out(world: Captured) -> dict[str, Any]:
    place, index = world.find(Topic.ACCEPTED_USAGE, eventKey="tokens#n5", status="VOIDED")
    return {"id": world.records[place].pop(index).document["id"]}


def void_an_event_without_a_void(world: Captured) -> dict[str, Any]:
    place, index = event_at(world, "tokens#n3")
    record = world.records[place][index]
    packed = record.fields["place"]
    world.change(place, index, status="VOIDED")
    world.replace(place, index, headers=(("place", bytes([packed[0] | 0x80]) + packed[1:]),))
    return {"id": record.document["id"]}


CHANGES: list[tuple[Change, Check]] = [
    (drop_an_accepted_event, Check.VERDICTS),
    (count_an_event_twice, Check.VERDICTS),
    (refuse_an_event_of_an_aborted_transaction, Check.VERDICTS),
    (swap_the_place_that_an_event_takes, Check.VERDICTS),
    (refuse_a_valid_event, Check.JUDGEMENTS),
    (accept_an_event_that_is_not_valid, Check.JUDGEMENTS),
    (refuse_for_another_reason, Check.JUDGEMENTS),
    (let_a_later_event_of_a_key_count, Check.UNIQUENESS),
    (change_a_digit_of_a_quantity, Check.ACCEPTED),
    (change_a_digit_of_what_arrived, Check.ACCEPTED),
    (move_an_event_to_the_next_period, Check.ACCEPTED),
    (move_the_boundary_of_an_events_period_by_1_ms, Check.ACCEPTED),
    (alter_a_refused_event, Check.REJECTED),
    (lose_a_forwarded_event, Check.FORWARDING),
    (forward_an_event_twice, Check.FORWARDING),
    (backdate_a_forwarded_event, Check.FORWARDING),
    (leave_a_void_out, Check.CORRECTIONS),
    (void_an_event_without_a_void, Check.CORRECTIONS),
]


@pytest.mark.parametrize(("change", "check"), CHANGES, ids=lambda value: getattr(value, "__name__", value))
def test_one_change_turns_the_audit_red_at_its_place(world: Captured, change: Change, check: Check) -> None:
    assert_found(world, change(world), check)
