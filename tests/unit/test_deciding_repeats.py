"""What repeats answer, as stories: one row an event, in the order of the log, the outcome last (contract rule 4)."""

from typing import Any

import pytest

from aggregator.rules.verdicts import Decisions
from schemas.position import Counts
from tests.unit.world import ACCEPTED, DUPLICATE, HOUR, IDENTICAL, MINUTE, NOON, World, ms, rejection_of, usage

SINGLE_BATCH, SLICES, EACH_ITS_OWN = "in one batch", "in slices of one batch", "each in its own batch"
OLD = {"serviceId": "hourly", "subscriptionId": "hourly", "occurredAt": "2026-01-15T11:30:00Z"}
BY_PERIOD = {"serviceId": "by-period", "subscriptionId": "by-period"}
BY_EVENT = {"serviceId": "by-event", "subscriptionId": "by-event"}
FEBRUARY = ms("2026-02-01T00:00:00Z")


@pytest.mark.parametrize("batches", [SINGLE_BATCH, SLICES, EACH_ITS_OWN])
@pytest.mark.parametrize(
    "story",
    [
        pytest.param(
            [
                (NOON, {}, ACCEPTED),
                (NOON, {}, IDENTICAL),
                (NOON + HOUR, {"quantity": "1.00"}, IDENTICAL),
                (NOON, {"quantity": "2"}, DUPLICATE),
                (NOON, {"quantity": "2"}, DUPLICATE),  # what was refused takes nothing
                (NOON, {"occurredAt": "2026-01-15T12:00:00Z"}, DUPLICATE),  # omitted is not equal to sent
                (NOON, {"invoiceId": "open"}, DUPLICATE),
                (NOON, {"eventId": "e"}, DUPLICATE),
                (NOON, {"eventKey": "call#2"}, ACCEPTED),
                (NOON, {"eventKey": "Call#1"}, ACCEPTED),
                (NOON, {"subscriptionId": "sub2"}, ACCEPTED),
                (NOON + 365 * 24 * HOUR, {}, IDENTICAL),  # for ever
            ],
            id="each pair counts once",
        ),
        pytest.param(
            [
                (NOON - 2, {"subscriptionId": "cancelled-at-noon"}, ACCEPTED),
                (NOON, {"subscriptionId": "cancelled-at-noon"}, IDENTICAL),  # its first copy counted
                (NOON, {"subscriptionId": "cancelled-at-noon", "quantity": "2"}, "subscription_not_active"),
                (NOON - 1, {"subscriptionId": "cancelled-at-noon", "quantity": "2"}, DUPLICATE),
            ],
            id="an identical repeat is judged before the subscription's state, another one after it",
        ),
        pytest.param(
            [
                (NOON - 2, {"invoiceId": "paid-at-noon"}, ACCEPTED),
                (NOON, {"invoiceId": "paid-at-noon"}, IDENTICAL),
                (NOON, {"invoiceId": "paid-at-noon", "quantity": "2"}, "invoice_closed"),
                (NOON, {"quantity": "2"}, DUPLICATE),
            ],
            id="an identical repeat is judged before the invoice's state",
        ),
        pytest.param(
            [
                (NOON, OLD, ACCEPTED),
                (NOON + 2 * HOUR, OLD, IDENTICAL),
                (NOON + 2 * HOUR, {**OLD, "quantity": "2"}, "occurred_at_too_old"),
                (NOON, {**OLD, "quantity": "2"}, DUPLICATE),
            ],
            id="an identical repeat is judged before its age",
        ),
        pytest.param(
            [
                (NOON, {"occurredAt": "2026-01-15T12:05:00Z"}, ACCEPTED),
                (NOON - MINUTE, {"occurredAt": "2026-01-15T12:05:00Z"}, IDENTICAL),  # the broker's clock went back
                (NOON - MINUTE, {"occurredAt": "2026-01-15T12:05:00Z", "quantity": "2"}, "occurred_at_in_future"),
            ],
            id="an identical repeat is judged before the future",
        ),
        pytest.param(
            [
                (NOON, {"subscriptionId": "cancelled-at-noon"}, "subscription_not_active"),
                (NOON - 1, {"subscriptionId": "cancelled-at-noon"}, ACCEPTED),
                (NOON, {"subscriptionId": "cancelled-at-noon"}, IDENTICAL),
            ],
            id="a refused event takes no key",
        ),
        pytest.param(
            [
                (NOON, BY_PERIOD, ACCEPTED),
                (FEBRUARY - 1, BY_PERIOD, IDENTICAL),
                (FEBRUARY, BY_PERIOD, ACCEPTED),
                (FEBRUARY, {**BY_PERIOD, "quantity": "2"}, DUPLICATE),
                (FEBRUARY, {**BY_PERIOD, "occurredAt": "2026-01-31T23:59:59.999Z"}, DUPLICATE),
                (FEBRUARY, {**BY_PERIOD, "occurredAt": "2025-12-31T23:59:59.999Z"}, ACCEPTED),
            ],
            id="scope PERIOD: once in each period of occurredAt",
        ),
        pytest.param(
            [
                (NOON, {**BY_EVENT, "eventId": "e1"}, ACCEPTED),
                (NOON, {**BY_EVENT, "eventId": "e2"}, ACCEPTED),
                (NOON, {**BY_EVENT, "eventId": "e1"}, IDENTICAL),
                (FEBRUARY, {**BY_EVENT, "eventId": "e1", "quantity": "2"}, DUPLICATE),
                (NOON, {**BY_EVENT, "eventId": "e1", "eventKey": "call#2"}, ACCEPTED),
                (NOON, BY_EVENT, "field_required"),
            ],
            id="scope EVENT: once for each eventId",
        ),
    ],
)
def test_story(world: World, story: list[tuple[int, dict[str, Any], str]], batches: str) -> None:
    appended = [(at, usage(**fields)) for at, fields, _ in story]
    if batches == EACH_ITS_OWN:
        found = [world.process(one)[0] for one in appended]
    else:
        found = world.process(*appended) if batches == SINGLE_BATCH else world.process_in_slices(*appended)
    assert found == [outcome for _, _, outcome in story]


def test_a_duplicate_shows_the_first(world: World) -> None:
    world.process((NOON, usage(eventKey="other")), (NOON, usage()))
    identical = rejection_of(world, NOON + HOUR, usage())
    different = rejection_of(world, NOON + HOUR, usage(quantity="2"))
    assert (identical.field, identical.extra) == ("eventKey", {"identical": True, "existingId": "ue_0_1"})
    assert (different.field, different.extra) == ("eventKey", {"identical": False, "existingId": "ue_0_1"})


def test_slices_of_a_batch_come_to_what_the_batch_comes_to(world: World) -> None:
    appended = [(NOON + n, usage(eventKey=f"call#{n % 7}", quantity=str(n), eventId=f"{n % 3}")) for n in range(40)]
    records = world.records(*appended)
    whole, slices = world.decide(records), Decisions()
    for number in range(0, len(records), 9):
        assert world.decide(records[number : number + 9], slices) is slices
    assert slices == whole
    slices.forget_verdicts()
    assert slices.counts() == Counts(0, 0, 0)
    assert (slices.totals, slices.periods, slices.taken) == (whole.totals, whole.periods, whole.taken)
