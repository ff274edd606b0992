"""Verdicts as tables: one row an event, the expected outcome last (contract section 1, rules 1-5 and 7)."""

import json
from copy import deepcopy
from typing import Any

import pytest

from aggregator.rules.deciding import decide
from aggregator.rules.verdicts import Accepted, Decisions
from schemas.rejection import Reason
from schemas.timestamps import timestamp_text
from schemas.topics import partition_of
from tests.unit.world import (
    ACCEPTED,
    NOON,
    ONE,
    LogRecord,
    World,
    ms,
    rejection_of,
    usage,
)


def accepted_of(world: World, at: int, **fields: Any) -> Accepted:
    [accepted] = world.decide(world.records((at, usage(**fields)))).accepted
    return accepted


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({}, ACCEPTED),
        ({"quantity": "0"}, ACCEPTED),
        ({"quantity": "99999999999999.999999"}, ACCEPTED),
        ({"eventKey": "calls"}, ACCEPTED),
        ({"unknown": {"field": [1]}}, ACCEPTED),
        # Shape: the table of schemas has all of it.
        ({"quantity": "-1"}, "decimal_negative"),
        ({"eventKey": ""}, "field_invalid"),
        ({"userId": None}, "field_required"),
        ({"occurredAt": "noon"}, "timestamp_invalid"),
        ({"serviceId": "by-event", "subscriptionId": "by-event"}, "field_required"),
        ({"serviceId": "by-event", "subscriptionId": "by-event", "eventId": "e"}, ACCEPTED),
        ({"eventId": "ignored"}, ACCEPTED),
        # Existence and ownership (rule 1).
        ({"serviceId": "nobodys"}, "service_not_found"),
        ({"subscriptionId": "nobodys"}, "subscription_not_found"),
        ({"serviceId": "hourly"}, "subscription_mismatch"),
        ({"userId": "bob"}, "subscription_mismatch"),
        ({"subscriptionId": "bobs"}, "subscription_mismatch"),
        ({"subscriptionId": "bobs", "userId": "bob"}, ACCEPTED),
        ({"userId": "Ada"}, "subscription_mismatch"),
        # Links to invoices (rule 3).
        ({"invoiceId": "open"}, ACCEPTED),
        ({"invoiceId": "draft"}, ACCEPTED),
        ({"invoiceId": "open", "subscriptionId": "sub2"}, ACCEPTED),  # another subscription of hers
        ({"invoiceId": "nobodys"}, "invoice_not_found"),
        ({"invoiceId": "bobs"}, "invoice_mismatch"),
        ({"invoiceId": "of-hourly"}, "invoice_mismatch"),
        ({"invoiceId": "of-hourly-paid"}, "invoice_mismatch"),
        ({"invoiceId": "expired"}, "invoice_closed"),
        # When it occurred (rule 7).
        ({"occurredAt": "2026-01-15T12:05:00.000Z"}, ACCEPTED),
        ({"occurredAt": "2026-01-15T12:05:00.001Z"}, "occurred_at_in_future"),
        ({"occurredAt": "2000-01-01T00:00:00Z"}, ACCEPTED),  # backfill of any age
        ({"serviceId": "hourly", "subscriptionId": "hourly"}, ACCEPTED),
        ({"serviceId": "hourly", "subscriptionId": "hourly", "occurredAt": "2026-01-15T11:00:00.000Z"}, ACCEPTED),
        (
            {"serviceId": "hourly", "subscriptionId": "hourly", "occurredAt": "2026-01-15T10:59:59.999Z"},
            "occurred_at_too_old",
        ),
    ],
)
def test_an_event_at_noon(world: World, fields: dict[str, Any], outcome: str) -> None:
    assert world.process((NOON, usage(**fields))) == [outcome]


@pytest.mark.parametrize(
    ("fields", "at", "outcome"),
    [
        # The request is what counts: however late the batch is read, the catalog already knows of noon.
        ({"subscriptionId": "cancelled-at-noon"}, NOON - 1, ACCEPTED),
        ({"subscriptionId": "cancelled-at-noon"}, NOON, "subscription_not_active"),
        ({"subscriptionId": "past-due-at-noon"}, NOON - 1, ACCEPTED),
        ({"subscriptionId": "past-due-at-noon"}, NOON, "subscription_not_active"),
        ({"subscriptionId": "born-past-due"}, NOON, "subscription_not_active"),
        ({"subscriptionId": "back-at-noon"}, NOON - 1, "subscription_not_active"),
        ({"subscriptionId": "back-at-noon"}, NOON, ACCEPTED),
        ({"subscriptionId": "back-at-noon"}, ms("2026-01-09T23:59:59.999Z"), ACCEPTED),
        ({"subscriptionId": "not-yet-stamped"}, NOON - 1, ACCEPTED),
        ({"subscriptionId": "not-yet-stamped"}, NOON, "subscription_not_active"),
        # occurredAt counts for nothing here.
        (
            {"subscriptionId": "cancelled-at-noon", "occurredAt": "2026-01-14T00:00:00Z"},
            NOON,
            "subscription_not_active",
        ),
        ({"subscriptionId": "cancelled-at-noon", "occurredAt": "2026-01-15T12:01:00Z"}, NOON - 1, ACCEPTED),
        ({"subscriptionId": "back-at-noon", "occurredAt": "2026-01-12T00:00:00Z"}, NOON, ACCEPTED),
        ({"invoiceId": "paid-at-noon", "occurredAt": "2026-01-14T00:00:00Z"}, NOON, "invoice_closed"),
        ({"invoiceId": "paid-at-noon", "occurredAt": "2026-01-15T12:01:00Z"}, NOON - 1, ACCEPTED),
        ({"invoiceId": "paid-at-noon"}, NOON - 1, ACCEPTED),
        ({"invoiceId": "paid-at-noon"}, NOON, "invoice_closed"),
        ({"invoiceId": "void-at-noon"}, NOON - 1, ACCEPTED),
        ({"invoiceId": "void-at-noon"}, NOON, "invoice_closed"),
    ],
)
def test_status_is_that_at_the_time_of_the_request(world: World, fields: dict[str, Any], at: int, outcome: str) -> None:
    assert world.process((at, usage(**fields))) == [outcome]


FAULTS: list[tuple[dict[str, Any], str]] = [
    # contract section 2: shape, existence, ownership, state, age
    ({"quantity": "-1"}, "decimal_negative"),
    ({"serviceId": "by-event"}, "field_required"),  # its scope requires an eventId: of shape, once the service is known
    ({"subscriptionId": "nobodys"}, "subscription_not_found"),
    ({"invoiceId": "nobodys"}, "invoice_not_found"),
    ({"userId": "bob"}, "subscription_mismatch"),
    ({"invoiceId": "bobs"}, "invoice_mismatch"),
    ({"subscriptionId": "cancelled-at-noon"}, "subscription_not_active"),
    ({"invoiceId": "expired"}, "invoice_closed"),
    ({"occurredAt": "2030-01-01T00:00:00Z"}, "occurred_at_in_future"),
]


@pytest.mark.parametrize(
    ("first", "then", "code"),
    [
        pytest.param(first, then, code, id=f"{code} before {later}")
        for number, (first, code) in enumerate(FAULTS)
        for then, later in FAULTS[number + 1 :]
        if not set(first) & set(then)  # a field has one fault at a time
    ],
)
def test_of_two_faults_the_one_that_stands_first_in_the_contract_answers(
    world: World, first: dict[str, Any], then: dict[str, Any], code: str
) -> None:
    assert world.process((NOON, usage(**first, **then))) == [code]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"serviceId": "nobodys", "subscriptionId": "nobodys", "invoiceId": "nobodys"}, "service_not_found"),
        ({"serviceId": "nobodys", "userId": "bob"}, "service_not_found"),
        (
            {"serviceId": "hourly", "subscriptionId": "hourly-cancelled", "occurredAt": "2026-01-15T10:00:00Z"},
            "subscription_not_active",
        ),
        (
            {
                "serviceId": "hourly",
                "subscriptionId": "hourly",
                "invoiceId": "of-hourly-paid",
                "occurredAt": "2026-01-15T10:00:00Z",
            },
            "invoice_closed",
        ),
    ],
)
def test_further_precedence(world: World, fields: dict[str, Any], code: str) -> None:
    assert world.process((NOON, usage(**fields))) == [code]


@pytest.mark.parametrize(
    ("subscription_id", "status"), [("cancelled-at-noon", "CANCELLED"), ("past-due-at-noon", "PAST_DUE")]
)
def test_a_refusal_by_status_says_which(world: World, subscription_id: str, status: str) -> None:
    rejection = rejection_of(world, NOON, usage(subscriptionId=subscription_id))
    assert (rejection.field, rejection.extra) == ("subscriptionId", {"currentStatus": status})


def test_a_missing_event_id_is_told_like_every_error_of_shape(world: World) -> None:
    rejection = rejection_of(world, NOON, usage(serviceId="by-event", subscriptionId="by-event"))
    assert rejection.field == "eventId"
    assert rejection.error == "eventId is required by this service's eventKeyScope EVENT."
    assert [(error.field, error.sentence) for error in rejection.details] == [("eventId", rejection.error)]


@pytest.mark.parametrize("value", [None, b"", b"hello", b"[]", b'{"serviceId":"ai"', b"\xff\xfe", b"{}", b"x" * 70_000])
def test_what_is_no_event_is_rejected_and_hurts_no_neighbour(world: World, value: bytes | None) -> None:
    found = world.process((NOON, usage()), (NOON, value), (NOON, usage(eventKey="call#2")))
    assert found[0] == found[2] == ACCEPTED
    assert found[1] in {"invalid_body", "field_required", "body_too_large"}


def test_verdicts_are_in_the_order_of_the_log(world: World) -> None:
    records = world.records(
        (NOON, usage()),
        (NOON, usage()),  # refused by uniqueness
        (NOON, b"hello"),  # by shape
        (NOON, usage(eventKey="call#2")),
        (NOON, usage(subscriptionId="cancelled-at-noon")),  # by state
        (NOON, usage(serviceId="nobodys")),  # by existence
    )
    decisions = world.decide(records)
    assert [accepted.record.offset for accepted in decisions.accepted] == [0, 3]
    assert [rejected.record.offset for rejected in decisions.rejected] == [1, 2, 4, 5]
    assert decisions.duplicates == 1


@pytest.mark.parametrize("subscription_id", ["sub", "bobs", "nobodys"])
def test_an_event_counts_in_the_partition_of_its_subscription_alone(world: World, subscription_id: str) -> None:
    """The partition comes before existence: only there is it known. In every other the event is sent on, to it."""
    record = LogRecord(0, NOON, usage(subscriptionId=subscription_id, serviceId="nobodys"))
    home = partition_of(subscription_id, 8)
    for partition in range(8):
        decisions = decide([record], partition, 8, world.tables, world.catalog)
        if partition == home:
            [rejected] = decisions.rejected
            assert (rejected.rejection.reason, decisions.forwarded) == (Reason.SERVICE_NOT_FOUND, [])
        else:
            assert (decisions.rejected, decisions.forwarded) == ([], [(record, home)])


def test_what_is_malformed_is_refused_where_it_arrives(world: World) -> None:
    """It names no subscription that could be trusted."""
    for partition in range(8):
        decisions = decide([LogRecord(0, NOON, b"{}")], partition, 8, world.tables, world.catalog)
        assert (len(decisions.rejected), decisions.forwarded) == (1, [])


@pytest.mark.parametrize(
    ("sent", "occurred_at", "period_start"),
    [
        (None, NOON, "2026-01-01T00:00:00Z"),  # the default is the time of the request
        ("2026-01-15T12:00:00Z", NOON, "2026-01-01T00:00:00Z"),
        ("2026-01-01T00:00:00.000Z", ms("2026-01-01T00:00:00Z"), "2026-01-01T00:00:00Z"),
        ("2025-12-31T23:59:59.999Z", ms("2025-12-31T23:59:59.999Z"), "2025-12-01T00:00:00Z"),
        ("2000-01-05T00:00:00Z", ms("2000-01-05T00:00:00Z"), "2000-01-01T00:00:00Z"),
    ],
)
def test_an_event_is_of_the_period_in_which_it_occurred(
    world: World, sent: str | None, occurred_at: int, period_start: str
) -> None:
    event = json.loads(accepted_of(world, NOON, occurredAt=sent).value)
    occurred = timestamp_text(occurred_at)
    assert (event["occurredAt"], event["billingPeriod"]["start"]) == (occurred, timestamp_text(ms(period_start)))
    assert (event["createdAt"], event["sentOccurredAt"]) == (timestamp_text(NOON), None if sent is None else occurred)


@pytest.mark.parametrize(
    ("event_key", "meter"), [("call#1", "call"), ("call", "call"), ("#call", "#call"), ("call#1#2", "call")]
)
def test_an_event_counts_for_the_meter_of_its_key(world: World, event_key: str, meter: str) -> None:
    world.process((NOON, usage(eventKey=event_key, quantity="2.5")))
    assert {name: total.quantity for (_, _, name), total in world.tables.totals.items()} == {meter: 2_500_000}


def test_an_accepted_event_carries_what_it_was_judged_by(world: World) -> None:
    world.process((NOON, usage(eventKey="other")))
    accepted = accepted_of(world, NOON - 1, subscriptionId="cancelled-at-noon")
    assert accepted.key == b'["cancelled-at-noon","call#1"]'
    event = json.loads(accepted.value)
    assert (event["partition"], event["offset"], event["catalogVersion"]) == (0, 1, 2)
    assert accepted.place[-16:].hex() == event["fingerprint"]


def test_deciding_changes_nothing_and_answers_the_same_again(world: World) -> None:
    world.process((NOON, usage(quantity="7")), (NOON, usage(eventKey="call#2")))
    records = world.records(
        (NOON, usage(quantity="7")), (NOON, usage(eventKey="call#3")), (NOON, usage(eventKey="call#3")), (NOON, b"{")
    )
    tables, catalog = deepcopy(world.tables), deepcopy(world.catalog.services)
    first, second = world.decide(records), world.decide(records)
    assert first == second
    assert first.totals["sub", ms("2026-01-01T00:00:00Z"), "call"].quantity == 9 * ONE
    assert (world.tables, world.catalog.services) == (tables, catalog)


def test_a_batch_of_nothing_changes_nothing(world: World) -> None:
    assert world.decide([]) == Decisions()
