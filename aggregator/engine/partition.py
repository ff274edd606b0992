"""One source partition: opened (fenced, restored, recognised), then batch after batch, one transaction each."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from aggregator.engine import metrics
from aggregator.engine.catalog import CatalogFollower
from aggregator.engine.changelog import Restore
from aggregator.engine.closing import Agenda
from aggregator.engine.commit import Commits, last_record
from aggregator.engine.halt import Halt, HaltReason
from aggregator.engine.tables import Changes, Memory, Meta, Tables
from aggregator.engine.transaction import BATCH_BYTES_MAX
from aggregator.rules.bisecting import bisected
from aggregator.rules.deciding import Decisions, Record, decide
from aggregator.settings import AggregatorSettings
from schemas.position import LastRecord, Position, first_position
from schemas.topics import Topic

log = logging.getLogger(__name__)

LOG_APPEND_TIME = 1
REPLY_TO = "reply-to"
SECOND_MS = 1_000
TICK_SECONDS = 1.0
"""How often the agenda is looked at."""
RECOGNISE_SECONDS_MAX = 30


@dataclass(slots=True, frozen=True)
class Shared:
    """What the partitions of a process share."""

    settings: AggregatorSettings
    consumer: AIOKafkaConsumer
    catalog: CatalogFollower
    memory: Memory
    names: dict[Topic, str]
    partitions: int


class Partition:
    """The owner of one partition of `usage-events`, from assignment to revocation."""

    def __init__(self, number: int, shared: Shared) -> None:
        self.number = number
        self._shared = shared
        self._settings = shared.settings
        self._tp = TopicPartition(shared.names[Topic.USAGE_EVENTS], number)
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False
        self._ticked_at = 0.0
        self._producer: AIOKafkaProducer | None = None
        self._tables: Tables | None = None

    @property
    def next_offset(self) -> int | None:
        """The next offset of `usage-events` to decide; None until the partition is open."""
        position = None if self._tables is None else self._tables.meta.position
        return None if position is None else position.positions[Topic.USAGE_EVENTS]

    async def run(self) -> None:
        """Open, then work until stop(). Raises Halt where the process must exit; it then exits as it stands."""
        try:
            await self._work(*await self._open())
        except asyncio.CancelledError:
            await self._release()
            raise
        await self._release()

    async def _work(self, tables: Tables, agenda: Agenda, commits: Commits) -> None:
        while not self._stopping:
            records = await self._read(tables)
            self._idle.clear()
            if records:
                next_offset = await self._shared.consumer.position(self._tp)
                await self._process(tables, commits, records, next_offset)
            await self._tend(tables, agenda, commits)
            self._idle.set()

    async def stop(self, task: asyncio.Task[None]) -> None:
        """Give the partition up. A transaction in flight is never cut off; a restore is, for it can begin again."""
        self._stopping = True
        await self._idle.wait()
        task.cancel()
        await asyncio.wait([task])

    # Opening

    async def _open(self) -> tuple[Tables, Agenda, Commits]:
        """Fence, then restore, then read on: strictly in this order (design section 3)."""
        begun, settings, shared = time.monotonic(), self._settings, self._shared
        timeout_ms = settings.transaction_timeout_seconds * SECOND_MS
        self._producer = AIOKafkaProducer(
            bootstrap_servers=settings.kafka,
            transactional_id=f"{settings.topic_prefix}{settings.app_id}-{self.number}",
            transaction_timeout_ms=timeout_ms,
            request_timeout_ms=timeout_ms,
            max_batch_size=BATCH_BYTES_MAX,
            linger_ms=0,
        )
        await self._producer.start()  # InitProducerId: fences the former owner and aborts what it left open
        tables = Tables(shared.memory.open(Path(settings.state_dir) / f"partition-{self.number}"))
        self._tables = tables
        restored = await Restore(tables, shared.names, self.number, settings.kafka).run()
        position = self._position(tables)
        await self._read_on(position)
        agenda = Agenda(tables, shared.catalog.store, self.number, shared.partitions, settings.grace_seconds)
        commits = Commits(
            self._producer, shared.names, self.number, tables, agenda, settings.transaction_timeout_seconds
        )
        metrics.RESTORED.labels(self.number).inc(restored)
        metrics.ledger(self.number, position.ledger.wire())
        log.info(
            "partition %d opened at offset %d in %.2f s, %d changelog records restored",
            self.number,
            position.positions[Topic.USAGE_EVENTS],
            time.monotonic() - begun,
            restored,
        )
        return tables, agenda, commits

    async def _release(self) -> None:
        if self._producer is not None:
            await self._producer.stop()
        if self._tables is not None:
            self._tables.close()
        metrics.forget(self.number)

    def _position(self, tables: Tables) -> Position:
        return tables.meta.position or first_position(self._shared.partitions)

    async def _read_on(self, position: Position) -> None:
        """Continue from the position in the state, once the log proves to be the one the state was built from."""
        consumer = self._shared.consumer
        if position.partitions != self._shared.partitions:
            what = f"usage-events had {position.partitions} partitions and has {self._shared.partitions}"
            raise Halt(HaltReason.PARTITIONS_CHANGED, what)
        begin = (await consumer.beginning_offsets([self._tp]))[self._tp]
        end = (await consumer.end_offsets([self._tp]))[self._tp]
        offset = position.positions[Topic.USAGE_EVENTS]
        if end < offset:
            what = f"Partition {self.number} of usage-events ends at {end}, and {offset} was read"
            raise Halt(HaltReason.SOURCE_REPLACED, what)
        if begin > offset:
            what = f"Partition {self.number} of usage-events begins at {begin}, and only {offset} was read"
            raise Halt(HaltReason.SOURCE_TRUNCATED, what)
        consumer.resume(self._tp)
        if position.last is not None and position.last.offset >= begin:
            await self._recognise(position.last)
        consumer.seek(self._tp, offset)

    async def _recognise(self, last: LastRecord) -> None:
        self._shared.consumer.seek(self._tp, last.offset)
        deadline = time.monotonic() + RECOGNISE_SECONDS_MAX
        records: Sequence[Any] = ()
        while not records and time.monotonic() < deadline:
            records = await self._getmany(200, 1)
        if not records or last_record(records[0]) != last:
            what = f"The last record read of partition {self.number} was {last}, and the log holds another"
            raise Halt(HaltReason.SOURCE_REPLACED, what)

    # Working

    async def _read(self, tables: Tables) -> Sequence[Any]:
        """The next records. A small batch waits for company, unless somebody waits for its verdicts."""
        settings = self._settings
        records = await self._getmany(settings.poll_milliseconds, settings.batch_records_max)
        if 0 < len(records) < settings.linger_below_records and not _wants_reply(records):
            await asyncio.sleep(settings.linger_milliseconds / SECOND_MS)
            records = [*records, *await self._getmany(0, settings.batch_records_max - len(records))]
        if records and {records[0].timestamp_type, records[-1].timestamp_type} != {LOG_APPEND_TIME}:
            raise Halt(HaltReason.NOT_APPEND_TIME, f"The topic {self._tp.topic} holds the producers' times")
        end = self._shared.consumer.highwater(self._tp)
        metrics.lag(self.number, end, self._position(tables).positions[Topic.USAGE_EVENTS])
        return records

    async def _getmany(self, timeout_ms: int, records_max: int) -> Sequence[Any]:
        fetched = await self._shared.consumer.getmany(self._tp, timeout_ms=timeout_ms, max_records=records_max)
        records: Sequence[Any] = fetched.get(self._tp, ())
        return records

    async def _process(self, tables: Tables, commits: Commits, records: Sequence[Any], next_offset: int) -> None:
        """Decide a batch and commit it."""
        await self._shared.catalog.barrier()
        catalog = self._shared.catalog.store

        def decide_part(part: Sequence[Record]) -> Decisions:
            return decide(part, self.number, self._shared.partitions, tables, catalog)

        for part in bisected(records, decide_part, fatal=(Halt, MemoryError)):
            last: Any = part.records[-1]
            if part.failure is not None:
                log.error("partition %d offset %d was refused", self.number, last.offset, exc_info=part.failure)
            part_end = next_offset if last is records[-1] else last.offset + 1
            await commits.batch(self._position(tables), last, part_end, part.decisions)
            metrics.batch(self.number, len(part.records), part.decisions)
        metrics.ledger(self.number, self._position(tables).ledger.wire())

    # Closing

    async def _tend(self, tables: Tables, agenda: Agenda, commits: Commits) -> None:
        """Every second: enrol new subscriptions, and close what is due by the broker's clock."""
        now = time.monotonic()
        if now - self._ticked_at < TICK_SECONDS:
            return
        self._ticked_at = now
        await self._shared.catalog.barrier()
        self._enrol(tables, agenda)
        due_at = tables.next_due_at()
        if due_at is None or not commits.broker_time.may_have_reached(due_at, now):
            return
        if commits.broker_time.heard_at < now - TICK_SECONDS:
            await commits.heartbeat(self._position(tables))
        if due_at <= commits.broker_time.at:
            await self._close_due(tables, agenda, commits)

    def _enrol(self, tables: Tables, agenda: Agenda) -> None:
        meta, store = tables.meta, self._shared.catalog.store
        if meta.catalog_offset < store.next_offset:
            changes = Changes()
            is_whole = agenda.enrol(store.subscriptions_since(meta.catalog_offset), changes)
            enrolled_to = store.next_offset if is_whole else meta.catalog_offset
            tables.write(changes, Meta(meta.position, meta.changelog_offsets, enrolled_to))

    async def _close_due(self, tables: Tables, agenda: Agenda, commits: Commits) -> None:
        """Close what was due at T, the broker's time, once all that the source held after T was known is counted."""
        at = commits.broker_time.at
        consumer = self._shared.consumer
        cut = (await consumer.end_offsets([self._tp]))[self._tp]
        while not self._stopping and await consumer.position(self._tp) < cut:
            if records := await self._getmany(self._settings.poll_milliseconds, self._settings.batch_records_max):
                await self._process(tables, commits, records, await consumer.position(self._tp))
        await self._shared.catalog.barrier()
        while not self._stopping and (round_ := agenda.round(at)).settled:
            await commits.closings(self._position(tables), round_)
            metrics.CLOSED.labels(self.number).inc(len(round_.closed))


def _wants_reply(records: Sequence[Any]) -> bool:
    return any(name == REPLY_TO for record in records for name, _ in record.headers)
