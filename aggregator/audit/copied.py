"""The single events that the projector has copied, as the topics hold them: kept beside the verdicts, one digest for
each row that there must be in Postgres.

The text that is digested is made twice: here of a record, and of a row by the database itself (postgres.sql).
"""

import json
import sqlite3
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

from aggregator.audit.events import object_of, text_of
from aggregator.audit.evidence import Record
from aggregator.audit.scratch import Rows, queries

VALUE_BYTES_MAX: Final = 1 << 20
"""Of `usage-events`: a value that is too large to count still tells whose it was."""
DIGEST_BYTES: Final = 16

_SQL = queries("partition.sql")
_encode: Final = json.JSONEncoder(ensure_ascii=False).encode


class CopiedTo(NamedTuple):
    """The offsets up to which Postgres had followed the topics; None where it never has."""

    accepted: int | None
    rejected: int | None


class CopiedRecords:
    """Keeps what was copied of one partition in its scratch database."""

    def __init__(self, database: sqlite3.Connection, copied_to: CopiedTo) -> None:
        self._accepted_to = copied_to.accepted or 0
        self._rejected_to = copied_to.rejected or 0
        self._events = Rows(database, _SQL["put_copied_event"])
        self._rejections = Rows(database, _SQL["put_copied_rejection"])

    def __enter__(self) -> "CopiedRecords":
        return self

    def __exit__(self, *_: object) -> None:
        self._events.flush()
        self._rejections.flush()

    def accept(self, record: Record, place: int, event: Any) -> None:
        """A record of `accepted-usage`, and what it holds."""
        if record.offset < self._accepted_to:
            is_recorded = event.status == "RECORDED"
            self._events.add(place, record.offset, digest_of(_event_text(event)), event.sequence, is_recorded)

    def reject(self, record: Record, event_id: str, why: Sequence[str], origin: Sequence[Any], at: str) -> None:
        """A record of `rejected-usage`: code, field and error; the place of its origin; and when it was received."""
        if record.offset < self._rejected_to:
            code, field, error = why
            named = named_in(record.value)
            hashes = [None if raw is None else sha256(raw).hexdigest() for raw in (record.key, record.value)]
            row = [event_id, code, error, field or None, *named, _microseconds(at), *origin, *hashes]
            self._rejections.add(event_id, record.offset, digest_of(_encode(row)))


def digest_of(text: str) -> bytes:
    """16 bytes for the text of a row."""
    return sha256(text.encode()).digest()[:DIGEST_BYTES]


def header_text(header: bytes) -> str:
    """A header of a rejection as the database takes it."""
    return header.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


def named_in(value: bytes | None) -> tuple[str | None, str | None]:
    """The service and the subscription that a value names, None where it names none."""
    document = object_of(value, VALUE_BYTES_MAX)
    if isinstance(document, frozenset):
        return None, None
    service_id, subscription_id = text_of(document.get("serviceId")), text_of(document.get("subscriptionId"))
    return _or_none(service_id), _or_none(subscription_id)


def _event_text(event: Any) -> str:
    period = event.billing_period
    return _encode(
        [
            *(event.id, event.service_id, event.subscription_id, event.user_id, event.event_key, event.event_id),
            *(event.meter, event.quantity, _microseconds(event.occurred_at), _microseconds(event.sent_occurred_at)),
            *(event.invoice_id, _microseconds(period.start), _microseconds(period.end), event.status),
            *(_microseconds(event.created_at), _microseconds(event.updated_at)),
        ]
    )


def _microseconds(time: str | None) -> str | None:
    """A time of Tally's as the database writes it, which might hold one that is finer."""
    return None if time is None else f"{time[:-1]}000Z"


def _or_none(text: str | frozenset[str]) -> str | None:
    return text if isinstance(text, str) else None
