"""A look at the deployment. It costs something only while somebody looks; all who look within a second share one."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiokafka import TopicPartition

from ingest.broker import BrokerAway
from ingest.database import Database, DatabaseAway
from ingest.gateway.status import facts
from ingest.gateway.status.history import History, Step
from ingest.gateway.status.log import Asking, Standing, StatusLog
from ingest.gateway.status.positions import UnreadablePosition, position_of
from ingest.gateway.status.tables import Tables, read_tables
from ingest.gateway.status.views import LedgerView, PartitionView, StatusView, part_views, rates_view
from ingest.outcome import Unavailable
from ingest.producer import UsageProducer
from schemas.errors import OperatorError
from schemas.position import SOURCES, Position, first_position
from schemas.timestamps import optional_timestamp_text, timestamp_text
from schemas.topics import Topic

SHARED_SECONDS: Final = 1.0

READ: Final = (
    *(*SOURCES, Topic.AGGREGATOR_POSITIONS, Topic.USAGE_TOTALS, Topic.ACCEPTED_USAGE, Topic.REJECTED_USAGE),
    Topic.CLOSED_PERIODS,
)
"""By the workers, the closer and the projector; all have as many partitions as `usage-events`."""

Offsets = Mapping[str, Mapping[TopicPartition, int]]


@dataclass(slots=True, frozen=True)
class Partition:
    """Where a partition stands: its position, or what is wrong with it, and its standing in each source."""

    number: int
    position: Position | None
    written_at: int | None
    problem: str | None
    standings: Sequence[Standing]

    def view(self) -> PartitionView:
        """As it goes out."""
        events = self.standings[SOURCES.index(Topic.USAGE_EVENTS)]
        since = [standing.waiting_since for standing in self.standings if standing.waiting_since is not None]
        return PartitionView(
            partition=self.number,
            position=events.position,
            end_offset=events.end,
            lag=sum(standing.lag for standing in self.standings),
            waiting_since=optional_timestamp_text(min(since, default=None)),
            position_at=optional_timestamp_text(self.written_at),
            ledger=None if self.position is None else LedgerView.of(self.position.ledger),
            problem=self.problem,
        )


@dataclass(slots=True, frozen=True)
class Seen:
    """What Kafka tells: `readers` are the standings of those who read topics into Postgres."""

    milliseconds: int
    partitions: Sequence[Partition]
    readers: Mapping[str, Sequence[Standing]]
    steps: Sequence[Step]


class Status:
    """Looks when it is asked."""

    def __init__(
        self, database: Database, producer: UsageProducer, bootstrap: str, topic: Callable[[Topic], str], seconds: float
    ) -> None:
        """`topic` gives the name of a topic in this deployment."""
        self._database = database
        self._producer = producer
        self._topic = topic
        self._topics = frozenset(topic(one) for one in READ)
        self._log = StatusLog(bootstrap, self._topics, seconds)
        self._history = History()
        self._look: asyncio.Task[StatusView] | None = None
        self._looked_at = 0.0

    async def look(self) -> StatusView:
        """The status as it is now, or was a second ago at most."""
        loop = asyncio.get_running_loop()
        if self._look is None or (self._look.done() and loop.time() - self._looked_at >= SHARED_SECONDS):
            self._look = asyncio.create_task(self._see())
            self._looked_at = loop.time()
        return await asyncio.shield(self._look)

    async def close(self) -> None:
        """End a look that is under way, and let go of the broker."""
        if self._look is not None:
            self._look.cancel()
            await asyncio.wait({self._look})
        await self._log.close()

    async def _see(self) -> StatusView:
        now = time.time_ns() // 1_000_000
        known, postgres = await self._see_tables()
        seen, kafka = await self._see_log(now, {} if known is None else known.offsets)
        told = [kafka, postgres, *_of_log(seen, now), *_of_tables(known, seen, now)]
        return StatusView(
            at=timestamp_text(now),
            parts=part_views(told),
            partitions=[] if seen is None else [partition.view() for partition in seen.partitions],
            rates=rates_view([] if seen is None else seen.steps),
        )

    async def _see_tables(self) -> tuple[Tables | None, facts.Fact]:
        began = time.monotonic()
        try:
            return await read_tables(self._database), facts.answered("postgres", _since(began))
        except DatabaseAway as error:
            return None, facts.is_away("postgres", error)

    async def _see_log(self, now: int, offsets: Offsets) -> tuple[Seen | None, facts.Fact]:
        try:
            count = await self._producer.partitions()
            async with self._log.asking(count) as asking:
                seen = await self._seen(asking, now, count, offsets)
        except (BrokerAway, OperatorError, Unavailable) as error:
            return None, facts.is_away("kafka", error)
        return seen, facts.answered("kafka", seen.milliseconds)

    async def _seen(self, asking: Asking, now: int, count: int, offsets: Offsets) -> Seen:
        began = time.monotonic()
        partitions = await self._partitions(asking, count)
        milliseconds = _since(began)
        readers = {
            reader: await asking.standings({at: offset for at, offset in places.items() if at.topic in self._topics})
            for reader, places in offsets.items()
        }
        return Seen(milliseconds, partitions, readers, await self._steps(asking, now, partitions))

    async def _partitions(self, asking: Asking, count: int) -> list[Partition]:
        places = [TopicPartition(self._topic(Topic.AGGREGATOR_POSITIONS), number) for number in range(count)]
        last = await asking.last(places)
        positions: dict[int, Position] = {}
        problems: dict[int, str] = {}
        for place, record in last.items():
            try:
                positions[place.partition] = position_of(record.value)
            except UnreadablePosition as error:
                problems[place.partition] = str(error)
        nothing = first_position(count)
        offsets = {
            TopicPartition(self._topic(source), number): positions.get(number, nothing).positions[source]
            for number in range(count)
            for source in SOURCES
        }
        standings = await asking.standings(offsets)
        return [
            Partition(
                number,
                None if number in problems else positions.get(number, nothing),
                last[place].timestamp if place in last else None,
                problems.get(number),
                standings[number * len(SOURCES) : (number + 1) * len(SOURCES)],
            )
            for number, place in enumerate(places)
        ]

    async def _steps(self, asking: Asking, now: int, partitions: Sequence[Partition]) -> list[Step]:
        topic = self._topic(Topic.AGGREGATOR_POSITIONS)
        ledgers = {
            TopicPartition(topic, partition.number): partition.position.ledger
            for partition in partitions
            if partition.position is not None
        }
        try:
            return await self._history.look(asking, now, ledgers)
        except UnreadablePosition:  # the partition that it is of says so as long as it is its last
            return []


def _of_log(seen: Seen | None, now: int) -> list[facts.Fact]:
    if seen is None:
        return [facts.unknown(part, "Kafka") for part in ("workers", "ledger")]
    standings = [standing for partition in seen.partitions for standing in partition.standings]
    written = [partition.written_at for partition in seen.partitions if partition.written_at is not None]
    received = sum(partition.position.ledger.received for partition in seen.partitions if partition.position)
    problems = [
        f"partition {partition.number}: {partition.problem}" for partition in seen.partitions if partition.problem
    ]
    return [facts.of_workers(standings, max(written, default=None), now), facts.of_ledger(received, problems)]


def _of_tables(known: Tables | None, seen: Seen | None, now: int) -> list[facts.Fact]:
    if known is None:
        return [facts.unknown(part, "Postgres") for part in ("outbox", facts.CLOSER, facts.PROJECTOR)]
    outbox = facts.of_outbox(known)
    if seen is None:
        return [outbox, *(facts.unknown(part, "Kafka") for part in (facts.CLOSER, facts.PROJECTOR))]
    closer = facts.of_closer(known.lease, known.held_periods, seen.readers.get(facts.CLOSER, ()), now)
    return [outbox, closer, facts.of_projector(seen.readers.get(facts.PROJECTOR, ()), now)]


def _since(began: float) -> int:
    return int((time.monotonic() - began) * 1_000)
