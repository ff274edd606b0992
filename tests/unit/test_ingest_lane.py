"""One partition's way to the broker, on a producer that a test acknowledges by hand."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from aiokafka.errors import KafkaError, OutOfOrderSequenceNumber

from ingest.broker import Broker, BrokerAway
from ingest.lane import Entry, Lane, Waiter
from ingest.outcome import Outcome, OutcomeUnknown, Receipt, Unavailable

BATCH_MAX = 3
PARTITION = 5


class BatchOfThree:
    def __init__(self) -> None:
        self.values: list[bytes] = []

    def append(self, *, timestamp: None, key: bytes, value: bytes, headers: list[Any]) -> object | None:
        if len(self.values) == BATCH_MAX:
            return None
        self.values.append(value)
        return self


@dataclass
class Producer:
    """Batches in the order in which they were sent, each with the future of its acknowledgement."""

    sent: list[tuple[list[bytes], asyncio.Future[Any]]] = field(default_factory=list)

    def create_batch(self) -> BatchOfThree:
        return BatchOfThree()

    async def send_batch(self, batch: BatchOfThree, topic: str, *, partition: int) -> asyncio.Future[Any]:
        assert partition == PARTITION
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.sent.append((batch.values, future))
        return future

    def acknowledge(self, offset: int) -> None:
        self.sent[-1][1].set_result(SimpleNamespace(offset=offset))

    def fail(self, error: KafkaError) -> None:
        self.sent[-1][1].set_exception(error)


@dataclass
class BrokerInMemory:
    topic: str = "usage-events"
    live: Producer | None = field(default_factory=Producer)
    discarded: list[Producer] = field(default_factory=list)

    async def producer(self) -> Producer:
        if self.live is None:
            raise BrokerAway("Kafka is away")
        return self.live

    def discard(self, failed: Producer) -> None:
        self.discarded.append(failed)
        self.live = Producer()


class Way:
    """A lane, and what a test knows of it. `due` of an event is 10 unless it says otherwise."""

    def __init__(self) -> None:
        self.broker = BrokerInMemory()
        self.released = 0
        self.lane = Lane(cast(Broker, self.broker), PARTITION, self._release)

    def _release(self, size: int) -> None:
        self.released += size

    def add(self, *values: bytes, due: float = 10) -> Waiter:
        """One caller with these events."""
        waiter = Waiter(len(values))
        for index, value in enumerate(values):
            self.lane.add(Entry(b"key", value, [], 1, waiter, index, due))
        return waiter

    def sent(self) -> list[list[bytes]]:
        assert self.broker.live is not None
        return [values for values, _ in self.broker.live.sent]


async def turn() -> None:
    """Let every task that can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


def outcomes(waiter: Waiter) -> list[Outcome | None]:
    return waiter.future.result()


async def test_what_arrives_while_a_batch_is_in_flight_forms_the_next() -> None:
    way = Way()
    assert way.broker.live is not None
    first = way.add(b"a")
    await turn()
    second, third = way.add(b"b"), way.add(b"c")
    await turn()
    assert way.sent() == [[b"a"]]
    way.broker.live.acknowledge(40)
    await turn()
    assert outcomes(first) == [Receipt(PARTITION, 40)]
    assert way.sent() == [[b"a"], [b"b", b"c"]]
    way.broker.live.acknowledge(41)
    await turn()
    assert (outcomes(second), outcomes(third)) == ([Receipt(PARTITION, 41)], [Receipt(PARTITION, 42)])
    assert way.released == 3
    assert way.lane.task is None


async def test_full_batch_leaves_the_rest_for_the_next_in_order() -> None:
    way = Way()
    assert way.broker.live is not None
    waiter = way.add(b"a", b"b", b"c", b"d")
    await turn()
    way.broker.live.acknowledge(0)
    await turn()
    assert way.sent() == [[b"a", b"b", b"c"], [b"d"]]
    assert not waiter.future.done()
    way.broker.live.acknowledge(9)
    await turn()
    assert outcomes(waiter) == [Receipt(PARTITION, offset) for offset in (0, 1, 2, 9)]


async def test_acknowledgement_without_an_offset_is_an_unknown_outcome() -> None:
    way = Way()
    assert way.broker.live is not None
    waiter = way.add(b"a")
    await turn()
    way.broker.live.acknowledge(-1)
    await turn()
    assert isinstance(outcomes(waiter)[0], OutcomeUnknown)


async def test_failed_batch_is_an_unknown_outcome_and_a_new_producer_takes_over() -> None:
    way = Way()
    failing = way.broker.live
    assert failing is not None
    lost = way.add(b"a")
    await turn()
    waiting = way.add(b"b")
    failing.fail(OutOfOrderSequenceNumber())
    await turn()
    assert isinstance(outcomes(lost)[0], OutcomeUnknown)
    assert way.broker.discarded == [failing]
    assert way.sent() == [[b"b"]]
    assert way.broker.live is not None
    way.broker.live.acknowledge(7)
    await turn()
    assert outcomes(waiting) == [Receipt(PARTITION, 7)]


async def test_time_is_over_unsent_is_unavailable_and_in_flight_is_unknown() -> None:
    way = Way()
    assert way.broker.live is not None
    in_flight = way.add(b"a", due=10)
    await turn()
    early, late = way.add(b"b", due=11), way.add(b"c", due=12)
    way.lane.expire(9.9)
    assert not in_flight.future.done()
    way.lane.expire(11)
    assert isinstance(outcomes(in_flight)[0], OutcomeUnknown)
    assert isinstance(outcomes(early)[0], Unavailable)
    assert not late.future.done()
    # What can't be called back still occupies memory; what was never sent does not, and never is.
    assert way.released == 1
    way.broker.live.acknowledge(0)
    await turn()
    assert way.sent() == [[b"a"], [b"c"]]


async def test_cancelled_caller_takes_nobody_along_and_its_unsent_event_is_not_sent() -> None:
    way = Way()
    assert way.broker.live is not None
    sent, neighbour = way.add(b"a"), way.add(b"b")
    await turn()
    unsent, last = way.add(b"c"), way.add(b"d")
    sent.future.cancel()
    unsent.future.cancel()
    way.broker.live.acknowledge(0)
    await turn()
    assert outcomes(neighbour) == [Receipt(PARTITION, 1)]
    assert way.sent() == [[b"a", b"b"], [b"d"]]
    way.broker.live.acknowledge(2)
    await turn()
    assert outcomes(last) == [Receipt(PARTITION, 2)]
    assert way.released == 4


async def test_broker_that_is_away_fails_all_who_wait_at_once() -> None:
    way = Way()
    way.broker.live = None
    waiters = [way.add(b"a"), way.add(b"b")]
    await turn()
    assert all(isinstance(outcomes(waiter)[0], Unavailable) for waiter in waiters)
    assert way.released == 2
