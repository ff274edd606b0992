"""The copying of some topics into their tables: the reading, one transaction a batch."""

import asyncio
import logging
import reprlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

import asyncpg
from aiokafka import TopicPartition
from prometheus_client import Gauge

from aggregator.projector import metrics
from aggregator.projector.batches import Batch, Row, Source, Table
from aggregator.settings import ProjectorSettings
from aggregator.sql import queries
from aggregator.stream.database import columns, connected, write_bisecting
from aggregator.stream.offsets import Offsets, OffsetsMoved, advance_offsets, stored_offsets
from aggregator.stream.progress import Progress
from aggregator.stream.reader import Reader, open_reader
from aggregator.stream.supervision import Availability, keep_running
from schemas.topics import Topic

log = logging.getLogger(__name__)

CONSUMER: Final = "projector"
ROLE: Final = "tally_projector"
LOOK_EVERY_SECONDS: Final = 2.0
"""How often the lag is measured. With nothing to do, it also shows whether Kafka and Postgres are there at all."""

Refused = Mapping[Table, Sequence[tuple[Row, Exception]]]
"""Rows that Postgres refused, each with the reason."""

OpenSource = Callable[[ProjectorSettings, Reader], AbstractAsyncContextManager[Source]]

_QUERIES: Final = {
    Table.USAGE_TOTALS: "put_totals",
    Table.BILLING_PERIODS: "put_periods",
    Table.LEDGER: "put_ledgers",
    Table.USAGE_EVENTS: "put_usage_events",
    Table.REJECTED_USAGE_EVENTS: "put_rejected_events",
}
_TOPICS: Final = {
    Table.USAGE_TOTALS: Topic.USAGE_TOTALS,
    Table.BILLING_PERIODS: Topic.USAGE_TOTALS,
    Table.LEDGER: Topic.AGGREGATOR_POSITIONS,
    Table.USAGE_EVENTS: Topic.ACCEPTED_USAGE,
    Table.REJECTED_USAGE_EVENTS: Topic.REJECTED_USAGE,
}

_SQL = queries(__package__)

_shown = reprlib.Repr()
_shown.maxtuple, _shown.maxstring, _shown.maxother = 20, 100, 100


class Copying:
    """Copies some topics. A second one of the same does no harm: each batch is written by one of them."""

    def __init__(
        self, name: str, settings: ProjectorSettings, topics: Sequence[Topic], open_source: OpenSource, up: Gauge
    ) -> None:
        self._name = name
        self._settings = settings
        self._topics = {settings.topic(topic): topic for topic in topics}
        self._open_source = open_source
        self.availability = Availability(name, up, settings.stalled_seconds)

    async def run(self, stop: asyncio.Event) -> None:
        """Copy until `stop` is set; the batch in flight is finished."""
        await keep_running(lambda: self._session(stop), self.availability, self._name, stop)

    async def _session(self, stop: asyncio.Event) -> None:
        settings = self._settings
        async with (
            connected(settings.database_url, ROLE) as connection,
            open_reader(settings.kafka, "tally-projector", list(self._topics)) as reader,
            self._open_source(settings, reader) as source,
        ):
            while not stop.is_set():
                try:
                    await self._follow(connection, reader, source, stop)
                except OffsetsMoved:
                    log.info("Another projector has written these records; reading on from its offsets.")

    async def _follow(
        self, connection: asyncpg.Connection, reader: Reader, source: Source, stop: asyncio.Event
    ) -> None:
        await source.begin(connection)
        beginnings = await reader.beginnings()
        offsets = await stored_offsets(connection, CONSUMER, beginnings)
        await reader.seek(source.starts(offsets, beginnings), beginnings)
        looked_at = 0.0
        while not stop.is_set():
            records = await reader.read(self._settings.projector_batch_records, source.read_timeout_ms)
            async for batch in source.batches(records):
                with metrics.BATCH_SECONDS.time():
                    await _write(connection, batch, offsets)
                offsets |= batch.after
            now = time.monotonic()
            if now - looked_at > LOOK_EVERY_SECONDS:
                await connection.execute("SELECT 1")
                self._show(await reader.progress())
                looked_at = now
            self.availability.answering()

    def _show(self, partitions: dict[TopicPartition, Progress]) -> None:
        self.availability.reading(partitions)
        for partition, progress in partitions.items():
            metrics.LAG.labels(self._topics[partition.topic], partition.partition).set(progress.lag)


async def _write(connection: asyncpg.Connection, batch: Batch, offsets: Offsets) -> None:
    """Write a batch and the offsets after it in one transaction.

    The offsets go first: their rows stay locked until the commit, so that an older batch can't be written over a
    newer one. Killed before the commit, nothing has happened; killed after it, the offsets say so.
    """
    refused = {}
    async with connection.transaction():
        await advance_offsets(connection, CONSUMER, offsets, batch.after)
        for table, rows in batch.rows.items():
            refused[table] = await _put(connection, _QUERIES[table], rows)
    _report(batch, refused)


async def _put(connection: asyncpg.Connection, query: str, rows: Sequence[Row]) -> list[tuple[Row, Exception]]:
    async def write(some: Sequence[Row]) -> None:
        await connection.execute(_SQL[query], *columns(some))

    return await write_bisecting(connection, rows, write)


def _report(batch: Batch, refused: Refused) -> None:
    for table, rows in batch.rows.items():
        metrics.ROWS.labels(table.value).inc(len(rows) - len(refused[table]))
    for topic, count in batch.unreadable.items():
        metrics.SKIPPED.labels(topic, "unreadable").inc(count)
        what = "%d records of %s can't be read and were not copied to Postgres."
        log.error(what, count, topic, extra={"topic": topic, "records": count})
    for table, some in refused.items():
        for row, error in some:
            metrics.SKIPPED.labels(_TOPICS[table], "refused").inc()
            what = "Postgres refused a row of %s, which was not copied: %s: %s"
            fields = {"topic": _TOPICS[table].value, "table": table.value}
            log.error(what, table, error, _shown.repr(row), extra=fields)
