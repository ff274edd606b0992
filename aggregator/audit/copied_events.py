"""The rows of `usage_events` beside the records that they were copied from, a partition at a time.

Compaction may have taken the record of an event's acceptance where its void is there. Then the row can't be compared
if it was copied before the void, and may say any sequence if after: the void does not always know which it was.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from aggregator.audit.copies import Copies
from aggregator.audit.places import id_of
from aggregator.audit.report import Check, Findings
from aggregator.audit.scratch import queries

_SQL = queries("partition.sql")
_END: Final = 1 << 63


class CopiedEvent(NamedTuple):
    """What was copied of an event: the last record of it, and whether that of its acceptance is still there."""

    place: int
    seen: int
    digest: bytes
    sequence: int | None
    is_recorded: int


class EventRow(NamedTuple):
    """A row of `usage_events`."""

    place: int
    digest: bytes
    sequence: int | None


def compare_events(database: sqlite3.Connection, copies: Copies, partition: int, findings: Findings) -> None:
    """Each event that was copied has its row, each row its event, and they are equal."""
    records = map(CopiedEvent._make, database.execute(_SQL["copied_events"]))
    rows = map(EventRow._make, copies.select("usage_events_of", partition))
    for record, row in _side_by_side(records, rows):
        what = None
        if record is None:
            assert row is not None
            what = None if _is_voided(database, row.place) else "A row of usage_events has no event that was copied."
        else:
            findings.compare(Check.USAGE_EVENTS)
            if row is None:
                what = "An event has no row in usage_events."
            elif row.digest != record.digest:
                what = "A row of usage_events is not the event that it was copied from."
            elif not _is_sequence_right(record, row):
                what = "A row of usage_events says another sequence than its event."
        if what is not None:
            _disagree(findings, partition, what, record, row)


def _disagree(findings: Findings, partition: int, what: str, record: CopiedEvent | None, row: EventRow | None) -> None:
    place = record.place if record is not None else row.place if row is not None else 0
    findings.disagree(
        Check.USAGE_EVENTS,
        what,
        partition=partition,
        offset=None if record is None else record.seen,
        id=id_of(place),
        expected=None if record is None else {"sequence": record.sequence, "digest": record.digest.hex()},
        found=None if row is None else {"sequence": row.sequence, "digest": row.digest.hex()},
    )


def _is_sequence_right(record: CopiedEvent, row: EventRow) -> bool:
    is_known = record.sequence is not None or record.is_recorded
    return row.sequence == record.sequence or not is_known


def _is_voided(database: sqlite3.Connection, place: int) -> bool:
    return bool(database.execute(_SQL["is_voided"], (place,)).fetchone()[0])


def _side_by_side(
    records: Iterator[CopiedEvent], rows: Iterator[EventRow]
) -> Iterable[tuple[CopiedEvent | None, EventRow | None]]:
    """Both in the order of their places: those of one place together."""
    record, row = next(records, None), next(rows, None)
    while record is not None or row is not None:
        record_place = _END if record is None else record.place
        row_place = _END if row is None else row.place
        has_record, has_row = record_place <= row_place, row_place <= record_place
        yield record if has_record else None, row if has_row else None
        record = next(records, None) if has_record else record
        row = next(rows, None) if has_row else row
