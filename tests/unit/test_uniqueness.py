"""What must never change: an event accepted years ago is recognised by these very bytes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.rules.uniqueness import Place, fingerprint, packed_place
from schemas.billing_period import BillingPeriod
from schemas.service import EventKeyScope
from schemas.unique_key import unique_key
from schemas.usage_event import UsageEvent, parse_usage_event
from tests.unit.world import ms, usage

PERIOD = BillingPeriod(ms("2026-01-01T00:00:00Z"), ms("2026-02-01T00:00:00Z"))
NEXT_PERIOD = BillingPeriod(ms("2026-02-01T00:00:00Z"), ms("2026-03-01T00:00:00Z"))
SUBSCRIPTION, OF_PERIOD, EVENT = EventKeyScope.SUBSCRIPTION, EventKeyScope.PERIOD, EventKeyScope.EVENT


def event(**fields: Any) -> UsageEvent:
    parsed = parse_usage_event(usage(**fields))
    assert isinstance(parsed, UsageEvent)
    return parsed


@pytest.mark.parametrize(
    ("fields", "scope", "key"),
    [
        ({}, SUBSCRIPTION, '["sub","call#1"]'),
        ({"eventId": "e"}, SUBSCRIPTION, '["sub","call#1"]'),
        ({"subscriptionId": '"', "eventKey": '","'}, SUBSCRIPTION, '["\\"","\\",\\""]'),
        ({"subscriptionId": "東", "eventKey": "\\"}, SUBSCRIPTION, '["東","\\\\"]'),
        ({"eventId": "e"}, OF_PERIOD, '["sub","call#1","2026-01-01T00:00:00.000Z"]'),
        ({"eventId": 'e"'}, EVENT, '["sub","call#1","e\\""]'),
    ],
)
def test_unique_key(fields: dict[str, str], scope: EventKeyScope, key: str) -> None:
    assert unique_key(event(**fields), scope, PERIOD) == key.encode()


def test_only_the_scope_period_tells_periods_apart() -> None:
    same = [unique_key(event(eventId="e"), scope, PERIOD) for scope in EventKeyScope]
    later = [unique_key(event(eventId="e"), scope, NEXT_PERIOD) for scope in EventKeyScope]
    assert [a == b for a, b in zip(same, later, strict=True)] == [scope is not OF_PERIOD for scope in EventKeyScope]


texts = st.text('ab",[]\\', min_size=1, max_size=4)


@given(texts, texts, texts, texts)
def test_different_pairs_have_different_keys(subscription: str, key: str, subscription_2: str, key_2: str) -> None:
    one = UsageEvent("ai", subscription, "ada", key, 0)
    other = UsageEvent("ai", subscription_2, "ada", key_2, 0)
    are_equal = unique_key(one, SUBSCRIPTION, PERIOD) == unique_key(other, SUBSCRIPTION, PERIOD)
    assert are_equal == ((subscription, key) == (subscription_2, key_2))


@pytest.mark.parametrize(
    ("fields", "is_identical"),
    [
        ({}, True),
        ({"quantity": 1}, True),
        ({"quantity": "1.000"}, True),  # by value
        ({"quantity": "10e-1"}, True),
        ({"userId": " ada "}, True),
        ({"occurredAt": None, "invoiceId": None, "eventId": None}, True),  # omitted equals omitted
        ({"unknown": "field"}, True),
        ({"quantity": "1.000001"}, False),
        ({"quantity": "0"}, False),
        ({"serviceId": "ai2"}, False),
        ({"userId": "bob"}, False),
        ({"invoiceId": "inv"}, False),
        ({"eventId": "e"}, False),
        ({"occurredAt": "2026-01-15T12:00:00Z"}, False),  # even where it is the request time
    ],
)
def test_an_identical_repeat(fields: dict[str, Any], is_identical: bool) -> None:
    assert (fingerprint(event(**fields)) == fingerprint(event())) is is_identical


def test_a_time_is_the_same_with_any_offset() -> None:
    at = [fingerprint(event(occurredAt=text)) for text in ("2026-01-15T12:00:00Z", "2026-01-15T13:00:00+01:00")]
    assert at[0] == at[1] != fingerprint(event(occurredAt="2026-01-15T12:00:00.001Z"))


def test_a_value_never_counts_for_its_neighbour() -> None:
    """No two of these differ in nothing but where one field ends and the next begins."""
    values = [
        {"invoiceId": "x"},
        {"eventId": "x"},
        {"userId": "ada1"},
        {"userId": "ada", "quantity": "1"},
        {"serviceId": "ai ada", "userId": "1"},
        {"invoiceId": "a", "eventId": "b"},
        {"invoiceId": "ab"},
        {"eventId": "1768478400000"},
        {"occurredAt": "2026-01-15T12:00:00Z"},
    ]
    assert len({fingerprint(event(**fields)) for fields in values}) == len(values)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "7895336da5fdee502b424a5d55dcb1b9"),
        (
            {"quantity": "5.25", "occurredAt": "2026-01-15T12:00:00Z", "invoiceId": "inv", "eventId": "e"},
            "46d1e2fce92e11597458c66dabe22bfe",
        ),
    ],
)
def test_fingerprint_is_the_one_of_the_first_release(fields: dict[str, Any], expected: str) -> None:
    assert fingerprint(event(**fields)).hex() == expected


def test_place_is_packed_as_in_the_first_release() -> None:
    place = Place(partition=3, offset=2**40 + 5, fingerprint=bytes(range(16)))
    packed = bytes.fromhex("00000003" "0000010000000005" "000102030405060708090a0b0c0d0e0f")  # fmt: skip
    assert packed_place(*place[:3]) == packed
    assert Place.unpack(packed) == place


def test_a_voided_place_differs_in_one_bit_and_keeps_the_rest() -> None:
    place = Place(7, 41, bytes(range(16)))
    packed = place.voided()
    assert packed == bytes([0x80, 0, 0, 7]) + packed_place(*place[:3])[4:]
    assert Place.unpack(packed) == Place(7, 41, bytes(range(16)), is_voided=True)
    assert packed[-16:] == place.fingerprint, "an identical repeat of a voided event is still known as one"
