"""One Kafka transaction of a partition: records gathered in batches, then written and committed in one go."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.producer import sender

from aggregator.engine.halt import Halt, HaltReason
from aggregator.engine.written_batch import WrittenBatch
from aggregator.rules.verdicts import Accepted
from schemas.forwarding import Headers
from schemas.plain import compiled
from schemas.topics import Topic

PLACE_HEADER = "place"
SECOND_MS = 1_000
BATCH_BYTES_MAX = 1 << 20
"""A record that is larger travels in a batch of its own; the topic's max.message.bytes is what bounds it."""
SLOWEST_BYTES_PER_SECOND = 2 << 20
"""A transaction may take so much longer than an ordinary one as its bytes take at this rate: a period of 300,000 meters
closes in one of 111 MB, and would be tried for ever if that came too late."""
LARGEST = 10
"""How many times as long as an ordinary transaction the largest may take: that is what the broker is told. It then
keeps what a dead worker left open for longer, but only until the next owner of the partition begins."""
BROKERS_TIMEOUT_MS_MAX = 900_000
"""What brokers allow by default (transaction.max.timeout.ms)."""
AGAIN_SECONDS = 0.002
"""How long to wait where a transaction begins before the broker has put the marks of the one before, which takes it
milliseconds. aiokafka 0.14.0 waits for 20 ms; at 500 events a second one in fifty transactions is that soon."""


def follow_at_once() -> None:
    """Have all producers of this process wait no longer than that."""
    sender.BACKOFF_OVERRIDE = AGAIN_SECONDS


@dataclass(slots=True, frozen=True)
class Committed:
    """What the broker said of a committed transaction: in its own partition the offset after the last record by topic,
    the append time in ms of the position record, and how large the transaction was."""

    next_offsets: dict[Topic, int]
    appended_at: int
    size_bytes: int


class Records:
    """The records of one topic, gathered in batches as they are added."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._at = int(time.time() * SECOND_MS)  # the broker puts its own in its place; to ask for each costs more
        self.batches: list[Any] = []
        self._append: Callable[..., Any] = _full
        self._written: WrittenBatch | None = None

    def append(self, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        """Add a record. Nothing is sent before the commit."""
        if self._append(timestamp=self._at, key=key, value=value, headers=headers) is None:
            self._begin()
            appended = self._append(timestamp=self._at, key=key, value=value, headers=headers)
            assert appended is not None, "an empty batch takes a record of any size"

    def _begin(self) -> None:
        batch = self._producer.create_batch()
        self.batches.append(batch)
        self._append = batch.append

    def add_accepted(self, accepted: list[Accepted]) -> None:
        """Add events, each under its key and with its place as a header."""
        if compiled is None:
            for event in accepted:
                self.append(event.key, event.value, [(PLACE_HEADER, event.place)])
            return
        done = 0
        while done < len(accepted):
            batch = self._written
            if batch is None or not (count := batch.add(compiled, accepted, done)):
                batch = self._written = WrittenBatch(self._at, BATCH_BYTES_MAX)
                self.batches.append(batch)
                count = batch.add(compiled, accepted, done)
            done += count


def _full(**_: Any) -> None:
    """What a batch answers that takes no more."""


class Transaction:
    """Records for several topics, all for one partition unless it is said otherwise. The position record goes last,
    with `commit`."""

    def __init__(self, producer: AIOKafkaProducer, names: dict[Topic, str], partition: int) -> None:
        self._producer = producer
        self._names = names
        self._partition = partition
        self._records: dict[tuple[Topic, int], Records] = {}

    def records(self, topic: Topic, partition: int | None = None) -> Records:
        """The records of a topic, to add to."""
        place = topic, self._partition if partition is None else partition
        if place not in self._records:
            self._records[place] = Records(self._producer)
        return self._records[place]

    async def commit(self, key: bytes, position: bytes, timeout_seconds: float) -> Committed:
        """Write everything with the position record as one transaction.

        Killed before the broker has the commit, the next owner's InitProducerId aborts it and the batch is read
        again. Killed after it, the restore finds the batch in the changelogs and its position in the position record.
        Raises Halt on any failure: the outcome is unknown, and only a restore can tell.
        """
        self.records(Topic.AGGREGATOR_POSITIONS).append(key, position, [])
        size = sum(batch.size() for records in self._records.values() for batch in records.batches)
        seconds = min(timeout_seconds + size / SLOWEST_BYTES_PER_SECOND, LARGEST * timeout_seconds)
        try:
            return await asyncio.wait_for(self._commit(), seconds)
        except Exception as error:
            what = f"The transaction of partition {self._partition} failed ({type(error).__name__}: {error})"
            raise Halt(HaltReason.TRANSACTION_FAILED, what) from error

    async def _commit(self) -> Committed:
        await self._producer.begin_transaction()
        last: dict[tuple[Topic, int], tuple[asyncio.Future[Any], int]] = {}
        size_bytes = 0
        for (topic, partition), records in self._records.items():
            for batch in records.batches:
                batch.close()
                count = batch.record_count()
                size_bytes += batch.size()
                future = await self._producer.send_batch(batch, self._names[topic], partition=partition)
                last[topic, partition] = (future, count)
        await self._producer.commit_transaction()
        next_offsets = {
            topic: (await future).offset + count
            for (topic, partition), (future, count) in last.items()
            if partition == self._partition
        }
        appended_at = (await last[Topic.AGGREGATOR_POSITIONS, self._partition][0]).timestamp
        return Committed(next_offsets, appended_at, size_bytes)
