"""Running totals and ledgers: of each key the last record counts, and a ledger waits for the totals it speaks of.

A row of `ledger` says up to where `usage-events` is counted, and who reads totals beside it takes them for the usage up
to there. A worker writes totals and position in one transaction; but a transaction becomes visible on one topic after
the other, and each topic is read at its own pace. So a position is held back until `usage-totals` of the same partition
is read up to the end that it had, open transactions included, when the position was read: its own totals are below.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import asyncpg
from aiokafka import TopicPartition

from aggregator.projector import metrics
from aggregator.projector.batches import Batch, Row, Table, after
from aggregator.settings import ProjectorSettings
from aggregator.sql import queries
from aggregator.stream.ends import Ends, open_ends
from aggregator.stream.offsets import Offsets
from aggregator.stream.reader import UNREADABLE, Reader, Records
from schemas.decimals import decimal_text
from schemas.position import Position
from schemas.timestamps import aware_datetime, optional_datetime, timestamp_of_own
from schemas.topics import Topic
from schemas.totals import PERIOD_METER, MeterTotal, PeriodState

TOPICS: Final = (Topic.USAGE_TOTALS, Topic.AGGREGATOR_POSITIONS)
READ_TIMEOUT_MS: Final = 500
HELD_TIMEOUT_MS: Final = 20
"""While a position is held: what it waits for may be the end of a transaction, which is no record."""

VERDICTS: Final = ("received", "accepted", "duplicate", "rejected", "forwarded")

TotalKey = tuple[str, int, str]
"""Subscription, start of the period in ms, meter: of the period's own state ""."""

_SQL = queries(__package__)


@dataclass(slots=True)
class _Held:
    """A ledger row, None where its record could not be read; up to where `usage-totals` must be read before it is
    written; and the offset after its record."""

    row: Row | None
    totals_end: int
    next_offset: int


class Totals:
    """Makes rows of `usage-totals` and `aggregator-positions`."""

    def __init__(self, settings: ProjectorSettings, reader: Reader, ends: Ends) -> None:
        self._reader = reader
        self._ends = ends
        self._totals = settings.topic(Topic.USAGE_TOTALS)
        self._positions = settings.topic(Topic.AGGREGATOR_POSITIONS)
        self._held: dict[int, list[_Held]] = {}
        """By partition at most two: the one that is waited for, and the newest. Were it the newest alone, a busy
        partition would never show any."""

    @property
    def read_timeout_ms(self) -> int:
        """See Source."""
        return HELD_TIMEOUT_MS if self._held else READ_TIMEOUT_MS

    async def begin(self, connection: asyncpg.Connection) -> None:
        """What was held is read again."""
        self._held.clear()
        for row in await connection.fetch(_SQL["ledgers"]):
            _show_ledger(row["partition"], [row[verdict] for verdict in VERDICTS])

    def starts(self, offsets: Offsets, beginnings: Offsets) -> Offsets:
        """Both topics are kept for ever."""
        del beginnings
        return offsets

    async def batches(self, records: Records) -> AsyncIterator[Batch]:
        """The totals, and the ledgers that they suffice for."""
        totals = {partition: some for partition, some in records.items() if partition.topic == self._totals}
        batch = Batch(after(totals))
        rows: dict[TotalKey, Row] = {}
        for record in (record for some in totals.values() for record in some):
            try:
                rows |= total_row(record.key or b"", record.value or b"", record.timestamp)
            except UNREADABLE:
                batch.unreadable[Topic.USAGE_TOTALS] += 1
        batch.rows[Table.USAGE_TOTALS] = [row for (*_, meter), row in rows.items() if meter != PERIOD_METER]
        batch.rows[Table.BILLING_PERIODS] = [row for (*_, meter), row in rows.items() if meter == PERIOD_METER]
        await self._hold(records, batch)
        batch.rows[Table.LEDGER] = await self._release(batch)
        if batch.after:
            yield batch  # and it is written when the next one is asked for
        for partition, _, *counts, _ in batch.rows[Table.LEDGER]:
            _show_ledger(partition, counts)

    async def _hold(self, records: Records, batch: Batch) -> None:
        """Hold the last position of each partition. An end is asked for after the position was read, so whatever was
        committed with it is below."""
        positions = {
            partition.partition: some for partition, some in records.items() if partition.topic != self._totals
        }
        if not positions:
            return
        ends = await self._ends.of([TopicPartition(self._totals, number) for number in positions])
        for number, some in positions.items():
            held = self._held.setdefault(number, [])
            row = held[1].row if len(held) > 1 else None
            for record in some:
                try:
                    row = ledger_row(record.key or b"", record.value or b"", record.timestamp)
                except UNREADABLE:
                    batch.unreadable[Topic.AGGREGATOR_POSITIONS] += 1
            held[1:] = [_Held(row, ends[TopicPartition(self._totals, number)], some[-1].offset + 1)]

    async def _release(self, batch: Batch) -> list[Row]:
        """The ledgers for which the totals suffice that were read until now."""
        rows = []
        for number, held in list(self._held.items()):
            position = await self._reader.position(TopicPartition(self._totals, number))
            ripe = [held.pop(0) for one in list(held) if one.totals_end <= position]
            if ripe:
                rows += [one.row for one in ripe if one.row is not None][-1:]
                batch.after[TopicPartition(self._positions, number)] = ripe[-1].next_offset
            if not held:
                del self._held[number]
        return rows


@asynccontextmanager
async def open_totals(settings: ProjectorSettings, reader: Reader) -> AsyncIterator[Totals]:
    """What makes rows of the records of a reader."""
    async with open_ends(settings.kafka, "tally-projector") as ends:
        yield Totals(settings, reader, ends)


def total_row(key: bytes, value: bytes, appended_at: int) -> dict[TotalKey, Row]:
    """The row of a record of `usage-totals` by its key: of `billing_periods` where it is a period's own state.
    `appended_at` is its append time in ms."""
    subscription_id, start_text, meter = json.loads(key)
    start = timestamp_of_own(start_text)
    counted: MeterTotal | PeriodState
    columns: Row
    if meter == PERIOD_METER:
        counted = PeriodState.of_json(value)
        columns = (counted.closed, counted.next_sequence)
    else:
        counted = MeterTotal.of_json(value)
        columns = (meter, decimal_text(counted.quantity), counted.event_count)
    end = optional_datetime(counted.period_end)
    row = (subscription_id, aware_datetime(start), end, *columns, aware_datetime(appended_at))
    return {(subscription_id, start, meter): row}


def ledger_row(key: bytes, value: bytes, appended_at: int) -> Row:
    """The row of a record of `aggregator-positions`."""
    position = Position.of_json(value)
    ledger = position.ledger
    counts = (getattr(ledger, verdict) for verdict in VERDICTS)
    return int(key), position.positions[Topic.USAGE_EVENTS], *counts, aware_datetime(appended_at)


def _show_ledger(partition: int, counts: list[int]) -> None:
    for verdict, count in zip(VERDICTS, counts, strict=True):
        metrics.LEDGER.labels(partition, verdict).set(count)
