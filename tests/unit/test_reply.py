"""The way back: who may be answered, and that an answer says what the worker decided."""

import json
from typing import Any

import pytest

from schemas.rejection import FieldError, Reason, Rejection
from schemas.reply import (
    Repeated,
    ReplyAddress,
    accepted_reply,
    rejected_reply,
    repeated_reply,
    reply_address,
    verdict_of,
)
from schemas.usage_event import shown_usage_event

ACCEPTED = (
    b'{"id":"ue_0_1","eventKey":"a,\\"partition\\":7","quantity":"1.000000","updatedAt":"2026-01-01T00:00:00.000Z"'
    b',"partition":0,"offset":1,"fingerprint":"00","catalogVersion":1,"sequence":0,"sentOccurredAt":null}'
)
SHOWN = b'{"id":"ue_0_1","eventKey":"a,\\"partition\\":7","quantity":"1.000000","updatedAt":"2026-01-01T00:00:00.000Z"}'


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ([("reply-to", b"0"), ("correlation-id", b"x")], ReplyAddress(0, b"x")),
        ([("correlation-id", b"x" * 64), ("traceparent", b"t"), ("reply-to", b"63")], ReplyAddress(63, b"x" * 64)),
        ([("reply-to", b"1"), ("correlation-id", b"x"), ("reply-to", b"2")], ReplyAddress(2, b"x")),  # the last counts
        ([], None),
        ([("reply-to", b"0")], None),
        ([("correlation-id", b"x")], None),
        ([("reply-to", b"64"), ("correlation-id", b"x")], None),  # there is no such partition
        ([("reply-to", b"-1"), ("correlation-id", b"x")], None),
        ([("reply-to", b"001"), ("correlation-id", b"x")], None),
        ([("reply-to", "\u0663".encode()), ("correlation-id", b"x")], None),
        ([("reply-to", b""), ("correlation-id", b"x")], None),
        ([("reply-to", None), ("correlation-id", b"x")], None),
        ([("reply-to", b"1"), ("correlation-id", None)], None),
        ([("reply-to", b"1"), ("correlation-id", b"")], None),
        ([("reply-to", b"1"), ("correlation-id", b"x" * 65)], None),
    ],
)
def test_only_who_waits_where_there_is_a_place_is_answered(headers: Any, address: ReplyAddress | None) -> None:
    assert reply_address(headers) == address
    if address is not None:
        assert reply_address(address.headers()) == address


def test_event_is_shown_without_what_only_a_recount_needs() -> None:
    assert shown_usage_event(ACCEPTED) == SHOWN
    assert verdict_of(accepted_reply(ACCEPTED)) == SHOWN
    assert json.loads(SHOWN)["eventKey"] == 'a,"partition":7'


@pytest.mark.parametrize(
    "rejection",
    [
        Rejection.of(Reason.SUBSCRIPTION_NOT_ACTIVE, "subscriptionId", currentStatus="CANCELLED"),
        Rejection.of(Reason.DUPLICATE_EVENT_KEY, "eventKey", identical=True, existingId="ue_1_2"),
        Rejection.of_fields([FieldError("eventId", Reason.FIELD_REQUIRED, "is required")]),
        Rejection(Reason.PROCESSING_FAILED, "A sentence with \u201cquotes\u201d."),
    ],
)
def test_answer_to_a_refused_record_says_why(rejection: Rejection) -> None:
    told = verdict_of(rejected_reply(rejection))
    assert isinstance(told, Rejection)
    assert told.body("req") == rejection.body("req")


def test_answer_to_a_repeated_correction_says_so() -> None:
    assert verdict_of(repeated_reply()) == Repeated()


@pytest.mark.parametrize(
    "reply", [b"", b"{}", b"[]", b'{"rejection":{}}', b'{"rejection":{"code":"no_such"}}', b"\xff"]
)
def test_what_no_worker_wrote_is_no_answer(reply: bytes) -> None:
    with pytest.raises((ValueError, LookupError, TypeError)):
        verdict_of(reply)
