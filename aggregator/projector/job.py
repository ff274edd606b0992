"""The projector's process: the reading, one transaction a batch."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final

import asyncpg
from aiokafka import TopicPartition

from aggregator.health import serve
from aggregator.projector import metrics
from aggregator.projector.rows import Row, Rows
from aggregator.settings import ProjectorSettings
from aggregator.sql import queries
from aggregator.stream.database import columns, connected, write_bisecting
from aggregator.stream.offsets import Offsets, OffsetsMoved, advance_offsets, stored_offsets
from aggregator.stream.progress import Progress
from aggregator.stream.reader import Reader, Records, open_reader
from aggregator.stream.supervision import Availability, keep_running, stop_on_signals
from schemas.topics import Topic

log = logging.getLogger(__name__)

CONSUMER: Final = "projector"
ROLE: Final = "tally_projector"
TOPICS: Final = (Topic.USAGE_TOTALS, Topic.AGGREGATOR_POSITIONS)
READ_TIMEOUT_MS: Final = 500
LOOK_EVERY_SECONDS: Final = 2.0
"""How often the lag is measured. With nothing to do, it also shows whether Kafka and Postgres are there at all."""

VERDICTS: Final = ("received", "accepted", "duplicate", "rejected", "forwarded")

_SQL = queries(__package__)


async def run(settings: ProjectorSettings) -> None:
    """Copy totals and ledgers to Postgres until SIGTERM or SIGINT."""
    stop = stop_on_signals()
    projector = Projector(settings)
    serve(settings.metrics_host, settings.metrics_port, projector.availability.unready)
    await projector.run(stop)


class Projector:
    """One projector. A second one does no harm and is of no use: each batch is written by one of them."""

    def __init__(self, settings: ProjectorSettings) -> None:
        self._settings = settings
        self._topics = {settings.topic(topic): topic for topic in TOPICS}
        self.availability = Availability("projector", metrics.UP, settings.stalled_seconds)

    async def run(self, stop: asyncio.Event) -> None:
        """Copy until `stop` is set; the batch in flight is finished."""
        await keep_running(lambda: self._session(stop), self.availability, "projector", stop)

    async def _session(self, stop: asyncio.Event) -> None:
        async with (
            connected(self._settings.database_url, ROLE) as connection,
            open_reader(self._settings.kafka, "tally-projector", list(self._topics)) as reader,
        ):
            for row in await connection.fetch(_SQL["ledgers"]):
                _show_ledger(row["partition"], [row[verdict] for verdict in VERDICTS])
            while not stop.is_set():
                try:
                    await self._follow(connection, reader, stop)
                except OffsetsMoved:
                    log.info("Another projector has written these records; reading on from its offsets.")

    async def _follow(self, connection: asyncpg.Connection, reader: Reader, stop: asyncio.Event) -> None:
        beginnings = await reader.beginnings()
        offsets = await stored_offsets(connection, CONSUMER, beginnings)
        await reader.seek(offsets, beginnings)
        looked_at = 0.0
        while not stop.is_set():
            records = await reader.read(self._settings.projector_batch_records, READ_TIMEOUT_MS)
            if records:
                with metrics.BATCH_SECONDS.time():
                    offsets |= await self._write(connection, records, offsets)
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

    async def _write(self, connection: asyncpg.Connection, records: Records, offsets: Offsets) -> Offsets:
        """Write a batch and the offsets after it in one transaction.

        The offsets go first: their rows stay locked until the commit, so that an older batch can't be written over a
        newer one. Killed before the commit, nothing has happened; killed after it, the offsets say so.
        """
        rows = Rows()
        for partition, some in records.items():
            topic = self._topics[partition.topic]
            for record in some:
                rows.add(topic, record.key, record.value, record.timestamp)
        after = {partition: some[-1].offset + 1 for partition, some in records.items()}
        async with connection.transaction():
            await advance_offsets(connection, CONSUMER, offsets, after)
            refused = {
                Topic.USAGE_TOTALS: await _put(connection, "put_totals", list(rows.totals.values())),
                Topic.AGGREGATOR_POSITIONS: await _put(connection, "put_ledgers", list(rows.ledgers.values())),
            }
        _report(rows, refused)
        return after


async def _put(connection: asyncpg.Connection, query: str, rows: Sequence[Row]) -> list[tuple[Row, Exception]]:
    async def write(some: Sequence[Row]) -> None:
        await connection.execute(_SQL[query], *columns(some))

    return await write_bisecting(connection, rows, write)


def _report(rows: Rows, refused: dict[Topic, list[tuple[Row, Exception]]]) -> None:
    metrics.TOTALS.inc(len(rows.totals) - len(refused[Topic.USAGE_TOTALS]))
    for partition, _, *counts, _ in rows.ledgers.values():
        _show_ledger(partition, counts)
    for topic, count in rows.unreadable.items():
        metrics.SKIPPED.labels(topic, "unreadable").inc(count)
        log.error("%d records of %s can't be read and were not copied to Postgres.", count, topic)
    for topic, some in refused.items():
        for row, error in some:
            metrics.SKIPPED.labels(topic, "refused").inc()
            log.error("Postgres refused a row of %s, which was not copied: %s: %r", topic, error, row)


def _show_ledger(partition: int, counts: Sequence[int]) -> None:
    for verdict, count in zip(VERDICTS, counts, strict=True):
        metrics.LEDGER.labels(partition, verdict).set(count)
