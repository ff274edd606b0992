"""What a body of POST /usage-events gets, before anything is published."""

import json
from typing import Any

import pytest

from ingest.outcome import OutcomeUnknown, Overloaded, Unavailable
from tests.unit.gateway_in_memory import GatewayInMemory

EVENT = {
    "serviceId": "svc",
    "subscriptionId": "sub",
    "userId": "user",
    "eventKey": "tokens#1",
    "quantity": "5.25",
}


def event(**fields: Any) -> bytes:
    return json.dumps({**EVENT, **fields}).encode()


def with_quantity(literal: bytes) -> bytes:
    return event(quantity=0).replace(b'"quantity": 0', b'"quantity": ' + literal)


MEGABYTES_10 = 10 * 2**20

REFUSED = [
    ("nothing", b"", 400, "invalid_body", None),
    ("no JSON", b"quantity=5", 400, "invalid_body", None),
    ("cut off", event()[:-1], 400, "invalid_body", None),
    ("two documents", event() * 2, 400, "invalid_body", None),
    ("a list", b"[" + event() + b"]", 400, "invalid_body", None),
    ("a string", b'"event"', 400, "invalid_body", None),
    ("null", b"null", 400, "invalid_body", None),
    ("not UTF-8", event(userId="X").replace(b"X", b"\xff"), 400, "invalid_body", None),
    ("UTF-16", event().decode().encode("utf-16"), 400, "invalid_body", None),
    ("a byte order mark", b"\xef\xbb\xbf" + event(), 400, "invalid_body", None),
    ("a key twice", event()[:-1] + b', "quantity": 1}', 400, "invalid_body", None),
    ("33 deep", event(x=json.loads("[" * 32 + "]" * 32)), 400, "invalid_body", None),
    ("30,000 deep", event(x=0).replace(b'"x": 0', b'"x": ' + b"[" * 30_000 + b"]" * 30_000), 400, "invalid_body", None),
    ("100,000 deep", b"[" * 100_000 + b"]" * 100_000, 413, "body_too_large", None),
    ("1,000,000 keys", b"{%b}" % b",".join(b'"%d":0' % n for n in range(1_000_000)), 413, "body_too_large", None),
    ("10 MB", event(x="x" * MEGABYTES_10), 413, "body_too_large", None),
    ("64 KiB and a byte", event() + b" " * (64 * 1024 + 1 - len(event())), 413, "body_too_large", None),
    ("an empty object", b"{}", 400, "field_required", "serviceId"),
    ("no user", event(userId=None), 400, "field_required", "userId"),
    ("a number as key", event(eventKey=7), 400, "field_invalid", "eventKey"),
    ("a blank key", event(eventKey=" \u3000"), 400, "field_invalid", "eventKey"),
    ("256 characters", event(eventKey="k" * 256), 400, "field_invalid", "eventKey"),
    ("NUL", event(eventKey="a\x00b"), 400, "field_invalid", "eventKey"),
    ("a line separator", event(eventKey="a\u2028b"), 400, "field_invalid", "eventKey"),
    ("a lone surrogate", event(eventKey="S").replace(b'"S"', b'"\\ud800"'), 400, "invalid_body", None),
    ("NaN", with_quantity(b"NaN"), 400, "invalid_body", None),
    ("Infinity", with_quantity(b"Infinity"), 400, "invalid_body", None),
    ("'NaN'", with_quantity(b'"NaN"'), 400, "decimal_invalid", "quantity"),
    ("1e999999", with_quantity(b"1e999999"), 400, "decimal_out_of_range", "quantity"),
    ("1e9999", with_quantity(b"1e9999"), 400, "decimal_out_of_range", "quantity"),
    ("'1E+999999'", with_quantity(b'"1E+999999"'), 400, "decimal_out_of_range", "quantity"),
    ("'1_0'", with_quantity(b'"1_0"'), 400, "decimal_invalid", "quantity"),
    ("Arabic digits", event(quantity="\u0661\u0662"), 400, "decimal_invalid", "quantity"),
    ("true", with_quantity(b"true"), 400, "decimal_invalid", "quantity"),
    ("an object", with_quantity(b"{}"), 400, "decimal_invalid", "quantity"),
    ("null quantity", with_quantity(b"null"), 400, "field_required", "quantity"),
    ("-1", with_quantity(b"-1"), 400, "decimal_negative", "quantity"),
    ("7 decimals", with_quantity(b"0.0000001"), 400, "decimal_too_precise", "quantity"),
    ("10^14", with_quantity(b"100000000000000"), 400, "decimal_out_of_range", "quantity"),
    ("5,000 digits", with_quantity(b"9" * 5_000), 400, "invalid_body", None),
    ("a date", event(occurredAt="2026-01-01"), 400, "timestamp_invalid", "occurredAt"),
    ("a number as time", event(occurredAt=1_700_000_000), 400, "timestamp_invalid", "occurredAt"),
    ("the year 1999", event(occurredAt="1999-12-31T23:59:59Z"), 400, "timestamp_invalid", "occurredAt"),
]


@pytest.mark.parametrize(("body", "status", "code", "field"), [row[1:] for row in REFUSED], ids=[r[0] for r in REFUSED])
async def test_malformed_event_is_refused_and_not_published(
    body: bytes, status: int, code: str, field: str | None
) -> None:
    gateway = GatewayInMemory()
    answer = await gateway.post_event(body)
    document = answer.json()
    assert (answer.status_code, document["code"], document["field"]) == (status, code, field)
    assert document["error"].strip()
    assert document["requestId"] == answer.headers["x-request-id"]
    assert answer.headers["content-type"] == "application/json"
    assert gateway.producer.published == []


async def test_all_errors_of_shape_come_at_once_and_the_first_is_at_the_top() -> None:
    answer = await GatewayInMemory().post_event(event(userId=" ", quantity="x", occurredAt="x"))
    document = answer.json()
    assert [(error["field"], error["code"]) for error in document["details"]] == [
        ("userId", "field_invalid"),
        ("quantity", "decimal_invalid"),
        ("occurredAt", "timestamp_invalid"),
    ]
    assert document["field"] == "userId"
    assert document["error"] == document["details"][0]["message"]


async def test_published_event_gets_a_receipt_and_its_location() -> None:
    gateway = GatewayInMemory()
    answer = await gateway.post_event(event())
    assert answer.status_code == 202
    assert answer.json() == {"receipt": {"id": "ue_3_0", "status": "PENDING"}}
    assert answer.headers["location"] == "/api/v1/usage-events/ue_3_0"


@pytest.mark.parametrize(
    ("literal", "millionths"),
    [
        (b"12345678901234.100001", 12345678901234100001),
        (b'"12345678901234.100001"', 12345678901234100001),
        (b"99999999999999.999999", 99999999999999999999),
        (b"1e-6", 1),
        (b"5.250000000", 5_250_000),
        (b"0", 0),
        (b"-0.0", 0),
    ],
)
async def test_quantity_is_published_exactly(literal: bytes, millionths: int) -> None:
    gateway = GatewayInMemory()
    assert (await gateway.post_event(with_quantity(literal))).status_code == 202
    assert gateway.producer.published[0].quantity == millionths


async def test_unknown_fields_are_ignored_and_strings_trimmed() -> None:
    gateway = GatewayInMemory()
    assert (await gateway.post_event(event(note={"a": [1]}, eventKey="  tokens#1 "))).status_code == 202
    assert gateway.producer.published[0].event_key == "tokens#1"


@pytest.mark.parametrize(
    ("error", "says"),
    [(Unavailable(), "not published"), (Overloaded(), "not published"), (OutcomeUnknown(), "may be sent again")],
)
async def test_event_without_receipt_is_a_503_that_says_whether_it_may_be_published(
    error: Unavailable | Overloaded | OutcomeUnknown, says: str
) -> None:
    gateway = GatewayInMemory()
    gateway.producer.outcomes = [error]
    answer = await gateway.post_event(event())
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert says in answer.json()["error"]
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": None},
        {"content_type": "text/plain"},
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_encoding": "gzip"},
    ],
)
async def test_anything_but_plain_json_is_an_unsupported_media_type(headers: dict[str, str | None]) -> None:
    answer = await GatewayInMemory().post_event(event(), **headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


async def test_content_type_may_name_its_charset() -> None:
    answer = await GatewayInMemory().post_event(event(), content_type="Application/JSON; charset=utf-8")
    assert answer.status_code == 202
