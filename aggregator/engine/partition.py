"""One source partition: opened (fenced, restored, recognised), then batch after batch, one transaction each."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from aggregator.engine import metrics
from aggregator.engine.catalog import CatalogFollower
from aggregator.engine.changelog import Restore
from aggregator.engine.closing import Agenda
from aggregator.engine.commit import Commits
from aggregator.engine.company import Company
from aggregator.engine.draft import SLICE_RECORDS, Draft
from aggregator.engine.feed import Feed
from aggregator.engine.halt import Halt, HaltReason
from aggregator.engine.originals import EventPlace, Originals
from aggregator.engine.sources import Ends, Sources, last_record, portions
from aggregator.engine.stores import Stores
from aggregator.engine.tables import Tables
from aggregator.engine.tending import Tending
from aggregator.engine.transaction import BATCH_BYTES_MAX, BROKERS_TIMEOUT_MS_MAX, LARGEST
from aggregator.rules.arriving import decide_arrivals
from aggregator.rules.bisecting import bisected
from aggregator.rules.deciding import decide as decide_events
from aggregator.rules.verdicts import Decisions, Record
from aggregator.rules.voiding import decide_voids, voids_of
from aggregator.settings import AggregatorSettings
from schemas.position import SOURCES, Position, Positions, first_position
from schemas.topics import Topic

log = logging.getLogger(__name__)

EVENT_SOURCES = (Topic.USAGE_EVENTS, Topic.USAGE_FORWARDED)
BATCH_KEYS_MAX = 4_000
"""What is decided at once is of at most so many subscriptions: to read one of the catalog for the first time takes ten
times as long as to decide an event, and each changes a total and a state of its own."""
SECOND_MS = 1_000
FATAL = (Halt, MemoryError)
"""What says nothing of the record at hand."""
PATIENCE = 3
"""How many times as long as a transaction may take, the opening or release of a partition may wait for Kafka. Twice as
long is what the group waits for a member that is to give up a partition."""


@dataclass(slots=True, frozen=True)
class Shared:
    """What the partitions of a process share."""

    settings: AggregatorSettings
    consumer: AIOKafkaConsumer
    company: Company
    catalog: CatalogFollower
    originals: Originals
    replies: Feed
    rates: Feed
    stores: Stores
    names: dict[Topic, str]
    partitions: int
    deciding: asyncio.Lock = field(default_factory=asyncio.Lock)
    """To decide a batch of several slices. Else the loop would decide one of each partition before any of them is
    written. A smaller one goes between the slices of others: somebody may wait for it."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """To close or enrol. With several partitions at it an event would wait for a round of each: while 30,000 periods
    closed, the median verdict took 0.25 s with two at a time and 0.14 s with one, for a quarter fewer periods a second.
    """


class Partition:
    """The owner of one partition of `usage-events`, from assignment to revocation."""

    def __init__(self, number: int, shared: Shared) -> None:
        self.number = number
        self._shared = shared
        self._settings = shared.settings
        self._sources = Sources(number, shared.consumer, shared.company, shared.names)
        self._sources.pause()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False
        self.decided: Mapping[Topic, int] | None = None
        """The offset of each source up to which all is read and decided, markers included, as of the last time that
        nothing was in hand; None until the partition is open."""
        self._producer: AIOKafkaProducer | None = None
        self._tables: Tables | None = None

    @property
    def tables(self) -> Tables | None:
        """What it knows of the past; None while it has not been restored."""
        return self._tables

    @property
    def positions(self) -> Positions | None:
        """The next offset of each source to decide; None while the partition is not open."""
        return None if self._tables is None else self._position(self._tables).positions

    async def run(self) -> None:
        """Open, then work until stop(). Raises Halt where the process must exit; it then exits as it stands."""
        await self._work(*await self._open())

    async def _work(self, tables: Tables, commits: Commits, tending: Tending) -> None:
        settings, has_more = self._settings, False
        while not self._stopping:
            self.decided = {topic: await self._sources.next_offset(topic) for topic in SOURCES}
            timeout_ms = 0 if has_more else settings.poll_milliseconds
            read = await self._sources.read(timeout_ms, settings.batch_records_max)
            self._idle.clear()
            await self._process(tables, commits, read)
            has_more = not self._stopping and await tending.go_on()
            self._idle.set()

    async def stop(self, task: asyncio.Task[None]) -> None:
        """Give the partition up. A transaction in flight is never cut off; a restore is, for it can begin again."""
        self._stopping = True
        await self._idle.wait()
        task.cancel()
        await asyncio.wait([task])
        await self._release()  # not in the task, whose cancellation may come when it is already on its way out

    # Opening

    async def _open(self) -> tuple[Tables, Commits, Tending]:
        """Fence, then restore, then read on: strictly in this order (design section 3)."""
        begun, settings, shared = time.monotonic(), self._settings, self._shared
        timeout_ms = settings.transaction_timeout_seconds * SECOND_MS
        self._producer = AIOKafkaProducer(
            bootstrap_servers=settings.kafka,
            transactional_id=f"{settings.topic_prefix}{settings.app_id}-{self.number}",
            transaction_timeout_ms=min(LARGEST * timeout_ms, BROKERS_TIMEOUT_MS_MAX),
            request_timeout_ms=timeout_ms,
            max_batch_size=BATCH_BYTES_MAX,
            linger_ms=0,
        )
        # InitProducerId: fences the former owner and aborts what it left open.
        await self._within_time("begin its transactions", self._producer.start())
        metrics.fenced(self.number)
        tables = Tables(shared.stores.open(f"partition-{self.number}"))
        self._tables = tables
        restoring = time.monotonic()
        restored = await Restore(tables, shared.names, self.number, settings.kafka).run()
        metrics.restored(self.number, restored, time.monotonic() - restoring)
        position = self._position(tables)
        if position.partitions != shared.partitions:
            what = f"The sources had {position.partitions} partitions, and have {shared.partitions}"
            raise Halt(HaltReason.PARTITIONS_CHANGED, what)
        await self._within_time("show its log", self._sources.read_on(position))
        agenda = Agenda(tables, shared.catalog.store, self.number, shared.partitions, settings.grace_seconds)
        commits = Commits(
            self._producer,
            shared.names,
            self.number,
            tables,
            agenda,
            shared.replies,
            shared.rates,
            settings.transaction_timeout_seconds,
        )
        metrics.opened(self.number, position.ledger.wire())
        offset, seconds = position.positions[Topic.USAGE_EVENTS], time.monotonic() - begun
        log.info(
            "partition %d opened at offset %d in %.2f s, %d changelog records restored",
            *(self.number, offset, seconds, restored),
            extra={"partition": self.number, "offset": offset, "seconds": seconds, "restored_records": restored},
        )
        tending = Tending(
            self.number,
            self._sources,
            tables,
            agenda,
            commits,
            shared.catalog,
            lambda: self._position(tables),
            shared.turn,
        )
        return tables, commits, tending

    async def _within_time(self, what: str, asking: Coroutine[Any, Any, None]) -> None:
        """Ask Kafka, and halt where it does not answer: nobody else would notice a partition that is never opened.

        The time is counted from without, for aiokafka has been seen to lose a cancellation.
        """
        seconds = PATIENCE * self._settings.transaction_timeout_seconds
        asked = asyncio.create_task(asking)
        try:
            await asyncio.wait({asked}, timeout=seconds)
            if not asked.done():
                what = f"Kafka did not let partition {self.number} {what} within {seconds} s"
                raise Halt(HaltReason.PARTITION_STUCK, what)
            asked.result()
        finally:
            asked.cancel()

    async def _release(self) -> None:
        if self._producer is not None:
            await self._producer.stop()
        if self._tables is not None:
            self._tables.close()
            self._tables = None  # a look at the partition that is under way finds nothing to show any more
        metrics.forget(self.number)

    def _position(self, tables: Tables) -> Position:
        return tables.meta.position or first_position(self._shared.partitions)

    # Working

    async def _process(self, tables: Tables, commits: Commits, read: dict[Topic, list[Any]]) -> None:
        """Decide what was read and commit it, a batch of each source."""
        for topic in SOURCES:
            if topic not in read:
                continue
            originals: dict[EventPlace, Any] = {}
            if topic is Topic.USAGE_CORRECTIONS:  # an event must be decided before its void is
                await self._count_up_to(await self._sources.ends(EVENT_SOURCES), tables, commits)
                originals = await self._shared.originals.fetch(voids_of(read[topic], tables))
            if self._stopping:
                return
            await self._shared.catalog.barrier()
            await self._batch(topic, read[topic], originals, tables, commits)
        if read:
            metrics.ledger(self.number, self._position(tables).ledger.wire())

    async def _batch(
        self,
        topic: Topic,
        records: Sequence[Any],
        originals: dict[EventPlace, Any],
        tables: Tables,
        commits: Commits,
    ) -> None:
        next_offset = await self._sources.next_offset(topic)
        catalog, partitions = self._shared.catalog.store, self._shared.partitions

        def decide_some(
            some: Sequence[Record], decisions: Decisions | None = None, *, has_more: bool = False
        ) -> Decisions:
            if topic is Topic.USAGE_CORRECTIONS:
                return decide_voids(some, originals, tables, catalog)
            if topic is Topic.USAGE_FORWARDED:
                return decide_arrivals(some, self.number, partitions, tables, catalog, decisions)
            known = self.number, partitions, tables, catalog
            return decide_events(some, *known, decisions=decisions, has_more=has_more)

        async def write(draft: Draft, last: Any) -> None:
            part_end = next_offset if last is records[-1] else last.offset + 1
            await commits.batch(draft, self._position(tables), part_end, last_record(last))
            metrics.batch(self.number, topic, draft.counts, draft.reasons)

        for portion in portions(records, BATCH_KEYS_MAX):
            if self._stopping:
                return
            async with self._shared.deciding if len(portion) > SLICE_RECORDS else nullcontext():
                draft = await self._drafted(commits, topic, portion, decide_some)
            if draft is not None:
                await write(draft, portion[-1])
                continue
            for part in bisected(portion, decide_some, fatal=FATAL):
                last: Any = part.records[-1]
                if part.failure is not None:
                    what = "partition %d offset %d of %s was refused"
                    fields = {"topic": topic.value, "partition": self.number, "offset": last.offset}
                    log.error(what, self.number, last.offset, topic, exc_info=part.failure, extra=fields)
                draft = commits.draft(topic)
                draft.take(part.decisions)
                draft.finish(part.decisions)
                await write(draft, last)

    async def _drafted(
        self, commits: Commits, topic: Topic, records: Sequence[Any], decide_some: Callable[..., Decisions]
    ) -> Draft | None:
        """The draft of these records, slice after slice; None where one of them can't be decided: bisecting finds it.
        Corrections, of which there are few, are one slice."""
        draft, decisions = commits.draft(topic), Decisions()
        size = len(records) if topic is Topic.USAGE_CORRECTIONS else SLICE_RECORDS
        for start in range(0, len(records), size):
            try:
                some = records[start : start + size]
                decisions = decide_some(some, decisions, has_more=start + size < len(records))
            except FATAL:
                raise
            except Exception:  # noqa: BLE001 - it is met again, and logged, by bisecting
                return None
            draft.take(decisions)
            await asyncio.sleep(0)
        draft.finish(decisions)
        return draft

    async def _count_up_to(self, ends: Ends, tables: Tables, commits: Commits) -> None:
        """Decide all that stands before these ends, however much it is.

        Nothing is in hand while it reads. A rebalance waits for what is, and the consumer gives out no records before
        the rebalance is over: each would wait for the other.
        """
        settings = self._settings
        while not await self._sources.has_read(ends) and not self._stopping:
            self._idle.set()
            read = await self._sources.read(settings.poll_milliseconds, settings.batch_records_max, ends)
            self._idle.clear()
            await self._process(tables, commits, read)
