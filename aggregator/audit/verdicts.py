"""The verdicts of a partition, as `accepted-usage` and `rejected-usage` hold them, on their way into the scratch
database."""

import sqlite3
from operator import attrgetter
from struct import Struct
from typing import Final

import msgspec

from aggregator.audit.copied import CopiedRecords, header_text
from aggregator.audit.evidence import Log, Record
from aggregator.audit.places import ORIGIN_HEADERS, number_of, place_of
from aggregator.audit.report import Check, Findings
from aggregator.audit.scratch import Rows, queries
from aggregator.audit.selection import Selection
from aggregator.audit.times import frequent_own_time
from schemas.topics import Topic

REJECTION_HEADERS: Final = ["reject-code", "reject-field", "reject-error", "origin-topic", *ORIGIN_HEADERS]
PLACE_HEADER: Final = "place"
_PLACE: Final = Struct(">IQ16s")
_VOIDED: Final = 1 << 31

_ID_PREFIXES: Final = {Topic.USAGE_EVENTS: "ue", Topic.USAGE_CORRECTIONS: "uc", Topic.USAGE_FORWARDED: "uf"}

_SQL = queries("partition.sql")


class _Period(msgspec.Struct):
    start: str
    end: str | None


class _Accepted(msgspec.Struct, rename="camel"):
    """A record of `accepted-usage`; msgspec is strict about types."""

    id: str
    service_id: str
    subscription_id: str
    user_id: str
    event_key: str
    event_id: str | None
    meter: str
    quantity: str
    occurred_at: str
    invoice_id: str | None
    billing_period: _Period
    status: str
    created_at: str
    updated_at: str
    partition: int
    offset: int
    fingerprint: str
    catalog_version: int
    sent_occurred_at: str | None
    sequence: int | None = None


_decode: Final = msgspec.json.Decoder(_Accepted).decode

FIELDS: Final = (
    *("id", "service_id", "subscription_id", "user_id", "event_key", "event_id", "meter", "quantity", "occurred_at"),
    *("invoice_id", "billing_period.start", "billing_period.end", "created_at", "partition", "offset", "fingerprint"),
    "sent_occurred_at",
)
"""What follows from an event alone, after the key: sources.recorded_fields() has the same."""

_fields: Final = attrgetter(*FIELDS)


def fields_of(record: Record) -> dict[str, object]:
    """The same of a record, by name."""
    return dict(zip(("key", *FIELDS), (record.key, *_fields(_decode(record.value or b""))), strict=True))


class VerdictReader:
    """Reads the verdicts of one partition: all of them, or `only` those of a subscription."""

    def __init__(
        self,
        log: Log,
        partition: int,
        database: sqlite3.Connection,
        copied: CopiedRecords,
        findings: Findings,
        only: Selection | None = None,
    ) -> None:
        self._log = log
        self._partition = partition
        self._database = database
        self._copied = copied
        self._findings = findings
        self._only = only

    def read(self, accepted_end: int, rejected_end: int) -> None:
        """All that stands before these ends."""
        with self._rows("put_accepted") as accepted, self._rows("put_voided") as voided:
            records = self._log.read(Topic.ACCEPTED_USAGE, self._partition, accepted_end)
            for record in records if self._only is None else self._only.keyed(records):
                try:
                    self._keep_accepted(record, accepted, voided)
                except (ValueError, LookupError, msgspec.MsgspecError) as error:
                    self._unreadable(Topic.ACCEPTED_USAGE, record, error)
        with (
            self._rows("put_rejected") as events,
            self._rows("put_rejected_arrival") as arrivals,
            self._rows("put_rejected_correction") as corrections,
        ):
            tables = {
                Topic.USAGE_EVENTS: events,
                Topic.USAGE_FORWARDED: arrivals,
                Topic.USAGE_CORRECTIONS: corrections,
            }
            for record in self._log.read(Topic.REJECTED_USAGE, self._partition, rejected_end):
                try:
                    self._keep_rejected(record, tables)
                except (ValueError, LookupError, AttributeError) as error:
                    self._unreadable(Topic.REJECTED_USAGE, record, error)

    def _rows(self, name: str) -> Rows:
        return Rows(self._database, _SQL[name])

    def _keep_accepted(self, record: Record, accepted: Rows, voided: Rows) -> None:
        event = _decode(record.value or b"")
        is_voided = event.status == "VOIDED"
        if not is_voided and (event.status != "RECORDED" or event.updated_at != event.created_at):
            raise ValueError(f"its status is {event.status} and its updatedAt {event.updated_at}")
        expected = _PLACE.pack(
            event.partition | (_VOIDED if is_voided else 0), event.offset, bytes.fromhex(event.fingerprint)
        )
        ((name, place),) = record.headers
        if (name, place) != (PLACE_HEADER, expected):
            raise ValueError(f"its header {name} is {place.hex()}, and not {expected.hex()}")
        at = place_of(event.partition, event.offset)
        self._copied.accept(record, at, event)
        (voided if is_voided else accepted).add(
            at,
            record.offset,
            record.timestamp,
            hash((record.key, *_fields(event))),
            event.catalog_version,
            frequent_own_time(event.updated_at),
            event.sequence,
        )

    def _keep_rejected(self, record: Record, tables: dict[Topic, Rows]) -> None:
        headers = list(record.headers)
        sent, added = headers[: -len(REJECTION_HEADERS)], headers[-len(REJECTION_HEADERS) :]
        if [name for name, _ in added] != REJECTION_HEADERS:
            raise ValueError("it does not end with the headers of a rejection")
        code, field, error, source, partition, offset, at = (value for _, value in added)
        topic, number = Topic(source.decode()), number_of(offset)
        if self._only is not None and not self._only.holds(topic, record.value):
            return
        if topic is not Topic.USAGE_EVENTS and number_of(partition) != self._partition:
            raise ValueError(f"its origin is in partition {partition!r}")
        place = place_of(number_of(partition), number)
        tables[topic].add(
            place if topic is Topic.USAGE_EVENTS else number,
            record.offset,
            record.timestamp,
            code.decode(),
            hash((record.key, record.value, tuple(sent))),
            frequent_own_time(at.decode()),
        )
        origin = topic.value, number_of(partition), number
        why = [header_text(header) for header in (code, field, error)]
        self._copied.reject(record, f"{_ID_PREFIXES[topic]}_{origin[1]}_{number}", why, origin, at.decode())

    def _unreadable(self, topic: Topic, record: Record, error: Exception) -> None:
        self._findings.disagree(
            Check.VERDICTS,
            f"A record of {topic} is not one that a worker wrote: {error}.",
            partition=self._partition,
            offset=record.offset,
            key=record.key,
        )
