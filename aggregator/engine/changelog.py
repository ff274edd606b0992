"""Restore: bring a partition's tables up to its changelogs, from where they stand to the end.

The ends are asked for after InitProducerId has returned: no transaction of a former owner is open then, so what is
committed before the end is whole in all three topics. A tail is read when the consumer's *position* reaches the end:
transaction markers occupy offsets, so the last record's offset never tells.

What was deleted from a changelog is missed in two ways. A log that begins after the offset from which to read on has
lost records, because compaction never moves the begin of a log. And tables that were restored from nothing, or may
lack a record, must account for the ledger: a unique key for each event that it has accepted, which is in the totals
unless it was taken back. Each accepted event has one record and each void one more, so where that many were read into
empty tables all keys are there, and no others; where compaction left fewer, or a restore was interrupted, the keys
themselves are counted, which takes a sixth of a restore.
"""

import asyncio
import json
import logging
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from aggregator.engine.closing import entries_after_a_restore
from aggregator.engine.commit import CHANGELOGS
from aggregator.engine.halt import Halt, HaltReason
from aggregator.engine.tables import Changes, Meta, Tables
from aggregator.engine.transaction import PLACE_HEADER
from aggregator.stream.consumer import stop_consumer
from aggregator.stream.reader import REQUEST_TIMEOUT_MS
from schemas.position import Ledger, Position
from schemas.timestamps import timestamp_of_own
from schemas.topics import Topic
from schemas.totals import PeriodState, is_of_a_period

log = logging.getLogger(__name__)

IDLE_SECONDS_MAX = 60
FETCH_BYTES = 2 << 20
"""Of one partition at a time: with 1 MiB a restore took 12 % longer, and with 4 MiB as long, for more memory."""
RECORDS_MAX = 20_000
_MARKER = 1
"""The offset of a state stands before the marker of its last transaction, so a log that begins after it may lack
nothing; whether it does, the ledger tells."""
_MARKED_RECORD = 2
"""A transaction puts one position record and one marker, so nothing was between records that are this close."""


class Restore:
    """Reads the changelogs of one partition into its tables."""

    def __init__(self, tables: Tables, names: dict[Topic, str], partition: int, bootstrap: str) -> None:
        self._tables = tables
        self._partition = partition
        self._topics = {TopicPartition(names[topic], partition): topic for topic in CHANGELOGS}
        self._bootstrap = bootstrap
        self._position_offset: int | None = None
        self._had_keys = False
        """Whether the tables had unique keys before, which may be more than the ledger knows of."""
        self._events_read = 0

    async def run(self) -> int:
        """Apply the tails; returns how many records they held. Raises Halt."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_wait_ms=50,
        )
        await consumer.start()
        try:
            return await self._read(consumer)
        finally:
            await stop_consumer(consumer)

    async def _read(self, consumer: AIOKafkaConsumer) -> int:
        partitions = list(self._topics)
        consumer.assign(partitions)
        begins = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        is_whole = self._tables.is_whole
        for tp, topic in self._topics.items():
            offset = self._tables.meta.changelog_offsets.get(topic, 0)
            if offset > ends[tp]:
                what = f"The state of partition {tp.partition} is ahead of {tp.topic} ({offset} > {ends[tp]})"
                raise Halt(HaltReason.STATE_AHEAD_OF_LOG, what)
            if offset + _MARKER < begins[tp]:
                what = f"Partition {tp.partition} of {tp.topic} begins at {begins[tp]}, and the state needs {offset}"
                raise Halt(HaltReason.CHANGELOG_TRUNCATED, what)
            is_whole = is_whole and offset >= begins[tp]
            consumer.seek(tp, max(offset, begins[tp]))
            if topic is Topic.AGGREGATOR_POSITIONS and offset > 0:
                self._position_offset = offset - 1
            if topic is Topic.ACCEPTED_USAGE:
                self._had_keys = offset > 0
        count = await self._read_to(consumer, ends)
        if not is_whole:
            await self._reconcile()
            self._tables.mark_whole()
        return count

    async def _reconcile(self) -> None:
        """Check that the tables account for the ledger. Raises Halt."""
        position = self._tables.meta.position
        ledger = Ledger() if position is None else position.ledger
        accepted = ledger.accepted + ledger.forwarded_in_accepted
        has_all = not self._had_keys and self._events_read == accepted + ledger.voids
        keys = accepted if has_all else await _sum(self._tables.counted_keys())
        events = await _sum(self._tables.counted_events())
        if (keys, events) != (accepted, accepted - ledger.voids):
            what = (
                f"The changelogs of partition {self._partition} hold {keys} unique keys and {events} events in totals,"
                f" and its ledger {accepted} accepted events and {ledger.voids} voids"
            )
            raise Halt(HaltReason.CHANGELOG_TRUNCATED, what)

    async def _read_to(self, consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> int:
        count = 0
        loop = asyncio.get_running_loop()
        progress_at = loop.time()
        while behind := [tp for tp, end in ends.items() if await consumer.position(tp) < end]:
            fetched = await consumer.getmany(*behind, timeout_ms=50, max_records=RECORDS_MAX)
            if fetched:
                progress_at = loop.time()
                count += sum(map(len, fetched.values()))
                self._apply(fetched)
            elif loop.time() - progress_at > IDLE_SECONDS_MAX:
                what = f"The restore of partition {self._partition} got nothing for {IDLE_SECONDS_MAX} s"
                raise Halt(HaltReason.RESTORE_STUCK, what)
        offsets = {self._topics[tp]: await consumer.position(tp) for tp in ends}
        self._tables.write(Changes(), self._meta(self._tables.meta.position, offsets))
        return count

    def _apply(self, fetched: dict[TopicPartition, list[Any]]) -> None:
        changes = Changes()
        position = self._tables.meta.position
        offsets = {}
        for tp, records in fetched.items():
            topic = self._topics[tp]
            offsets[topic] = records[-1].offset + 1
            if topic is Topic.ACCEPTED_USAGE:
                self._events_read += len(records)
                changes.put_places_of(records, PLACE_HEADER)
            elif topic is Topic.USAGE_TOTALS:
                for key, value in {record.key: record.value for record in records}.items():  # the last of each key
                    changes.put_total(key, value)
                    if is_of_a_period(key):
                        _restore_agenda(key, value, changes)
            else:
                for record in records:
                    position = self._follow(position, record)
        self._tables.write(changes, self._meta(position, offsets))

    def _meta(self, position: Position | None, offsets: dict[Any, int]) -> Meta:
        meta = self._tables.meta
        return Meta(position, {**meta.changelog_offsets, **offsets}, meta.catalog_offset)

    def _follow(self, position: Position | None, record: Any) -> Position:
        """The next link of the chain of positions. Compaction may remove links, so only a neighbour must match."""
        following = Position.of_json(record.value)
        is_neighbour = self._position_offset is not None and record.offset - self._position_offset <= _MARKED_RECORD
        self._position_offset = record.offset
        if position is None or following.prev is None:
            return following
        behind = any(following.prev[topic] < offset for topic, offset in position.positions.items())
        if behind or (is_neighbour and following.prev != position.positions):
            what = (
                f"The positions of partition {self._partition} do not chain at offset {record.offset}:"
                f" {position.positions} is followed by {following.prev}"
            )
            raise Halt(HaltReason.CHAIN_BROKEN, what)
        return following


async def _sum(counts: Iterable[int]) -> int:
    found = 0
    for count in counts:
        found += count
        await asyncio.sleep(0)  # the heartbeats of the process go on
    return found


def _restore_agenda(key: bytes, value: bytes, changes: Changes) -> None:
    subscription_id, start, _ = json.loads(key)
    for due in entries_after_a_restore(subscription_id, timestamp_of_own(start), PeriodState.of_json(value)):
        changes.put_due(due)
