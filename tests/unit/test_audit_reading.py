"""The audit reads events, decimals, times, periods and homes anew. It must come to what the engine comes to, and where
the contract says it, to what stands here."""

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.audit.amounts import own_decimal, quantity_of, quantity_text, rounded
from aggregator.audit.canonical import canonical, compact, digest
from aggregator.audit.events import Event, event_of
from aggregator.audit.homes import home_of
from aggregator.audit.periods import Calendar
from aggregator.audit.times import own_time, time_of, time_text
from aggregator.rules.uniqueness import fingerprint
from schemas import billing_period
from schemas.canonical import canonical_json
from schemas.canonical import digest as digest_of_engine
from schemas.decimals import decimal_text
from schemas.price import Price
from schemas.pricing import line_amount
from schemas.rejection import Rejection
from schemas.timestamps import timestamp_text
from schemas.topics import partition_of
from schemas.usage_event import UsageEvent, parse_usage_event

EVENT: dict[str, Any] = {
    "serviceId": "svc",
    "subscriptionId": "sub",
    "userId": "user",
    "eventKey": "tokens#1",
    "quantity": "1.5",
    "occurredAt": "2026-02-03T00:00:00Z",
}


def body(**changes: Any) -> bytes:
    return json.dumps({**EVENT, **changes}).encode()


def raw(quantity: str) -> bytes:
    """An event whose quantity stands there as it is given."""
    return json.dumps({**EVENT, "quantity": 0}).replace('"quantity": 0', f'"quantity": {quantity}').encode()


def assert_same_reading(value: bytes | None) -> None:
    engine, audit = parse_usage_event(value), event_of(value)
    if isinstance(engine, Rejection):
        assert isinstance(audit, frozenset), value
        assert engine.reason.value in audit, (value, engine)
        return
    assert isinstance(engine, UsageEvent)
    assert isinstance(audit, Event), (value, audit)
    assert audit == Event(
        engine.service_id,
        engine.subscription_id,
        engine.user_id,
        engine.event_key,
        decimal_text(engine.quantity),
        engine.occurred_at,
        engine.invoice_id,
        engine.event_id,
    )
    assert (audit.meter, audit.fingerprint()) == (engine.meter, fingerprint(engine))


texts = st.text(max_size=6) | st.sampled_from(["sub", " sub ", "a#b", "#a", "", "x" * 255, "x" * 256, "\u2028", "\x85"])
digits = st.from_regex(r"-?[0-9]{1,22}(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
times = st.datetimes().map(lambda at: at.isoformat() + "Z") | st.from_regex(
    r"(1999|2000|2026|2100|2101)-(02|12)-(28|29|30|31)[Tt ](00|23|24):(00|59):(00|59|60)"
    r"(\.[0-9]{1,10})?(Z|z|[+-](00|23|24):(00|59))?",
    fullmatch=True,
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "serviceId": texts | anything,
        "subscriptionId": texts | anything,
        "userId": texts | anything,
        "eventKey": texts | anything,
        "quantity": digits | anything,
        "occurredAt": times | anything,
        "invoiceId": texts | anything,
        "eventId": texts | anything,
        "note": anything,
    },
).map(lambda changes: {**EVENT, **changes})


@given(documents)
def test_an_event_is_read_as_the_engine_reads_it(document: dict[str, Any]) -> None:
    assert_same_reading(json.dumps(document).encode())


@given(digits)
def test_a_number_is_read_as_the_engine_reads_it(number: str) -> None:
    assert_same_reading(raw(number))
    assert_same_reading(raw(f'"{number}"'))


@given(st.binary(max_size=40))
def test_bytes_are_read_as_the_engine_reads_them(value: bytes) -> None:
    assert_same_reading(value)


@pytest.mark.parametrize(
    "value",
    [
        *(None, b"", b"[1]", b"null", b"7", b"{}", b"\x00\xff", b'{"userId":"a","userId":"a"}', b"\xef\xbb\xbf{}"),
        *(b'{"x":' * 33 + b"1" + b"}" * 33, b'{"x":' * 32 + b"1" + b"}" * 32, b"[" * 10_000 + b"]" * 10_000),
        *(body(note=[[]] * 40), body(note="x" * 65_000), body(note="x" * 65_536), body(note={"a": {"b": 1}})),
        *(raw(text) for text in ("NaN", "Infinity", "-0", "0e999999", "1e999999", "1E-999999", "007", "1.", ".5")),
        *(raw(f'"{text}"') for text in ("1_000", " 1", "١", "0x1", "+1", "-1.1234567", "0." + "0" * 70)),
        *(raw(f'"{text}"') for text in ("1e9999999999999999999999", "1e-9999999999999999999999")),
        *(raw("9" * 70), raw("1" + "0" * 13), raw("1" + "0" * 14), raw("0.0000010"), raw("0.00000010")),
        *(body(quantity=True), body(quantity=None), body(quantity=[1]), body(eventKey="\ud800"), body(note="\ud800")),
        *(body(occurredAt=text) for text in ("2026-01-01", "2026-W01-1T00:00:00Z", "20260101T000000Z", 1700000000, "")),
        *(body(occurredAt=text) for text in ("2026-01-01T00:00:00,5Z", "2026-01-01T00:00:00.1234567890123Z")),
    ],
    ids=lambda value: repr(value)[:40],
)  # fmt: skip
def test_a_strange_event_is_read_as_the_engine_reads_it(value: bytes | None) -> None:
    assert_same_reading(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("5.25", "5.250000"),
        ("1e3", "1000.000000"),
        ("99999999999999.999999", "99999999999999.999999"),
        ("1e14", {"decimal_out_of_range"}),
        ("0.0000001", {"decimal_too_precise"}),
        ("1000000000000000.0000001", {"decimal_out_of_range", "decimal_too_precise"}),
        ("-0.1", {"decimal_negative"}),
        ("five", {"decimal_invalid"}),
    ],
)
def test_a_quantity_is_exact_or_refused(value: str, expected: str | set[str]) -> None:
    quantity = quantity_of(value)
    assert (quantity_text(quantity) if isinstance(quantity, Decimal) else set(quantity)) == expected


@given(st.integers(0, 10**24), st.integers(0, 10**26))
def test_a_price_is_rounded_as_the_engine_rounds_it(quantity: int, unit_price: int) -> None:
    price = Fraction(decimal_text(quantity)) * Fraction(decimal_text(unit_price, 12))
    assert rounded(price) == Decimal(decimal_text(line_amount(quantity, Price.per_unit(unit_price))))


@pytest.mark.parametrize(
    ("quantity", "unit_price", "price"),
    [
        ("0.5", "0.000001", "0"),
        ("1.5", "0.000001", "0.000002"),
        ("2.5", "0.000001", "0.000002"),
        ("-0.5", "0.000003", "-0.000002"),
    ],
)
def test_a_price_is_rounded_half_even(quantity: str, unit_price: str, price: str) -> None:
    assert rounded(Fraction(quantity) * Fraction(unit_price)) == Decimal(price)


@pytest.mark.parametrize("text", ["1", "1.0", "01.000000", "1.0000000", "NaN", "+1.000000", "1e5", None, 1])
def test_a_decimal_that_tally_would_write_otherwise_is_none_of_its_own(text: Any) -> None:
    with pytest.raises(ValueError, match="is not a decimal"):
        own_decimal(text)


@given(st.integers(946684800000, 4133980799999))
def test_a_time_is_written_and_read_as_the_engine_does(at: int) -> None:
    assert time_text(at) == timestamp_text(at)
    assert own_time(time_text(at)) == time_of(time_text(at)) == at


zones = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Asia/Tehran"]
)
moments = st.integers(own_time("2000-01-01T00:00:00.000Z"), own_time("2100-01-01T00:00:00.000Z"))


@given(anchor=moments, at=moments, zone=zones, interval=st.sampled_from(billing_period.BillingInterval))
def test_a_billing_period_is_the_engines(
    anchor: int, at: int, zone: str, interval: billing_period.BillingInterval
) -> None:
    calendar = Calendar(anchor, interval.value, zone)
    for moment in (at, at + 1, at + 86_400_000, at):
        period = billing_period.Calendar(anchor, interval, zone).period_at(moment)
        assert calendar.period_at(moment) == (period.start, period.end)


@pytest.mark.parametrize(
    ("anchor", "interval", "zone", "at", "start", "end"),
    [
        ("2026-01-31T00", "MONTH", "UTC", "2026-02-28T00", "2026-02-28T00", "2026-03-31T00"),
        ("2026-01-31T00", "MONTH", "UTC", "2026-02-27T23", "2026-01-31T00", "2026-02-28T00"),
        ("2026-01-15T00", "WEEK", "UTC", "2026-01-14T23", "2026-01-08T00", "2026-01-15T00"),
        # midnight in Berlin: an hour earlier in UTC in summer
        ("2026-03-28T23", "DAY", "Europe/Berlin", "2026-03-29T12", "2026-03-28T23", "2026-03-29T22"),
    ],
)  # fmt: skip
def test_a_period_follows_the_wall_clock_of_its_anchor(
    anchor: str, interval: str, zone: str, at: str, start: str, end: str
) -> None:
    anchored, moment, *period = [own_time(f"{hour}:00:00.000Z") for hour in (anchor, at, start, end)]
    assert Calendar(anchored, interval, zone).period_at(moment) == tuple(period)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.integers(1, 64))
def test_a_home_is_where_the_producers_put_it(subscription_id: str, partitions: int) -> None:
    assert home_of(subscription_id, partitions) == partition_of(subscription_id, partitions)


own = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), own, max_size=5))
def test_a_record_is_written_canonically(document: dict[str, Any]) -> None:
    assert canonical(document).encode() == canonical_json(document)
    assert digest(document) == digest_of_engine(document)


def test_the_canonical_form_is_that_of_rfc_8785() -> None:
    document = {"\u20ac": 1, "\r": "\x0f\n'\"\\\b", "\U0001f600": None, "\ufb33": [True, "\u007f"], "1": {}}
    expected = '{"\\r":"\\u000f\\n\'\\"\\\\\\b","1":{},"\u20ac":1,"\U0001f600":null,"\ufb33":[true,"\u007f"]}'
    assert canonical(document) == expected
    assert compact(["a", "b"]) == b'["a","b"]'
