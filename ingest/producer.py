"""The producer library: validated usage events into `usage-events`, many in a batch, each with a receipt.

    async with UsageProducer("127.0.0.1:9092") as producer:
        receipt = await producer.publish({"serviceId": ..., "eventKey": "token_generated#req-42", "quantity": "5.25"})

A receipt means that the broker has the event on all in-sync replicas. Without one an exception says whether the event
was certainly not published (Unavailable, Overloaded) or may be (OutcomeUnknown); sending it again is safe in any case,
because a second copy of an event key is counted nowhere.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self, cast

from ingest.broker import BATCH_BYTES_MAX, Broker, BrokerAway
from ingest.lane import Entry, Headers, Lane, Waiter
from ingest.outcome import InvalidUsageEvent, Outcome, Overloaded, PublishError, Receipt, Unavailable
from schemas.document import validate
from schemas.errors import OperatorError
from schemas.rejection import Reason, Rejection
from schemas.topics import MIB, Topic, partition_of
from schemas.usage_event import UsageEvent, validate_usage_event

_WATCH_SECONDS: Final = 0.1
_RECORD_OVERHEAD_BYTES: Final = 200
"""About what an entry occupies beside its key, value and headers."""


class UsageProducer:
    """Publishes usage events. Not more than `events_max` events and `bytes_max` bytes wait for the broker at a time,
    and none waits longer than about `seconds`."""

    def __init__(
        self,
        bootstrap: str,
        *,
        topic_prefix: str = "",
        seconds: float = 5,
        events_max: int = 50_000,
        bytes_max: int = 64 * MIB,
    ) -> None:
        self._broker = Broker(bootstrap, topic_prefix + Topic.USAGE_EVENTS, seconds)
        self._seconds = seconds
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._events = 0
        self._bytes = 0
        self._lanes: list[Lane] = []
        self._watch: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def events_in_flight(self) -> int:
        """How many events wait for the broker."""
        return self._events

    async def start(self) -> None:
        """Connect. Raises Unavailable where Kafka is away; publishing then connects as soon as it is back.

        Raises OperatorError where the topic is missing.
        """
        try:
            await self._open_lanes()
        except BrokerAway as error:
            raise Unavailable(f"{error}.") from error

    async def partitions(self) -> int:
        """How many partitions `usage-events` has. Raises Unavailable where that was never known."""
        try:
            await self._open_lanes()
        except (BrokerAway, OperatorError) as error:
            raise Unavailable(f"{error}.") from error
        return len(self._lanes)

    async def ping(self) -> None:
        """Return if a broker answers, else raise Unavailable."""
        try:
            await self._broker.ping()
        except (BrokerAway, OperatorError) as error:
            raise Unavailable(f"{error}.") from error

    async def publish(self, event: UsageEvent | Mapping[str, Any], headers: Headers = ()) -> Receipt:
        """Publish one event and wait for the acknowledgement. Raises PublishError."""
        (outcome,) = await self.publish_many((event,), (headers,))
        if isinstance(outcome, PublishError):
            raise outcome
        return outcome

    async def publish_many(
        self, events: Iterable[UsageEvent | Mapping[str, Any]], headers: Sequence[Headers] = ()
    ) -> list[Outcome]:
        """Publish events, each with its headers; the outcomes are in their order, so one that fails hides no other's
        receipt.

        Events of a subscription keep their order. Raises Overloaded where not all of them may wait.
        """
        parsed = [event if isinstance(event, UsageEvent) else _parsed(event) for event in events]
        if not parsed:
            return []
        try:
            await self._open_lanes()
        except (BrokerAway, OperatorError) as error:
            raise Unavailable from error
        waiter = Waiter(len(parsed))
        self._admit(self._entries(parsed, headers, waiter))
        # Every event has an outcome once the future is done.
        return cast("list[Outcome]", await waiter.future)

    async def close(self) -> None:
        """Wait until what was accepted is acknowledged, or its time is over; nothing more is accepted."""
        self._closing = True
        if draining := {lane.task for lane in self._lanes if lane.task is not None}:
            _, late = await asyncio.wait(draining, timeout=self._seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        for lane in self._lanes:
            lane.expire(float("inf"))
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait({self._watch})
        await self._broker.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _open_lanes(self) -> None:
        if self._closing:
            raise Unavailable("The producer is closing and the event was not published; send it again.")
        if not self._lanes:
            await self._broker.producer()
        if not self._lanes:
            assert self._broker.partitions is not None
            self._lanes = [Lane(self._broker, number, self._released) for number in range(self._broker.partitions)]
            self._watch = asyncio.create_task(self._expire())

    def _entries(
        self, parsed: list[UsageEvent | InvalidUsageEvent], headers: Sequence[Headers], waiter: Waiter
    ) -> list[tuple[Lane, Entry]]:
        due = asyncio.get_running_loop().time() + self._seconds
        entries = []
        for index, event in enumerate(parsed):
            if isinstance(event, InvalidUsageEvent):
                waiter.settle(index, event)
                continue
            key, value = event.subscription_id.encode(), event.to_json()
            record_headers = list(headers[index]) if headers else []
            size = len(key) + len(value) + _RECORD_OVERHEAD_BYTES
            size += sum(len(name) + len(content) for name, content in record_headers)
            if size > BATCH_BYTES_MAX:
                waiter.settle(index, InvalidUsageEvent(Rejection.of(Reason.BODY_TOO_LARGE)))
                continue
            lane = self._lanes[partition_of(event.subscription_id, len(self._lanes))]
            entries.append((lane, Entry(key, value, record_headers, size, waiter, index, due)))
        return entries

    def _admit(self, entries: list[tuple[Lane, Entry]]) -> None:
        size = sum(entry.bytes for _, entry in entries)
        if self._events + len(entries) > self._events_max or self._bytes + size > self._bytes_max:
            raise Overloaded
        self._events += len(entries)
        self._bytes += size
        for lane, entry in entries:
            lane.add(entry)

    def _released(self, size: int) -> None:
        self._events -= 1
        self._bytes -= size

    async def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            for lane in self._lanes:
                lane.expire(loop.time())


def _parsed(document: Mapping[str, Any]) -> UsageEvent | InvalidUsageEvent:
    event = validate(validate_usage_event, document)
    return InvalidUsageEvent(event) if isinstance(event, Rejection) else event
