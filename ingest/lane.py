"""One partition's way to the broker: one batch in flight, and what arrives meanwhile forms the next.

So nothing waits for company while the broker is idle, and a busy broker gets large batches.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata

from ingest.broker import Broker, BrokerAway
from ingest.outcome import Outcome, OutcomeUnknown, Receipt, Unavailable
from schemas.errors import OperatorError

logger = logging.getLogger(__name__)

Headers = Sequence[tuple[str, bytes]]


class Waiter:
    """One caller, who waits for the outcomes of all its events. It has a future of its own: its cancellation is no
    other caller's."""

    __slots__ = ("_missing", "_outcomes", "future")

    def __init__(self, events: int) -> None:
        self.future: asyncio.Future[list[Outcome | None]] = asyncio.get_running_loop().create_future()
        self._outcomes: list[Outcome | None] = [None] * events
        self._missing = events

    def settle(self, index: int, outcome: Outcome) -> None:
        """Give an event its outcome; the first one stands."""
        if self._outcomes[index] is None:
            self._outcomes[index] = outcome
            self._missing -= 1
            if self._missing == 0 and not self.future.done():
                self.future.set_result(self._outcomes)


@dataclass(slots=True, eq=False)
class Entry:
    """A record on its way, for the event number `index` of a waiter; `due` is the loop's time when the wait ends."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]
    bytes: int
    waiter: Waiter
    index: int
    due: float


class Lane:
    """The batches of one partition. Entries leave in the order in which they came, which is the order of `due`."""

    def __init__(self, broker: Broker, partition: int, released: Callable[[int], None]) -> None:
        self._broker = broker
        self._partition = partition
        self._released = released
        self._open: deque[Entry] = deque()
        self._in_flight: list[Entry] = []
        self.task: asyncio.Task[None] | None = None

    def add(self, entry: Entry) -> None:
        """Send the entry with the next batch."""
        self._open.append(entry)
        if self.task is None:
            self.task = asyncio.create_task(self._drain())

    def expire(self, now: float) -> None:
        """Answer those who have waited long enough. What is in flight can't be called back."""
        while self._open and self._open[0].due <= now:
            self._leave(self._open.popleft(), Unavailable())
        for entry in self._in_flight:
            if entry.due > now:
                break
            entry.waiter.settle(entry.index, OutcomeUnknown())

    async def _drain(self) -> None:
        try:
            while self._open:
                try:
                    producer = await self._broker.producer()
                except (BrokerAway, OperatorError) as error:
                    logger.warning("usage events were not published: %s", error)
                    self._refuse_all()
                else:
                    await self._publish(producer, self._fill(producer))
        finally:
            self.task = None

    def _fill(self, producer: AIOKafkaProducer) -> BatchBuilder:
        batch = producer.create_batch()
        while self._open:
            entry = self._open[0]
            if entry.waiter.future.cancelled():
                self._leave(self._open.popleft(), Unavailable())
                continue
            if batch.append(timestamp=None, key=entry.key, value=entry.value, headers=entry.headers) is None:
                break  # full
            self._in_flight.append(self._open.popleft())
        return batch

    async def _publish(self, producer: AIOKafkaProducer, batch: BatchBuilder) -> None:
        metadata: RecordMetadata | None = None
        try:
            if self._in_flight:
                sent = await producer.send_batch(batch, self._broker.topic, partition=self._partition)
                metadata = await sent
        except KafkaError:
            self._broker.discard(producer)
        finally:
            self._acknowledge(metadata)

    def _acknowledge(self, metadata: RecordMetadata | None) -> None:
        """Settle the batch in flight; an acknowledgement without an offset leaves the outcome unknown."""
        entries, self._in_flight = self._in_flight, []
        base = -1 if metadata is None else metadata.offset
        for position, entry in enumerate(entries):
            self._leave(entry, Receipt(self._partition, base + position) if base >= 0 else OutcomeUnknown())

    def _refuse_all(self) -> None:
        while self._open:
            self._leave(self._open.popleft(), Unavailable())

    def _leave(self, entry: Entry, outcome: Outcome) -> None:
        self._released(entry.bytes)
        entry.waiter.settle(entry.index, outcome)
