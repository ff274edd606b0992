"""Which records a recount of one subscription reads: all that can charge it, however they are spelled."""

import json
from typing import Any

import pytest

from aggregator.audit.selection import Selection
from schemas.topics import Topic

EVENT = {"serviceId": "svc", "subscriptionId": "sub", "userId": "user", "eventKey": "tokens#1", "quantity": "1"}
VOID = {"id": "ue_0_1", "uniqueKey": ["sub", "tokens#1"], "reason": "sent by mistake"}


def body(document: Any) -> bytes:
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("topic", "value", "is_held"),
    [
        (Topic.USAGE_EVENTS, body(EVENT), True),
        (Topic.USAGE_FORWARDED, body(EVENT), True),
        (Topic.USAGE_EVENTS, body({**EVENT, "subscriptionId": " sub "}), True),
        (Topic.USAGE_EVENTS, body(EVENT).replace(b'"sub"', b'"\\u0073ub"'), True),
        (Topic.USAGE_EVENTS, body({**EVENT, "subscriptionId": "sub_2"}), False),
        (Topic.USAGE_EVENTS, body({**EVENT, "subscriptionId": "SUB"}), False),
        (Topic.USAGE_EVENTS, body({**EVENT, "subscriptionId": "another", "userId": "sub"}), False),
        (Topic.USAGE_EVENTS, body({**EVENT, "quantity": "-1"}), False),  # it counts for nobody
        (Topic.USAGE_EVENTS, b"sub", False),
        (Topic.USAGE_EVENTS, None, False),
        (Topic.USAGE_CORRECTIONS, body(VOID), True),
        (Topic.USAGE_CORRECTIONS, body({**VOID, "uniqueKey": [" sub ", "tokens#1"]}), True),
        (Topic.USAGE_CORRECTIONS, body({**VOID, "uniqueKey": ["another", "sub"]}), False),
        (Topic.USAGE_CORRECTIONS, body({**VOID, "uniqueKey": "sub"}), False),
        (Topic.USAGE_CORRECTIONS, body({**VOID, "uniqueKey": []}), False),
        (Topic.USAGE_CORRECTIONS, body(["sub"]), False),
        (Topic.USAGE_CORRECTIONS, body(EVENT), False),
    ],
)
def test_a_record_is_of_the_subscription_that_it_would_charge(topic: Topic, value: bytes | None, is_held: bool) -> None:
    assert Selection("sub").holds(topic, value) is is_held


@pytest.mark.parametrize(
    ("subscription_id", "key", "is_held"),
    [
        ("sub", b'["sub","tokens#1"]', True),
        ("sub", b'["sub","2026-01-01T00:00:00.000Z",0,0]', True),
        ("sub", b'["sub_2","tokens#1"]', False),
        ("sub", b'["another","sub"]', False),
        ("sub", b"sub", False),
        ("sub", None, False),
        ('a "b" \\ ü', '["a \\"b\\" \\\\ ü","tokens"]'.encode(), True),
    ],
)
def test_a_key_is_of_whom_it_begins_with(subscription_id: str, key: bytes | None, is_held: bool) -> None:
    assert Selection(subscription_id).holds_key(key) is is_held
