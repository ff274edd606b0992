"""The sources of a partition, read whole: each record with what the rules say of it goes into the scratch database."""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from aggregator.audit.catalog import Catalog
from aggregator.audit.corrections import void_of
from aggregator.audit.events import Codes, Event, event_of
from aggregator.audit.evidence import SOURCES, AuditImpossible, Log, Record
from aggregator.audit.homes import home_of
from aggregator.audit.judging import Judgement, judge
from aggregator.audit.places import origin_of, partition_and_offset, place_of
from aggregator.audit.scratch import Rows, queries
from aggregator.audit.selection import Selection
from aggregator.audit.times import time_text
from schemas.rejection import Reason
from schemas.topics import Topic

OWN: Final = 0
FORWARDED: Final = 1

_SQL = queries("partition.sql")
_UNDECIDABLE: Final = frozenset({Reason.PROCESSING_FAILED})


class TotalKey(NamedTuple):
    """Which running total an event belongs to; times in ms."""

    subscription_id: str
    start: int
    end: int | None
    meter: str


@dataclass(slots=True)
class Sources:
    """What reading the sources left behind beside the database: the running totals that events belong to, by the number
    that stands for each there, and the last record of each source."""

    totals: dict[TotalKey, int] = field(default_factory=dict)
    last: dict[Topic, Record] = field(default_factory=dict)
    counts: dict[Topic, int] = field(default_factory=dict)


def raw_hash(record: Record, headers: Iterable[tuple[str, bytes]]) -> int:
    """Of a record as it was sent: key, value and headers. For comparing within this process."""
    return hash((record.key, record.value, tuple(headers)))


class SourceReader:
    """Reads the sources of one partition: all records, or `only` those of a subscription."""

    def __init__(
        self,
        log: Log,
        partition: int,
        partitions: int,
        catalog: Catalog,
        database: sqlite3.Connection,
        only: Selection | None = None,
    ) -> None:
        self._log = log
        self._partition = partition
        self._partitions = partitions
        self._catalog = catalog
        self._database = database
        self._only = only
        self.sources = Sources()

    def read(self, positions: dict[str, int], forwarded_end: int) -> Sources:
        """All that stands before these positions. What has arrived in `usage-forwarded` is noted up to its end."""
        for topic in SOURCES:
            if (begin := self._log.beginning(topic, self._partition)) > 0:
                raise AuditImpossible(
                    f"Partition {self._partition} of {topic} begins at offset {begin}: what stood before was deleted"
                    " and can't be recounted; keep that topic for ever."
                )
        self._read_events(positions[Topic.USAGE_EVENTS])
        self._read_arrivals(positions[Topic.USAGE_FORWARDED], forwarded_end)
        self._read_corrections(positions[Topic.USAGE_CORRECTIONS])
        return self.sources

    def _rows(self, name: str) -> Rows:
        return Rows(self._database, _SQL[name])

    def _read_events(self, end: int) -> None:
        with self._rows("put_judged") as judged, self._rows("put_sent") as sent:
            for record in self._counted(Topic.USAGE_EVENTS, self._committed(end)):
                event = event_of(record.value)
                place = place_of(self._partition, record.offset)
                if type(event) is Event:
                    home = home_of(event.subscription_id, self._partitions)
                    if home != self._partition:
                        sent.add(place, home, record.timestamp, _digest(record, record.headers))
                        continue
                raw = raw_hash(record, record.headers)
                judged.add(*self._row(place, OWN, record.offset, record.timestamp, raw, event))

    def _read_arrivals(self, position: int, end: int) -> None:
        records = self._read(Topic.USAGE_FORWARDED, end)
        with self._rows("put_judged") as judged, self._rows("put_arrived") as arrived, self._rows("put_stray") as stray:
            for record in records:
                origin = origin_of(record)
                if origin is not None:
                    arrived.add(record.offset, origin.place, origin.at, _digest(record, origin.sent))
                if record.offset >= position:
                    continue
                self._count(Topic.USAGE_FORWARDED, record)
                event = event_of(record.value) if origin is not None else _UNDECIDABLE
                is_astray = type(event) is Event and home_of(event.subscription_id, self._partitions) != self._partition
                if origin is None or is_astray:
                    codes = _spaced(_UNDECIDABLE)
                    stray.add(record.offset, record.timestamp, raw_hash(record, record.headers), codes)
                else:
                    raw = raw_hash(record, origin.sent)
                    judged.add(*self._row(origin.place, FORWARDED, record.offset, origin.at, raw, event))

    def _read_corrections(self, end: int) -> None:
        with self._rows("put_correction") as corrections:
            for record in self._counted(Topic.USAGE_CORRECTIONS, self._read(Topic.USAGE_CORRECTIONS, end)):
                void = void_of(record.value)
                raw = raw_hash(record, record.headers)
                if isinstance(void, frozenset):
                    corrections.add(record.offset, record.timestamp, raw, _spaced(void), None, None)
                else:
                    corrections.add(record.offset, record.timestamp, raw, "", void.place, void.key)

    def _read(self, topic: Topic, end: int) -> Iterator[Record]:
        records = self._log.read(topic, self._partition, end)
        return records if self._only is None else self._only.sent(records, topic)

    def _committed(self, end: int) -> Iterator[Record]:
        """The committed events, beside which a second reader sees those of aborted transactions: these only explain a
        verdict that should not be, which is none the less found where one subscription is looked at."""
        if self._only is not None:
            yield from self._read(Topic.USAGE_EVENTS, end)
            return
        with self._rows("put_aborted") as aborted:
            everything = self._log.read(Topic.USAGE_EVENTS, self._partition, end, committed=False)
            for record in self._log.read(Topic.USAGE_EVENTS, self._partition, end):
                for other in everything:
                    if other.offset == record.offset:
                        break
                    assert other.offset < record.offset, "who reads everything reads what is committed"
                    aborted.add(place_of(self._partition, other.offset))
                yield record
            for other in everything:
                aborted.add(place_of(self._partition, other.offset))

    def _counted(self, topic: Topic, records: Iterator[Record]) -> Iterator[Record]:
        for record in records:
            self._count(topic, record)
            yield record

    def _count(self, topic: Topic, record: Record) -> None:
        self.sources.counts[topic] = self.sources.counts.get(topic, 0) + 1
        self.sources.last[topic] = record

    def _row(self, place: int, source: int, seen: int, at: int, raw: int, event: Event | Codes) -> tuple[Any, ...]:
        """A row of `judged`."""
        if not isinstance(event, Event):
            return place, source, seen, at, _spaced(event), "", raw, *_NO_KEY
        judgement = judge(event, at, self._catalog)
        if judgement.subscription is None:
            return place, source, seen, at, _spaced(judgement.refused), _spaced(judgement.either), raw, *_NO_KEY
        start, end = judgement.period
        totals = self.sources.totals
        total = totals.setdefault(TotalKey(event.subscription_id, start, end, event.meter), len(totals))
        content = event.fingerprint()
        return (
            *(place, source, seen, at, _spaced(judgement.refused), _spaced(judgement.either), raw),
            blake2b(judgement.key, digest_size=16).digest(),
            content,
            hash(recorded_fields(event, place, at, judgement, content)),
            total,
            event.quantity,
            *judgement.subscription.entry.version_bounds(at),
        )


_NO_KEY: Final = (None,) * 7


def recorded_fields(event: Event, place: int, at: int, judgement: Judgement, content: bytes) -> tuple[Any, ...]:
    """What must be recorded of an accepted event, in the order of verdicts.FIELDS."""
    partition, offset = partition_and_offset(place)
    start, end = judgement.period
    return (
        *(judgement.key, f"ue_{partition}_{offset}", event.service_id, event.subscription_id, event.user_id),
        *(event.event_key, event.event_id, event.meter, event.quantity, time_text(judgement.occurred_at)),
        *(event.invoice_id, time_text(start), None if end is None else time_text(end), time_text(at)),
        *(partition, offset, content.hex(), None if event.occurred_at is None else time_text(event.occurred_at)),
    )


def _digest(record: Record, sent: Iterable[tuple[str, bytes]]) -> bytes:
    """As raw_hash(), but the same in all processes."""
    return blake2b(repr((record.key, record.value, list(sent))).encode(), digest_size=16).digest()


def _spaced(codes: Iterable[str]) -> str:
    """Codes as the database has them: each between blanks."""
    return f" {' '.join(sorted(codes))} " if codes else ""
