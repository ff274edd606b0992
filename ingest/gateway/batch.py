"""The body of a batch, one JSON object or a line for each event. Each event stands by itself, and one that is malformed
fails no other.
"""

import json
from typing import Any, Final

from schemas.document import BODY_BYTES_MAX, parse_object
from schemas.rejection import Reason, Rejection
from schemas.usage_event import (
    BATCH_BYTES_MAX,
    BATCH_EVENTS_MAX,
    UsageEvent,
    parse_usage_event,
    plain_usage_events,
    usage_event_adapter,
    usage_event_of,
)

COMMAS_MAX: Final = 200 * BATCH_EVENTS_MAX
"""A batch of 1,000 events of 8 fields has 8,000. Beyond this, parsing alone would hold up all other requests for
longer than 0.2 s (measured: 0.9 us a member of an object)."""

LINES_MAX: Final = 10 * BATCH_EVENTS_MAX
"""Blank lines are skipped, but not without end."""

_FIELDS: Final = frozenset(usage_event_adapter.json_schema(by_alias=True)["properties"])  # names on the wire


def parse_lines(body: bytes) -> list[UsageEvent | Rejection] | Rejection:
    """The events of a batch as NDJSON, one on each line that is not blank: as parse_batch()."""
    if body.count(b"\n") > LINES_MAX:
        return Rejection.of(Reason.BATCH_SIZE_INVALID)
    lines = [line for line in body.split(b"\n") if line.strip()]
    if not 1 <= len(lines) <= BATCH_EVENTS_MAX:
        return Rejection.of(Reason.BATCH_SIZE_INVALID)
    return [parse_usage_event(line) for line in lines]


def parse_batch(body: bytes) -> list[UsageEvent | Rejection] | Rejection:
    """The events of a batch, in order, each an event or what is wrong with it; or why there is no batch at all."""
    if len(body) <= BATCH_BYTES_MAX:
        if body.count(b",") > COMMAS_MAX:
            return Rejection.of(Reason.BATCH_SIZE_INVALID, "usageEvents")
        plain = plain_usage_events(body)
        if plain is not None and len(plain) <= BATCH_EVENTS_MAX:
            return list(plain)
    document = parse_object(body, BATCH_BYTES_MAX)
    if isinstance(document, Rejection):
        return document
    items = document.get("usageEvents")
    if items is None:
        return Rejection(Reason.FIELD_REQUIRED, "usageEvents is required.", "usageEvents")
    if type(items) is not list:
        return Rejection(Reason.FIELD_INVALID, "usageEvents must be a list of usage events.", "usageEvents")
    if not 1 <= len(items) <= BATCH_EVENTS_MAX:
        return Rejection.of(Reason.BATCH_SIZE_INVALID, "usageEvents")
    return [_parse_item(item) for item in items]


def _parse_item(item: Any) -> UsageEvent | Rejection:
    if type(item) is not dict:
        return Rejection(Reason.INVALID_BODY, "Each usage event must be a JSON object.")
    event = usage_event_of(item)
    # A valid event without other fields is small, whatever blanks surrounded its strings.
    if (isinstance(event, Rejection) or not _FIELDS.issuperset(item)) and _size(item) > BODY_BYTES_MAX:
        return Rejection(Reason.BODY_TOO_LARGE, "A usage event has at most 64 KiB.")
    return event


def _size(item: dict[str, Any]) -> int:
    """Bytes of the item as compact JSON; a number counts with its digits as sent."""
    return len(json.dumps(item, ensure_ascii=False, separators=(",", ":"), default=str).encode())
