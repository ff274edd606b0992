import pytest
from pydantic import ValidationError

from schemas.subscription import FINAL_STATUSES, SUBSCRIPTION_TRANSITIONS, Subscription, SubscriptionStatus
from tests.unit.world import History, invoice, ms, subscription

CANCELLED_AT_NOON: History = (("ACTIVE", "2026-01-01T00:00:00Z"), ("CANCELLED", "2026-01-15T12:00:00Z"))
PAUSED: History = (
    ("ACTIVE", "2026-01-01T00:00:00Z"),
    ("PAST_DUE", "2026-01-10T00:00:00Z"),
    ("ACTIVE", "2026-01-20T00:00:00Z"),
    ("EXPIRED", "2026-01-30T00:00:00Z"),
)
NOT_YET_STAMPED: History = (("ACTIVE", "2026-01-01T00:00:00Z"), ("CANCELLED", None))
JUST_PUBLISHED: History = (("ACTIVE", None),)
BORN_PAST_DUE: History = (("PAST_DUE", "2026-01-01T00:00:00Z"), ("ACTIVE", "2026-01-02T00:00:00Z"))
TWICE_IN_A_MILLISECOND: History = (
    ("ACTIVE", "2026-01-01T00:00:00Z"),
    ("PAST_DUE", "2026-01-10T00:00:00Z"),
    ("ACTIVE", "2026-01-10T00:00:00Z"),
)


@pytest.mark.parametrize(
    ("history", "at", "status"),
    [
        (CANCELLED_AT_NOON, "2026-01-15T11:59:59.999Z", "ACTIVE"),
        (CANCELLED_AT_NOON, "2026-01-15T12:00:00.000Z", "CANCELLED"),
        (CANCELLED_AT_NOON, "2030-01-01T00:00:00Z", "CANCELLED"),
        (CANCELLED_AT_NOON, "2025-12-31T23:59:59Z", "ACTIVE"),  # the first reaches back without limit
        (CANCELLED_AT_NOON, "2000-01-01T00:00:00Z", "ACTIVE"),
        (PAUSED, "2026-01-09T23:59:59.999Z", "ACTIVE"),
        (PAUSED, "2026-01-10T00:00:00Z", "PAST_DUE"),
        (PAUSED, "2026-01-19T23:59:59.999Z", "PAST_DUE"),
        (PAUSED, "2026-01-20T00:00:00Z", "ACTIVE"),
        (PAUSED, "2026-01-29T23:59:59.999Z", "ACTIVE"),
        (PAUSED, "2026-01-30T00:00:00Z", "EXPIRED"),
        # The record was appended at noon on the 12th: that stands in for a time not stored yet.
        (NOT_YET_STAMPED, "2026-01-12T11:59:59.999Z", "ACTIVE"),
        (NOT_YET_STAMPED, "2026-01-12T12:00:00Z", "CANCELLED"),
        (JUST_PUBLISHED, "2026-01-12T11:59:59.999Z", "ACTIVE"),
        (JUST_PUBLISHED, "2026-01-12T12:00:00Z", "ACTIVE"),
        (BORN_PAST_DUE, "2025-01-01T00:00:00Z", "PAST_DUE"),
        (BORN_PAST_DUE, "2026-01-02T00:00:00Z", "ACTIVE"),
        (TWICE_IN_A_MILLISECOND, "2026-01-10T00:00:00Z", "ACTIVE"),  # the later one
    ],
)
def test_status_at_a_time_is_that_of_the_last_transition_not_after_it(history: History, at: str, status: str) -> None:
    record_at = "2026-01-12T12:00:00Z"
    assert subscription("sub", history, record_at).status_at(ms(at)) == status
    assert invoice("inv", history, record_at).status_at(ms(at)) == status  # invoices keep their history the same way


@pytest.mark.parametrize(
    ("history", "began_at", "ended_at"),
    [
        (CANCELLED_AT_NOON, "2026-01-01T00:00:00Z", "2026-01-15T12:00:00Z"),
        (PAUSED, "2026-01-01T00:00:00Z", "2026-01-30T00:00:00Z"),
        (PAUSED[:2], "2026-01-01T00:00:00Z", None),  # PAST_DUE is not the end
        (PAUSED[:3], "2026-01-01T00:00:00Z", None),
        (NOT_YET_STAMPED, "2026-01-01T00:00:00Z", "2026-01-12T12:00:00Z"),
        (JUST_PUBLISHED, "2026-01-12T12:00:00Z", None),
    ],
)
def test_life_of_a_subscription(history: History, began_at: str, ended_at: str | None) -> None:
    of_history = subscription("sub", history, "2026-01-12T12:00:00Z")
    assert of_history.began_at == ms(began_at)
    assert of_history.ended_at == (None if ended_at is None else ms(ended_at))


def test_transitions_are_those_of_the_contract() -> None:
    """ACTIVE<->PAST_DUE, either -> CANCELLED|EXPIRED, which are final."""
    allowed = {(status.value, following.value) for status, to in SUBSCRIPTION_TRANSITIONS.items() for following in to}
    assert allowed == {
        ("ACTIVE", "PAST_DUE"),
        ("PAST_DUE", "ACTIVE"),
        ("ACTIVE", "CANCELLED"),
        ("ACTIVE", "EXPIRED"),
        ("PAST_DUE", "CANCELLED"),
        ("PAST_DUE", "EXPIRED"),
    }
    assert {status.value for status in FINAL_STATUSES} == {"CANCELLED", "EXPIRED"}
    assert set(SUBSCRIPTION_TRANSITIONS) == set(SubscriptionStatus)


FEBRUARY, MARCH, MAY = "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z", "2026-05-01T00:00:00Z"


@pytest.mark.parametrize(
    ("changes", "period_start", "plan_id"),
    [
        ([], "2026-02-01T00:00:00Z", "plan"),
        ([("b", FEBRUARY)], "2020-01-01T00:00:00Z", "plan"),
        ([("b", FEBRUARY)], "2026-01-01T00:00:00Z", "plan"),
        ([("b", FEBRUARY)], "2026-01-31T23:59:59.999Z", "plan"),
        ([("b", FEBRUARY)], "2026-02-01T00:00:00Z", "b"),
        ([("b", FEBRUARY)], "2099-01-01T00:00:00Z", "b"),
        ([("b", FEBRUARY), ("c", MARCH)], "2026-02-28T23:59:59.999Z", "b"),
        ([("b", FEBRUARY), ("c", MARCH)], "2026-03-01T00:00:00Z", "c"),
        ([("b", FEBRUARY), ("plan", MARCH)], "2026-03-01T00:00:00Z", "plan"),  # back again
        ([("b", FEBRUARY), ("c", FEBRUARY)], "2026-02-01T00:00:00Z", "c"),  # the later wish
        ([("b", MARCH), ("c", FEBRUARY)], "2026-03-01T00:00:00Z", "c"),  # by a clock that went back
        ([("b", FEBRUARY), ("c", MAY)], "2026-04-01T00:00:00Z", "b"),
    ],
)
def test_plan_of_a_period_is_that_of_the_last_change_not_after_its_start(
    changes: list[tuple[str, str]], period_start: str, plan_id: str
) -> None:
    changed = subscription()
    for number, (to, start) in enumerate(changes, start=2):
        changed = changed.with_plan(to, ms(start))
        assert changed.version == number
    assert changed.plan_id_at(ms(period_start)) == plan_id
    again = Subscription.of_record(changed.wire(), ms("2026-01-01T00:00:00Z"))  # as workers read it
    assert again.plan_id_at(ms(period_start)) == plan_id
    starts = [change["from"] for change in changed.wire()["planChanges"]]
    assert starts == sorted(set(starts))
    assert plan_id in changed.plan_ids
    assert changed.plan_ids[0] == "plan"


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "UTC+1"])
def test_a_subscription_has_an_iana_time_zone(zone: str) -> None:
    with pytest.raises(ValidationError, match=r"IANA time zone|must not be blank"):
        subscription(timeZone=zone)
    assert subscription(timeZone="Europe/Berlin").time_zone == "Europe/Berlin"


@pytest.mark.parametrize(
    ("history", "now", "expected"),
    [
        (PAUSED, "2026-01-12T00:00:00Z", "2026-01-12T00:00:00Z"),
        (PAUSED, "2026-01-29T23:59:59.999Z", "2026-01-29T23:59:59.999Z"),
        (PAUSED, "2026-01-30T00:00:00Z", "2026-01-29T23:59:59.999Z"),  # it ended then, and was not any more
        (PAUSED, "2030-01-01T00:00:00Z", "2026-01-29T23:59:59.999Z"),
        (BORN_PAST_DUE, "2030-01-01T00:00:00Z", "2030-01-01T00:00:00Z"),
        ((("EXPIRED", "2026-01-01T00:00:00Z"),), "2030-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
    ],
)
def test_a_subscription_that_ended_stays_where_its_life_did(history: History, now: str, expected: str) -> None:
    assert subscription("sub", history).latest_at(ms(now)) == ms(expected)
