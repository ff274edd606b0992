"""Rows of single events changed in what a real projector left: each turns the audit red. And what time does to the
topics, or a setting to the rows, does not."""

import json
from dataclasses import replace
from typing import Any

import pytest

from aggregator.audit.report import Check
from schemas.topics import Topic
from tests.integration.audit_captured import Captured, Change, assert_found
from tests.integration.audit_world import HOME, NEAR, PARTITIONS, captured

EVENTS, REJECTED = "usage_events", "rejected_usage_events"
STATUS, CREATED, UPDATED = 13, 14, 15


@pytest.fixture
def world(kafka_bootstrap: str, postgres_dsn: str) -> Captured:
    return captured(kafka_bootstrap, postgres_dsn).copy()


def row_with(world: Captured, table: str, part: str) -> int:
    """The index of the first row whose text has this part."""
    return next(index for index, row in enumerate(world.rows_[table]) if part in row[-1])


def change_text(world: Captured, table: str, part: str, before: str, after: str) -> dict[str, Any]:
    index = row_with(world, table, part)
    row = world.rows_[table][index]
    assert before in row[-1]
    world.rows_[table][index] = (*row[:-1], row[-1].replace(before, after))
    return {"id": row[0]}


def delete_a_copied_event(world: Captured) -> dict[str, Any]:
    return {"id": world.rows_[EVENTS].pop(row_with(world, EVENTS, "tokens#n3"))[0], "partition": HOME}


def change_a_digit_of_a_copied_quantity(world: Captured) -> dict[str, Any]:
    return change_text(world, EVENTS, "tokens#n3", "3000003.000000", "3000003.000001")


def move_a_copied_event_by_a_microsecond(world: Captured) -> dict[str, Any]:
    return change_text(world, EVENTS, "tokens#n3", "2026-01-15T12:00:00.000000Z", "2026-01-15T12:00:00.000001Z")


def show_a_voided_event_as_recorded(world: Captured) -> dict[str, Any]:
    return change_text(world, EVENTS, "tokens#n5", "VOIDED", "RECORDED")


def give_a_copied_event_to_another_subscription(world: Captured) -> dict[str, Any]:
    where = change_text(world, EVENTS, "tokens#n3", NEAR, "another")
    index = row_with(world, EVENTS, "tokens#n3")
    world.rows_[EVENTS][index] = (where["id"], "another", *world.rows_[EVENTS][index][2:])
    return where


def bill_a_copied_event_in_another_sequence(world: Captured) -> dict[str, Any]:
    index = row_with(world, EVENTS, "tokens#n3")
    event_id, subscription_id, sequence, text = world.rows_[EVENTS][index]
    world.rows_[EVENTS][index] = (event_id, subscription_id, sequence + 1, text)
    return {"id": event_id}


def forget_the_sequence_of_a_voided_event(world: Captured) -> dict[str, Any]:
    """Its void does not know it, and the record before does."""
    index = row_with(world, EVENTS, "tokens#n5")
    event_id, subscription_id, sequence, text = world.rows_[EVENTS][index]
    assert sequence is not None
    world.rows_[EVENTS][index] = (event_id, subscription_id, None, text)
    return {"id": event_id}


def make_a_copied_event_up(world: Captured) -> dict[str, Any]:
    _, subscription_id, sequence, text = world.rows_[EVENTS][row_with(world, EVENTS, "tokens#n3")]
    world.rows_[EVENTS].append(("ue_0_99999", subscription_id, sequence, text))
    return {"id": "ue_0_99999"}


def make_a_copied_event_up_that_has_no_place(world: Captured) -> dict[str, Any]:
    world.rows_[EVENTS].append(("made-up", *world.rows_[EVENTS][0][1:]))
    return {"id": "made-up"}


def delete_a_copied_rejection(world: Captured) -> dict[str, Any]:
    return {"id": world.rows_[REJECTED].pop(row_with(world, REJECTED, "invoice_closed"))[0]}


def change_a_byte_of_a_copied_rejection(world: Captured) -> dict[str, Any]:
    """The value is in its text as a hash."""
    text = world.rows_[REJECTED][row_with(world, REJECTED, "invoice_closed")][-1]
    digest = json.loads(text)[-1]
    return change_text(world, REJECTED, "invoice_closed", digest, ("0" if digest[0] != "0" else "1") + digest[1:])


def give_a_copied_rejection_another_reason(world: Captured) -> dict[str, Any]:
    return change_text(world, REJECTED, "invoice_closed", "invoice_closed", "invoice_not_found")


def hide_whose_a_copied_rejection_is(world: Captured) -> dict[str, Any]:
    return change_text(world, REJECTED, "invoice_closed", '"svc"', "null")


def make_a_copied_rejection_up(world: Captured) -> dict[str, Any]:
    world.rows_[REJECTED].append(("uc_0_99999", *world.rows_[REJECTED][-1][1:]))
    return {"id": "uc_0_99999"}


CHANGES: list[tuple[Change, Check]] = [
    (delete_a_copied_event, Check.USAGE_EVENTS),
    (change_a_digit_of_a_copied_quantity, Check.USAGE_EVENTS),
    (move_a_copied_event_by_a_microsecond, Check.USAGE_EVENTS),
    (show_a_voided_event_as_recorded, Check.USAGE_EVENTS),
    (give_a_copied_event_to_another_subscription, Check.USAGE_EVENTS),
    (bill_a_copied_event_in_another_sequence, Check.USAGE_EVENTS),
    (forget_the_sequence_of_a_voided_event, Check.USAGE_EVENTS),
    (make_a_copied_event_up, Check.USAGE_EVENTS),
    (make_a_copied_event_up_that_has_no_place, Check.USAGE_EVENTS),
    (delete_a_copied_rejection, Check.REJECTED_COPIES),
    (change_a_byte_of_a_copied_rejection, Check.REJECTED_COPIES),
    (give_a_copied_rejection_another_reason, Check.REJECTED_COPIES),
    (hide_whose_a_copied_rejection_is, Check.REJECTED_COPIES),
    (make_a_copied_rejection_up, Check.REJECTED_COPIES),
]


@pytest.mark.parametrize(("change", "check"), CHANGES, ids=lambda value: getattr(value, "__name__", value))
def test_one_change_turns_the_audit_red_at_its_place(world: Captured, change: Change, check: Check) -> None:
    assert_found(world, change(world), check)


def never_copied(world: Captured) -> None:
    assert world.cut is not None
    world.cut = replace(
        world.cut,
        copied={
            place: offset
            for place, offset in world.cut.copied.items()
            if place[1] not in (Topic.ACCEPTED_USAGE, Topic.REJECTED_USAGE)
        },
    )
    world.rows_[EVENTS], world.rows_[REJECTED] = [], []


def copied_before_the_void_and_compacted_since(world: Captured) -> None:
    """The row is of a record that is gone, and what is there was not copied yet."""
    place, index = world.find(Topic.ACCEPTED_USAGE, eventKey="tokens#n5", status="VOIDED")
    records = world.records[place]
    assert index == len(records) - 1
    assert world.cut is not None
    world.cut.copied["projector", Topic.ACCEPTED_USAGE, place[1]] = records[index].offset
    world.records[place] = [record for record in records[:-1] if record.key != records[index].key] + records[-1:]
    at = row_with(world, EVENTS, "tokens#n5")
    fields = json.loads(world.rows_[EVENTS][at][-1])
    fields[STATUS], fields[UPDATED] = "RECORDED", fields[CREATED]
    world.rows_[EVENTS][at] = (*world.rows_[EVENTS][at][:-1], json.dumps(fields))


def copied_after_compaction(world: Captured) -> None:
    """Only the void was copied, which does not know the sequence."""
    place, _ = world.find(Topic.ACCEPTED_USAGE, eventKey="tokens#n5", status="RECORDED")
    of_event = {record.offset for record in world.records[place] if record.document["eventKey"] == "tokens#n5"}
    world.records[place] = [r for r in world.records[place] if r.offset not in of_event or r.offset == max(of_event)]
    forget_the_sequence_of_a_voided_event(world)


def half_of_what_was_rejected_is_deleted(world: Captured) -> None:
    for partition in range(PARTITIONS):
        records = world.records[Topic.REJECTED_USAGE, partition]
        world.beginnings[Topic.REJECTED_USAGE, partition] = records[len(records) // 2].offset


@pytest.mark.parametrize(
    "change",
    [
        never_copied,
        copied_before_the_void_and_compacted_since,
        copied_after_compaction,
        half_of_what_was_rejected_is_deleted,
    ],
)
def test_what_can_not_be_compared_is_no_disagreement(world: Captured, change: Any) -> None:
    change(world)
    report = world.audit()
    assert report.agrees, report.findings.kept
    is_compared = change is not never_copied
    assert [bool(report.findings.compared[check]) for check in (Check.USAGE_EVENTS, Check.REJECTED_COPIES)] == [
        is_compared
    ] * 2


def test_a_newer_row_without_a_record_is_found_although_older_ones_may_have_lost_theirs(world: Captured) -> None:
    half_of_what_was_rejected_is_deleted(world)
    index = row_with(world, REJECTED, "invoice_closed")
    _, received_at, text = world.rows_[REJECTED][index]
    world.rows_[REJECTED].append(("uc_0_99999", received_at + 3_600_000_000, text))
    found = world.audit().findings.kept
    assert [(one.check, one.id) for one in found] == [(Check.REJECTED_COPIES, "uc_0_99999")]
