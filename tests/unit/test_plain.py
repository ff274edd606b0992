"""The compiled short way through usage events does what Python does, or leaves it to Python."""

import json
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aggregator.rules import uniqueness
from ingest.gateway.batch import parse_batch
from schemas import plain, usage_event
from schemas.billing_period import BillingPeriod
from schemas.plain import compiled
from schemas.rejection import Rejection
from schemas.service import EventKeyScope
from schemas.timestamps import TIMESTAMP_MAX_MS, TIMESTAMP_MIN_MS
from schemas.usage_event import AcceptedUsageEvent, UsageEvent, parse_usage_event

without_compiler = pytest.mark.skipif(compiled is None, reason="no C compiler was there when Tally was installed")

MEMBERS = {
    "serviceId": "svc",
    "subscriptionId": "sub",
    "userId": "user",
    "eventKey": "tokens#1",
    "quantity": "1.5",
    "occurredAt": "2026-03-01T10:20:30.456Z",
    "invoiceId": "inv",
    "eventId": "e-1",
}
PERIOD = BillingPeriod(1_767_225_600_000, 1_769_904_000_000)


def body(**changed: Any) -> bytes:
    """A plain body, with some members changed; None leaves one out."""
    return json.dumps({name: value for name, value in (MEMBERS | changed).items() if value is not None}).encode()


def read(value: bytes) -> Any:
    assert compiled is not None
    return compiled.event(value, UsageEvent)


@pytest.fixture
def python_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setattr(usage_event, "compiled", None)
        yield


def test_it_is_compiled_where_there_is_a_compiler() -> None:
    headers = Path(sysconfig.get_path("include"), "Python.h")
    if shutil.which("cc") is None or not headers.exists():
        pytest.skip("there is no C compiler with Python's headers")
    assert compiled is not None


@without_compiler
@pytest.mark.parametrize(
    ("sent", "changed"),
    [
        (body(), {}),
        (json.dumps(MEMBERS, indent=2).encode() + b"\r\n\t ", {}),
        (json.dumps(dict(reversed(MEMBERS.items()))).encode(), {}),
        (
            body(occurredAt=None, invoiceId=None, eventId=None),
            {"occurred_at": None, "invoice_id": None, "event_id": None},
        ),
        (body(quantity="0"), {"quantity": 0}),
        (body(quantity="0.000001"), {"quantity": 1}),
        (body(quantity="999999999999.999999"), {"quantity": 10**18 - 1}),
        (body(eventKey="a b'{}:,#"), {"event_key": "a b'{}:,#"}),
        (body(eventId="x" * 255), {"event_id": "x" * 255}),
        (body(occurredAt="2000-01-01T00:00:00Z"), {"occurred_at": TIMESTAMP_MIN_MS}),
        (body(occurredAt="2100-12-31T23:59:59.999Z"), {"occurred_at": TIMESTAMP_MAX_MS}),
        (body(occurredAt="2024-02-29T00:00:00.001Z"), {"occurred_at": 1_709_164_800_001}),
    ],
)
def test_a_plain_body_is_read(sent: bytes, changed: dict[str, Any]) -> None:
    expected = {
        "service_id": "svc",
        "subscription_id": "sub",
        "user_id": "user",
        "event_key": "tokens#1",
        "quantity": 1_500_000,
        "occurred_at": 1_772_360_430_456,
        "invoice_id": "inv",
        "event_id": "e-1",
    }
    assert read(sent) == UsageEvent(**{**expected, **changed})


@without_compiler
@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"{}",
        b"[]",
        body()[:-1],
        body() + b"}",
        body() + b"\x00",
        body()[1:],
        body().replace(b":", b"", 1),
        body().replace(b",", b"", 1),
        body().replace(b"}", b",}"),
        body().replace(b"}", b',"eventId":"e-2"}'),
        body(note="x"),
        body(userId=None),
        body(userId=""),
        body(userId=" "),
        body(userId=" u"),
        body(userId="u "),
        body(userId="x" * 256),
        body(userId="ü"),
        json.dumps(MEMBERS | {"userId": "ü"}, ensure_ascii=False).encode(),
        body(userId='"'),
        body(userId="\\"),
        body(userId="\x7f"),
        body().replace(b"user", b"us\ner"),
        body(quantity=1.5),
        body(quantity=1),
        *(
            body(quantity=text)
            for text in ("", ".", "1.", ".5", "01", "00", "-1", "+1", "1e3", "1.1234567", "1 ", "1/2")
        ),
        *(body(quantity=text) for text in ("1000000000000", "NaN", "1.5.5", "1.-5", ":")),
        *(body(occurredAt=f"2026-{text}.000Z") for text in ("02-29T00:00:00", "00-01T00:00:00", "13-01T00:00:00")),
        *(body(occurredAt=f"2026-01-{text}.000Z") for text in ("00T00:00:00", "32T00:00:00", "01T24:00:00")),
        *(body(occurredAt=f"2026-01-01T00:{text}Z") for text in ("60:00.000", "00:60.000", "00:00.00", "00:00.0000")),
        *(body(occurredAt=f"{text}-01-01T00:00:00.000Z") for text in ("1999", "2101", "-001", "26")),
        *(body(occurredAt=text) for text in ("", "2026-01-01", "2026-01-01T00:00:00.000z", "2026-01-01 00:00:00.000Z")),
        *(body(occurredAt=text) for text in ("2026-01-01T00:00:00+01", "2026-01-01T00:00:00,000Z")),
    ],
)
def test_what_is_not_plain_is_left_to_python(sent: bytes) -> None:
    assert read(sent) is None


@without_compiler
@pytest.mark.parametrize("arguments", [(), (b"{}",), ("{}", UsageEvent), (bytearray(body()), UsageEvent)])
def test_what_is_no_body_is_an_error(arguments: tuple[Any, ...]) -> None:
    assert compiled is not None
    with pytest.raises(TypeError):
        compiled.event(*arguments)


def batch_of(*items: bytes, end: bytes = b"]}") -> bytes:
    return b'{ "usageEvents" : [' + b" ,\n".join(items) + end


def read_batch(value: bytes) -> Any:
    assert compiled is not None
    return compiled.batch(value, UsageEvent)


@without_compiler
@pytest.mark.parametrize("count", [1, 2, 1_001])
def test_a_plain_batch_is_read(count: int) -> None:
    items = [body(eventKey=f"tokens#{number}") for number in range(count)]
    assert read_batch(batch_of(*items)) == [parse_usage_event(item) for item in items]


@without_compiler
@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"{}",
        b"[]",
        body(),
        batch_of(),
        batch_of(body())[:-1],
        batch_of(body())[:-2],
        batch_of(body()) + b"x",
        batch_of(body(), end=b"],"),
        batch_of(body(), end=b",]}"),
        batch_of(body(), end=b'],"usageEvents":[]}'),
        batch_of(body(), body(userId="ü")),
        batch_of(body(), b"7"),
        batch_of(body(), body(quantity=7)),
        batch_of(body()).replace(b"usageEvents", b"usageevents"),
        batch_of(body()).replace(b"usageEvents", b"usage"),
    ],
)
def test_a_batch_that_is_not_plain_is_left_to_python(sent: bytes) -> None:
    assert read_batch(sent) is None


@without_compiler
@given(st.lists(st.sampled_from([body(), body(userId=" u "), body(quantity=7), b"{}", b"[]", b"null"]), max_size=4))
def test_a_batch_is_read_as_python_reads_it(items: list[bytes]) -> None:
    found = parse_batch(batch_of(*items))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(usage_event, "compiled", None)
        assert parse_batch(batch_of(*items)) == found


def test_a_batch_is_not_too_large_for_being_plain() -> None:
    assert isinstance(parse_batch(batch_of(*[body()] * 1_001)), Rejection)
    assert len(parse_batch(batch_of(*[body()] * 1_000))) == 1_000  # type: ignore[arg-type]


@without_compiler
def test_what_making_raises_is_raised() -> None:
    assert compiled is not None
    with pytest.raises(ZeroDivisionError):
        compiled.event(body(), lambda *_: 1 // 0)


_texts = st.one_of(st.sampled_from(["svc", " sub ", "ключ#1", "", "x" * 256, 'q"', "\\"]), st.text(max_size=20))
_times = st.one_of(
    _texts,
    st.datetimes().map(lambda at: at.isoformat(timespec="milliseconds") + "Z"),
    st.from_regex(r"20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{3})?Z", fullmatch=True),
)
_quantities = st.one_of(_texts, st.from_regex(r"[0-9]{1,16}(\.[0-9]{0,7})?", fullmatch=True), st.decimals().map(str))
_values = dict.fromkeys(MEMBERS, _texts) | {"quantity": _quantities, "occurredAt": _times}
_bodies = st.one_of(
    st.tuples(st.fixed_dictionaries({}, optional=dict(_values)), st.booleans()).map(
        lambda sent: json.dumps(MEMBERS | sent[0], ensure_ascii=sent[1]).encode(errors="surrogatepass")
    ),
    st.tuples(st.integers(0, 400), st.binary(max_size=2)).map(
        lambda cut: body()[: cut[0]] + cut[1] + body()[cut[0] + len(cut[1]) :]
    ),
    st.binary(max_size=100),
)


@without_compiler
@given(_bodies)
@example(body(quantity="9" * 12 + "." + "9" * 6))
def test_read_as_python_reads(sent: bytes) -> None:
    found = parse_usage_event(sent)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(usage_event, "compiled", None)
        assert parse_usage_event(sent) == found
    assert read(sent) in (None, found)


_any_text = st.one_of(st.text(max_size=20), st.sampled_from(['"', "\\", "\x1f", "\x7f", "é", "x" * 255, "x" * 256]))
_numbers = st.one_of(st.integers(0, 10**6), st.sampled_from([2**63 - 1, 2**63, 10**20]), st.integers(-3, 2**64))
_moments = st.one_of(st.integers(TIMESTAMP_MIN_MS, TIMESTAMP_MAX_MS), st.sampled_from([0, 1, 951_782_400_000]))
_events = st.builds(
    UsageEvent,
    *[_any_text] * 4,
    quantity=_numbers,
    occurred_at=st.none() | _moments,
    invoice_id=st.none() | _any_text,
    event_id=st.none() | _any_text,
)


@without_compiler
@given(
    event=_events,
    numbers=st.tuples(_numbers, _numbers, _moments, _moments, _numbers, st.none() | _numbers),
    meter=_any_text,
    fingerprint=st.binary(min_size=16, max_size=16),
    voided_at=st.none() | _moments,
)
def test_written_as_python_writes(
    event: UsageEvent,
    numbers: tuple[int, int, int, int, int, int | None],
    meter: str,
    fingerprint: bytes,
    voided_at: int | None,
) -> None:
    partition, offset, request_at, occurred_at, version, sequence = numbers
    accepted = AcceptedUsageEvent(
        event, partition, offset, request_at, occurred_at, meter, PERIOD, fingerprint, version, sequence, voided_at
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(usage_event, "compiled", None)
        expected = accepted.to_json()
    assert accepted.to_json() == expected


@without_compiler
@given(_events)
def test_sent_as_python_sends(event: UsageEvent) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(usage_event, "compiled", None)
        expected = event.to_json()
    assert event.to_json() == expected


@without_compiler
@given(st.one_of(st.integers(0, TIMESTAMP_MAX_MS), _moments))
def test_a_time_is_written_and_read_as_python_does(at: int) -> None:
    event = UsageEvent("svc", "sub", "user", "tokens#1", 1, at)
    accepted = AcceptedUsageEvent(event, 0, 0, at, at, "tokens", PERIOD, bytes(16), 1, 0)
    assert accepted.to_json() == accepted._any_json()
    if at >= TIMESTAMP_MIN_MS:
        assert read(event.to_json()) == event


@without_compiler
@given(_events)
@example(UsageEvent("s" * 60, "sub", "u" * 60, "tokens#1", 0))
@example(UsageEvent("s" * 255, "sub", "u" * 255, "tokens#1", 10**17, None, "i" * 255, "e" * 255))
def test_an_identity_is_what_python_makes(event: UsageEvent) -> None:
    found = uniqueness.identity(event, EventKeyScope.SUBSCRIPTION, PERIOD)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(uniqueness, "compiled", None)
        assert uniqueness.identity(event, EventKeyScope.SUBSCRIPTION, PERIOD) == found


@without_compiler
@pytest.mark.parametrize("length", range(117, 146))
def test_a_fingerprint_is_right_around_the_end_of_a_block(length: int) -> None:
    """BLAKE2b hashes blocks of 128 bytes, and the last one, also a full one, in another way."""
    event = UsageEvent("s" * (length - 8), "sub", "u", "tokens#1", 1)
    assert uniqueness.identity(event, EventKeyScope.SUBSCRIPTION, PERIOD)[1] == uniqueness.fingerprint(event)


@without_compiler
def test_nothing_is_kept_of_what_was_read_and_written() -> None:
    """A reference that is not given back would let a worker grow with each event."""
    assert compiled is not None
    sent = body()
    before = sys.getrefcount(sent), sys.getrefcount(UsageEvent), sys.getrefcount(None)
    for _ in range(10_000):
        compiled.event(sent, UsageEvent)
        compiled.event(b"{}", UsageEvent)
        compiled.batch(batch_of(sent, sent), UsageEvent)
        compiled.batch(batch_of(sent, b"{}"), UsageEvent)
        compiled.sent("svc", "sub", "user", "key", 1, None, None, None)
        compiled.identity("svc", "sub", "user", "key", 1, None, None, None)
        compiled.identity("svc", "sub", "user", '"', 1, None, None, None)
    after = sys.getrefcount(sent), sys.getrefcount(UsageEvent), sys.getrefcount(None)
    assert all(abs(now - then) < 100 for then, now in zip(before, after, strict=True))


def test_python_alone_does_the_same(python_only: None) -> None:
    assert parse_usage_event(body()) == UsageEvent(
        "svc", "sub", "user", "tokens#1", 1_500_000, 1_772_360_430_456, "inv", "e-1"
    )


def test_what_is_not_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "schemas._plain", None)
    monkeypatch.delattr("schemas._plain", raising=False)
    assert plain._load() is None
