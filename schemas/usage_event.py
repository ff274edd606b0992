"""A usage event: one metered action of a subscriber, as callers send it and as Tally records it."""

import re
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Annotated, Any, Final

import msgspec
from msgspec.structs import astuple
from pydantic import Field, TypeAdapter
from pydantic_core import PydanticCustomError

from schemas.billing_period import BillingPeriod
from schemas.decimals import Quantity, decimal_text, quantity
from schemas.document import BODY_BYTES_MAX, parse_object, validate
from schemas.plain import compiled
from schemas.rejection import Rejection
from schemas.text import LENGTH_MAX, OptionalText, Text, optional_text, text
from schemas.timestamps import (
    OptionalTimestamp,
    frequent_timestamp_text,
    optional_timestamp,
    parse_timestamp,
    timestamp_text,
)

BATCH_EVENTS_MAX: Final = 1_000
BATCH_BYTES_MAX: Final = 16 * 1024 * 1024


class UsageEvent(msgspec.Struct, gc=False):
    """A well-formed usage event. `quantity` is in millionths, `occurred_at` in ms; None means omitted."""

    service_id: str
    subscription_id: str
    user_id: str
    event_key: str
    quantity: int
    occurred_at: int | None = None
    invoice_id: str | None = None
    event_id: str | None = None

    @property
    def meter(self) -> str:
        """The part of the event key before the first '#'; a key without one, or beginning with one, is its meter."""
        return meter_of(self.event_key)

    def to_json(self) -> bytes:
        """The event as it is put on `usage-events`: parsing it gives an equal event."""
        if compiled is not None:
            plain = compiled.sent(*astuple(self))
            if plain is not None:
                return plain
        optional = "".join(
            f',"{name}":{encode_basestring(value)}'
            for name, value in (
                (
                    "occurredAt",
                    None if self.occurred_at is None else timestamp_text(self.occurred_at),
                ),
                ("invoiceId", self.invoice_id),
                ("eventId", self.event_id),
            )
            if value is not None
        )
        return (
            f'{{"serviceId":{encode_basestring(self.service_id)}'
            f',"subscriptionId":{encode_basestring(self.subscription_id)}'
            f',"userId":{encode_basestring(self.user_id)}'
            f',"eventKey":{encode_basestring(self.event_key)}'
            f',"quantity":"{decimal_text(self.quantity)}"{optional}}}'
        ).encode()


@dataclass(slots=True)
class UsageEventShape:
    """The members of an event as callers send them: what a JSON Schema says, and pydantic finds wrong."""

    service_id: Annotated[Text, Field(alias="serviceId")]
    subscription_id: Annotated[Text, Field(alias="subscriptionId")]
    user_id: Annotated[Text, Field(alias="userId")]
    event_key: Annotated[Text, Field(alias="eventKey")]
    quantity: Quantity
    occurred_at: Annotated[OptionalTimestamp, Field(alias="occurredAt")] = None
    invoice_id: Annotated[OptionalText, Field(alias="invoiceId")] = None
    event_id: Annotated[OptionalText, Field(alias="eventId")] = None


UsageEventShape.__name__ = UsageEventShape.__qualname__ = "UsageEvent"  # as JSON Schemas and OpenAPI call it
usage_event_adapter: Final = TypeAdapter(UsageEventShape)


def validate_usage_event(document: Any) -> UsageEvent:
    """The event in an object as it was parsed. Raises pydantic's ValidationError with all that is wrong."""
    shape = usage_event_adapter.validate_python(document)
    return UsageEvent(
        shape.service_id,
        shape.subscription_id,
        shape.user_id,
        shape.event_key,
        shape.quantity,
        shape.occurred_at,
        shape.invoice_id,
        shape.event_id,
    )


_Member = Annotated[str, msgspec.Meta(min_length=1, max_length=LENGTH_MAX)]


class _Plain(msgspec.Struct, gc=False, rename="camel"):
    """The members of an event that holds nothing but text."""

    service_id: _Member
    subscription_id: _Member
    user_id: _Member
    event_key: _Member
    quantity: str
    occurred_at: str | None = None
    invoice_id: _Member | None = None
    event_id: _Member | None = None


_decode_plain: Final = msgspec.json.Decoder(_Plain).decode
_QUOTES_A_MEMBER: Final = 4


def parse_usage_event(body: bytes | None) -> UsageEvent | Rejection:
    """The usage event in a request body or a record's value, or all that is wrong with its shape."""
    if body is not None:
        event = None if compiled is None or len(body) > BODY_BYTES_MAX else compiled.event(body, UsageEvent)
        if event is not None or (event := _plain_event(body)) is not None:
            return event
    document = parse_object(body or b"", BODY_BYTES_MAX)
    if type(document) is Rejection:
        return document
    assert type(document) is dict
    return usage_event_of(document)


def _plain_event(body: bytes) -> UsageEvent | None:
    """The event in a body that has each known member once, as text without escapes, and no other; nearly all have.

    The decoder takes the last of duplicate keys and skips unknown ones, so both are found by counting quotes: every
    member has two around its key and two around its text, so there are as many members as the event has, or too many
    quotes. In a body of ASCII without blanks and DEL, text() would refuse and change nothing: the decoder has seen to
    the lengths and to control characters. Whatever is not plain, or not right, is None: the long way finds out what is
    wrong.
    """
    if len(body) > BODY_BYTES_MAX or b"\\" in body:
        return None
    try:
        plain = _decode_plain(body)
        occurred_at, invoice_id, event_id = plain.occurred_at, plain.invoice_id, plain.event_id
        members = 5 + (occurred_at is not None) + (invoice_id is not None) + (event_id is not None)
        if body.count(b'"') != members * _QUOTES_A_MEMBER:
            return None
        if b" " not in body and body.isascii() and b"\x7f" not in body:
            return UsageEvent(
                plain.service_id,
                plain.subscription_id,
                plain.user_id,
                plain.event_key,
                quantity(plain.quantity),
                None if occurred_at is None else parse_timestamp(occurred_at),
                invoice_id,
                event_id,
            )
        return UsageEvent(
            text(plain.service_id),
            text(plain.subscription_id),
            text(plain.user_id),
            text(plain.event_key),
            quantity(plain.quantity),
            None if occurred_at is None else parse_timestamp(occurred_at),
            None if invoice_id is None else text(invoice_id),
            None if event_id is None else text(event_id),
        )
    except (msgspec.DecodeError, PydanticCustomError, RecursionError, UnicodeDecodeError):
        return None


def plain_usage_events(body: bytes) -> list[UsageEvent] | None:
    """The events of a batch, where all are plain and there is nothing else; None where that is not known."""
    return None if compiled is None else compiled.batch(body, UsageEvent)


def usage_event_of(document: dict[str, Any]) -> UsageEvent | Rejection:
    """As parse_usage_event(), of a parsed JSON object.

    What is well-formed is made at once; what is not goes through pydantic, which collects all that is wrong. Both are
    made of the same functions.
    """
    get = document.get
    try:
        return UsageEvent(
            text(get("serviceId")),
            text(get("subscriptionId")),
            text(get("userId")),
            text(get("eventKey")),
            quantity(get("quantity")),
            optional_timestamp(get("occurredAt")),
            optional_text(get("invoiceId")),
            optional_text(get("eventId")),
        )
    except PydanticCustomError:
        return validate(validate_usage_event, document)


def meter_of(event_key: str) -> str:
    """See UsageEvent.meter."""
    mark = event_key.find("#")
    return event_key[:mark] if mark > 0 else event_key


def usage_event_id(partition: int, offset: int) -> str:
    """An event's id is its place in `usage-events`, so it exists before any database has seen the event."""
    return f"ue_{partition}_{offset}"


_ID: Final = re.compile(r"ue_(0|[1-9][0-9]{0,9})_(0|[1-9][0-9]{0,18})").fullmatch


def place_of_id(event_id: str) -> tuple[int, int] | None:
    """Partition and offset in an event's id; None where it is no such id."""
    match = _ID(event_id)
    return None if match is None else (int(match[1]), int(match[2]))


_INTERNAL: Final = ',"partition":'
_INTERNAL_BYTES: Final = _INTERNAL.encode()


class AcceptedUsageEvent(msgspec.Struct, gc=False):
    """A usage event that was counted: the event, where it first stood in the log, and the period it was counted in.

    `request_at` is the broker's append time in ms; `fingerprint` identifies the content (aggregator.rules.uniqueness);
    `catalog_version` is the version of the subscription by which it was judged. `sequence` is that of the invoice which
    charges it; not known of an event that is voided after its period was closed. `voided_at` (ms) is set where it does
    not count any more.
    """

    event: UsageEvent
    partition: int
    offset: int
    request_at: int
    occurred_at: int
    meter: str
    period: BillingPeriod
    fingerprint: bytes
    catalog_version: int
    sequence: int | None
    voided_at: int | None = None

    def to_json(self) -> bytes:
        """The value on `accepted-usage`: all out fields of contract section 1 and what a recount needs."""
        event = self.event
        if compiled is not None and self.voided_at is None:
            plain = compiled.accepted(
                *astuple(event),
                self.partition,
                self.offset,
                self.request_at,
                self.occurred_at,
                self.meter,
                self.period.json,
                self.fingerprint,
                self.catalog_version,
                self.sequence,
            )
            if plain is not None:
                return plain
        return self._any_json()

    def _any_json(self) -> bytes:
        event, quote = self.event, encode_basestring
        requested = frequent_timestamp_text(self.request_at)
        occurred = timestamp_text(self.occurred_at)
        sent = "null" if event.occurred_at is None else f'"{occurred}"'
        invoice = "null" if event.invoice_id is None else quote(event.invoice_id)
        event_id = "null" if event.event_id is None else quote(event.event_id)
        if self.voided_at is None:
            status, updated = "RECORDED", requested
        else:
            status, updated = "VOIDED", timestamp_text(self.voided_at)
        return (
            f'{{"id":"ue_{self.partition}_{self.offset}","serviceId":{quote(event.service_id)}'
            f',"subscriptionId":{quote(event.subscription_id)},"userId":{quote(event.user_id)}'
            f',"eventKey":{quote(event.event_key)},"eventId":{event_id},"meter":{quote(self.meter)}'
            f',"quantity":"{decimal_text(event.quantity)}","occurredAt":"{occurred}","invoiceId":{invoice}'
            f',"billingPeriod":{self.period.json},"status":"{status}","createdAt":"{requested}"'
            f',"updatedAt":"{updated}"{_INTERNAL}{self.partition},"offset":{self.offset}'
            f',"fingerprint":"{self.fingerprint.hex()}","catalogVersion":{self.catalog_version}'
            f',"sequence":{"null" if self.sequence is None else self.sequence},"sentOccurredAt":{sent}}}'
        ).encode()


def shown_usage_event(accepted: bytes) -> bytes:
    """What callers see of a value of to_json(): the same without what only a recount needs, which stands at its end."""
    return accepted[: accepted.rindex(_INTERNAL_BYTES)] + b"}"
