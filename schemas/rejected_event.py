"""A record that does not count, as `rejected-usage` holds it: the bytes that were received, why, and where they stood.

The record keeps the headers it was sent with. The worker adds its own at the end, so of a name that the sender used
too, the last one counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pydantic_core import PydanticCustomError

from schemas.document import parse_object
from schemas.forwarding import origin_in
from schemas.rejection import Rejection
from schemas.text import text
from schemas.topics import MIB, Topic

ID_PREFIXES: Final = {Topic.USAGE_EVENTS: "ue", Topic.USAGE_CORRECTIONS: "uc", Topic.USAGE_FORWARDED: "uf"}
"""What the id of a rejected record begins with, by the topic of its origin."""

VALUE_BYTES_MAX: Final = 1 * MIB
"""Of `usage-events`. A value that is too large to count still tells whose it was."""


class Record(Protocol):
    """A record of `rejected-usage`."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


@dataclass(slots=True, frozen=True)
class RejectedUsageEvent:
    """A rejected record; `received_at` is the time of its request in ms. `service_id` and `subscription_id` are those
    that its value names, None where it names none that could be one."""

    id: str
    code: str
    error: str
    field: str | None
    service_id: str | None
    subscription_id: str | None
    received_at: int
    origin_topic: Topic
    origin_partition: int
    origin_offset: int
    key: bytes | None
    value: bytes | None

    @classmethod
    def of_record(cls, record: Record) -> "RejectedUsageEvent":
        """The inverse of what a worker writes. Raises ValueError and LookupError for what none wrote."""
        headers = dict(record.headers)
        origin, topic = origin_in(headers), Topic(_text(headers["origin-topic"]))
        service_id, subscription_id = named_in(record.value)
        return cls(
            id=rejected_id(topic, origin.partition, origin.offset),
            code=_text(headers["reject-code"]),
            error=_text(headers["reject-error"]),
            field=_text(headers["reject-field"]) or None,
            service_id=service_id,
            subscription_id=subscription_id,
            received_at=origin.at,
            origin_topic=topic,
            origin_partition=origin.partition,
            origin_offset=origin.offset,
            key=record.key,
            value=record.value,
        )


def rejected_id(topic: Topic, partition: int, offset: int) -> str:
    """The id of a rejected record: its place in the topic of its origin. Raises LookupError for what is no source."""
    return f"{ID_PREFIXES[topic]}_{partition}_{offset}"


def named_in(value: bytes | None) -> tuple[str | None, str | None]:
    """The service and the subscription that a value names, as the gateway reads them."""
    document = parse_object(value or b"", VALUE_BYTES_MAX)
    if isinstance(document, Rejection):
        return None, None
    return _text_or_none(document.get("serviceId")), _text_or_none(document.get("subscriptionId"))


def _text_or_none(value: Any) -> str | None:
    try:
        return text(value)
    except PydanticCustomError:
        return None


def _text(header: bytes | None) -> str:
    """A header as text that any database takes: an error may quote what was sent."""
    if header is None:
        raise ValueError("a header of the rejection is null")
    return header.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
