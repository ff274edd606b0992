import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.billing_period import BillingPeriod
from schemas.document import BODY_BYTES_MAX, parse_object
from schemas.rejection import Rejection
from schemas.usage_event import (
    AcceptedUsageEvent,
    UsageEvent,
    meter_of,
    parse_usage_event,
    usage_event_id,
    usage_event_of,
)
from tests.unit.world import ONE, ms, usage


def outcome(body: bytes | None) -> UsageEvent | list[tuple[str | None, str]]:
    """The event, or field and code of every error."""
    parsed = parse_usage_event(body)
    if isinstance(parsed, UsageEvent):
        return parsed
    assert parsed.error.endswith(".")
    if not parsed.details:
        return [(parsed.field, parsed.reason.value)]
    assert (parsed.field, parsed.reason) == (parsed.details[0].field, parsed.details[0].reason)
    return [(error.field, error.reason.value) for error in parsed.details]


def without(*names: str) -> bytes:
    document = json.loads(usage())
    return json.dumps({name: value for name, value in document.items() if name not in names}).encode()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        # The hostile inputs that the sketch of quantities was fed, and what contract section 2 says of them.
        ("NaN", "invalid_body"),
        ("Infinity", "invalid_body"),
        ("-Infinity", "invalid_body"),
        ('"NaN"', "decimal_invalid"),
        ('"Infinity"', "decimal_invalid"),
        ("1e400", "decimal_out_of_range"),
        ("1e999999", "decimal_out_of_range"),
        ('"1E+999999"', "decimal_out_of_range"),
        ("-1", "decimal_negative"),
        ("-0.0", 0),
        ("0", 0),
        ("true", "decimal_invalid"),
        ("null", "field_required"),
        ('"1_0"', "decimal_invalid"),
        ('"\\u0661\\u0662"', "decimal_invalid"),
        ('"١٢"', "decimal_invalid"),
        ('" 1"', "decimal_invalid"),
        ('"+1"', "decimal_invalid"),
        ("0x10", "invalid_body"),
        ('"0x10"', "decimal_invalid"),
        ("1.", "invalid_body"),
        ('"1."', "decimal_invalid"),
        (".5", "invalid_body"),
        ('".5"', "decimal_invalid"),
        ('""', "decimal_invalid"),
        ('"1,000"', "decimal_invalid"),
        ("01", "invalid_body"),
        ('"01"', "decimal_invalid"),
        ("5.25", 5_250_000),
        ('"5.25"', 5_250_000),
        ("0.000001", 1),
        ("1e-06", 1),
        ("1E-7", "decimal_too_precise"),
        ("0.0000001", "decimal_too_precise"),
        ('"1.0000000"', ONE),
        ("12345678901234.100001", 12_345_678_901_234_100_001),
        ('"12345678901234.100001"', 12_345_678_901_234_100_001),
        ("99999999999999.999999", 10**20 - 1),
        ('"99999999999999.999999"', 10**20 - 1),
        ("100000000000000", "decimal_out_of_range"),
        ("1e14", "decimal_out_of_range"),
        ("1e13", 10**19),
        ("0.30000000000000000001", "decimal_too_precise"),
        ("999999999.0000000001", "decimal_too_precise"),
        ("[1]", "decimal_invalid"),
        ('{"a":1}', "decimal_invalid"),
        ("9" * 4_000, "decimal_out_of_range"),
        ("9" * 5_000, "invalid_body"),
        ('"' + "9" * 5_000 + '"', "decimal_invalid"),
        ("0." + "0" * 5_000 + "1", "decimal_invalid"),
        ("1e9999", "decimal_out_of_range"),
        ("0e9999", 0),
        ("1e99999", "decimal_out_of_range"),
        ('"\\u0000"', "decimal_invalid"),
        ('"5.25\\n"', "decimal_invalid"),
        ('"1e3"', 1_000 * ONE),
    ],
)
def test_quantity_as_written_in_a_body(written: str, expected: int | str) -> None:
    parsed = outcome(without("quantity")[:-1] + f',"quantity":{written}}}'.encode())
    if isinstance(expected, int):
        assert isinstance(parsed, UsageEvent)
        assert parsed.quantity == expected
    else:
        assert parsed == [(None if expected == "invalid_body" else "quantity", expected)]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"quantity":1,"quantity":2}', "invalid_body"),
        (b'{"quantity":1,"quanti\\u0074y":2.5}', "invalid_body"),
        (b'{"quantity":"1\x00"}', "invalid_body"),
        (b'\xef\xbb\xbf{"quantity":1}', "invalid_body"),
        ('{"quantity":1}'.encode("utf-16"), "invalid_body"),
        (b'{"quantity":1,"x":"\xe9"}', "invalid_body"),
        (b'{"quantity":1} x', "invalid_body"),
        (b"", "invalid_body"),
        (None, "invalid_body"),  # a tombstone
        (b'[{"quantity":1}]', "invalid_body"),
        (b'{"quantity":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "invalid_body"),
        (b'{"x":' + b"[" * 10_000 + b"]" * 10_000 + b',"quantity":1}', "invalid_body"),
        (b'{"quantity":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "body_too_large"),
        (b"{" + b"".join(b'"k%d":1,' % n for n in range(1_000_000)) + b'"quantity":1}', "body_too_large"),
        (b'{"quantity":1,"x":"\\ud800"}', "invalid_body"),
        (b'{"quantity":1}{"quantity":2}', "invalid_body"),
    ],
)
def test_a_hostile_body_is_refused_whole(body: bytes | None, code: str) -> None:
    assert outcome(body) == [(None, code)]


@pytest.mark.parametrize(
    "body", [without("quantity")[:-1] + b',"quanti\\u0074y":2.5}', usage(quantity="2.5", x='"quantity":5')]
)
def test_a_quantity_is_found_however_the_body_is_written(body: bytes) -> None:
    parsed = outcome(body)
    assert isinstance(parsed, UsageEvent)
    assert parsed.quantity == 2_500_000


def test_the_largest_event_is_64_kib() -> None:
    largest = usage(x="x" * (BODY_BYTES_MAX - len(usage(x=""))))
    assert isinstance(outcome(largest), UsageEvent)
    assert outcome(largest + b" ") == [(None, "body_too_large")]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (usage(), UsageEvent("ai", "sub", "ada", "call#1", ONE)),
        (usage(eventKey="  call#1 "), UsageEvent("ai", "sub", "ada", "call#1", ONE)),
        (usage(eventKey="Call#1"), UsageEvent("ai", "sub", "ada", "Call#1", ONE)),  # case matters
        (usage(event_key="x", service_id=7, unknown=[1]), UsageEvent("ai", "sub", "ada", "call#1", ONE)),
        (
            usage(occurredAt=None, invoiceId=None, eventId=None),  # null means omitted
            UsageEvent("ai", "sub", "ada", "call#1", ONE),
        ),
        (
            usage(occurredAt="2026-01-31T13:00:00.1239+01:00", invoiceId=" inv ", eventId="e-1"),
            UsageEvent("ai", "sub", "ada", "call#1", ONE, ms("2026-01-31T12:00:00.123Z"), "inv", "e-1"),
        ),
        (usage(serviceId=None), [("serviceId", "field_required")]),
        (without("subscriptionId"), [("subscriptionId", "field_required")]),
        (usage(userId="\u00a0"), [("userId", "field_invalid")]),
        (usage(eventKey="x" * 256), [("eventKey", "field_invalid")]),
        (usage(eventKey=7), [("eventKey", "field_invalid")]),
        (usage(eventKey="a\u2028b"), [("eventKey", "field_invalid")]),
        (usage(invoiceId=""), [("invoiceId", "field_invalid")]),
        (usage(invoiceId=["inv"]), [("invoiceId", "field_invalid")]),
        (usage(eventId="a\tb"), [("eventId", "field_invalid")]),
        (usage(occurredAt="yesterday"), [("occurredAt", "timestamp_invalid")]),
        (usage(occurredAt=1_769_860_800), [("occurredAt", "timestamp_invalid")]),
        (
            b"{}",
            [(name, "field_required") for name in ("serviceId", "subscriptionId", "userId", "eventKey", "quantity")],
        ),
        (
            usage(eventId=1, occurredAt="", quantity=-1, eventKey="", userId=None, serviceId=[]),
            [
                ("serviceId", "field_invalid"),
                ("userId", "field_required"),
                ("eventKey", "field_invalid"),
                ("quantity", "decimal_negative"),
                ("occurredAt", "timestamp_invalid"),
                ("eventId", "field_invalid"),
            ],
        ),
    ],
)
def test_usage_event(body: bytes, expected: Any) -> None:
    assert outcome(body) == expected


@pytest.mark.parametrize(
    ("event_key", "meter"),
    [
        ("token_generated#req-42", "token_generated"),
        ("token_generated", "token_generated"),
        ("a#b#c", "a"),
        ("a#", "a"),
        ("#", "#"),
        ("#a", "#a"),
        ("#a#b", "#a#b"),
        ("##", "##"),
        ("a #b", "a "),  # the key as sent: only its own ends were trimmed
        ("a＃b", "a＃b"),  # another character
    ],
)
def test_meter_is_the_part_before_the_first_number_sign(event_key: str, meter: str) -> None:
    assert meter_of(event_key) == meter
    assert UsageEvent("ai", "sub", "ada", event_key, ONE).meter == meter


texts = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=20)
texts = texts.filter(lambda text: text == text.strip() != "")
events = st.builds(
    UsageEvent,
    *(texts, texts, texts, texts, st.integers(min_value=0, max_value=10**20 - 1)),
    occurred_at=st.none() | st.integers(ms("2000-01-01T00:00:00Z"), ms("2100-12-31T23:59:59.999Z")),
    invoice_id=st.none() | texts,
    event_id=st.none() | texts,
)


@given(events)
def test_an_event_written_and_parsed_again_is_equal(event: UsageEvent) -> None:
    assert parse_usage_event(event.to_json()) == event
    assert json.loads(event.to_json())["eventKey"] == event.event_key


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_a_rejection(body: bytes) -> None:
    assert isinstance(parse_usage_event(body), (UsageEvent, Rejection))


def test_id_of_an_event_is_its_place_in_the_log() -> None:
    assert usage_event_id(3, 42) == "ue_3_42"


@pytest.mark.parametrize(
    ("sent", "changed"),
    [
        ({}, {"occurredAt": "2026-01-15T12:00:00.000Z", "sentOccurredAt": None}),
        (
            {"occurredAt": "2026-01-10T00:00:00Z", "invoiceId": 'in"v', "eventId": "é"},
            {
                "occurredAt": "2026-01-10T00:00:00.000Z",
                "sentOccurredAt": "2026-01-10T00:00:00.000Z",
                "invoiceId": 'in"v',
                "eventId": "é",
            },
        ),
    ],
)
def test_accepted_event_has_all_out_fields_of_the_contract(sent: dict[str, str], changed: dict[str, Any]) -> None:
    event = parse_usage_event(usage(quantity="1000", **sent))
    assert isinstance(event, UsageEvent)
    request_at = ms("2026-01-15T12:00:00Z")
    period = BillingPeriod(ms("2026-01-01T00:00:00Z"), ms("2026-02-01T00:00:00Z"))
    accepted = AcceptedUsageEvent(
        event,
        partition=3,
        offset=42,
        request_at=request_at,
        occurred_at=request_at if event.occurred_at is None else event.occurred_at,
        meter="call",
        period=period,
        fingerprint=bytes(range(16)),
        catalog_version=7,
        sequence=2,
    )
    assert json.loads(accepted.to_json()) == {
        "id": "ue_3_42",
        "serviceId": "ai",
        "subscriptionId": "sub",
        "userId": "ada",
        "eventKey": "call#1",
        "eventId": None,
        "meter": "call",
        "quantity": "1000.000000",
        "invoiceId": None,
        "billingPeriod": {"start": "2026-01-01T00:00:00.000Z", "end": "2026-02-01T00:00:00.000Z"},
        "status": "RECORDED",
        "createdAt": "2026-01-15T12:00:00.000Z",
        "updatedAt": "2026-01-15T12:00:00.000Z",
        "partition": 3,
        "offset": 42,
        "fingerprint": "000102030405060708090a0b0c0d0e0f",
        "catalogVersion": 7,
        "sequence": 2,
        **changed,
    }


_TEXTS = st.sampled_from(["svc", " sub ", "ключ#1", "a\u2028b", "", "x" * 256, "\U0001f600"])
_MEMBERS = st.sampled_from(
    ["serviceId", "subscriptionId", "userId", "eventKey", "quantity", "occurredAt", "invoiceId", "eventId", "note"]
)
_VALUES = st.one_of(
    _TEXTS.map(lambda text: json.dumps(text, ensure_ascii=False)),
    _TEXTS.map(json.dumps),
    st.sampled_from(
        [
            '"1.5"',
            '"-1"',
            "1.5",
            "7",
            "null",
            "true",
            "[]",
            '{"a":"b"}',
            '"2026-01-01T00:00:00.000Z"',
            '"a\tb"',
            '"\\u0041"',
        ]
    ),
)
_WELL_FORMED = [
    ("serviceId", '"svc"'),
    ("subscriptionId", '"sub"'),
    ("userId", '"user"'),
    ("eventKey", '"tokens#1"'),
    ("quantity", '"1.5"'),
]


@given(
    st.lists(st.tuples(_MEMBERS, _VALUES), max_size=4),
    st.sampled_from(["", " ", "\n", "\ufeff", "x"]),
    st.sampled_from([b"", b"\xff", b"}", b" "]),
    st.booleans(),
)
def test_the_short_way_answers_as_the_long_way(
    members: list[tuple[str, str]], blank: str, end: bytes, replaces: bool
) -> None:
    """Whatever is sent: also duplicate keys, unknown members, nulls, numbers, escapes and bytes that are no UTF-8."""
    changed = [*dict([*_WELL_FORMED, *members]).items()] if replaces else [*_WELL_FORMED, *members]
    body = (blank + "{" + ",".join(f'{blank}"{name}":{value}' for name, value in changed) + "}").encode() + end
    document = parse_object(body)
    long_way = document if isinstance(document, Rejection) else usage_event_of(document)
    assert parse_usage_event(body) == long_way
