"""A look at a worker's partitions, about every second: how far behind are they? For the metrics and /health/ready."""

import asyncio
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from aggregator.engine import metrics
from aggregator.engine.liveness import Liveness
from aggregator.engine.tables import Tables
from aggregator.stream.age import Ages, Behind
from aggregator.stream.progress import Progress
from schemas.position import SOURCES, Positions
from schemas.topics import Topic

ANSWER_SECONDS = 5
SECOND_MS = 1_000
DUE_COUNTED_MAX = 1_000
"""Of a backlog of closing. More would take more of the event path's time than they tell."""

Ends = Mapping[TopicPartition, int]


class Watched(Protocol):
    """A partition that the worker owns."""

    number: int

    @property
    def tables(self) -> Tables | None:
        """What it knows of the past; None while it has not been restored."""

    @property
    def positions(self) -> Positions | None:
        """The next offset of each source to decide, as committed; it moves within a long piece of work."""

    @property
    def decided(self) -> Mapping[Topic, int] | None:
        """The offset of each source up to which all is read and decided, markers included, as of the last time that
        nothing was in hand; None until the partition is open. A position in the log may stay behind markers for ever,
        and what was only read is not decided: neither of them would do for a lag."""


class Watch:
    """Looks at the partitions of a worker that has been given its first, or none."""

    def __init__(self, consumer: AIOKafkaConsumer, names: Mapping[Topic, str], liveness: Liveness) -> None:
        self._consumer = consumer
        self._names = names
        self._liveness = liveness
        self._ages: Ages[TopicPartition] = Ages()

    async def look(self, partitions: Iterable[Watched]) -> None:
        """Look once, at all partitions that the worker owns."""
        owned = list(partitions)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                ends = await self._ends(owned)
        except (KafkaError, OSError, TimeoutError) as error:
            self._liveness.away(time.monotonic(), str(error) or type(error).__name__)
            return
        behind = {partition.number: dict(self._behind(partition, ends)) for partition in owned}
        self._show(owned, behind, time.time())
        self._liveness.observe(
            time.monotonic(), {partition.number: _progress(partition, behind[partition.number]) for partition in owned}
        )

    async def _ends(self, partitions: list[Watched]) -> Ends:
        consumer = self._consumer
        if not partitions:
            await consumer.topics()  # only to hear from a broker
            return {}
        places = [TopicPartition(self._names[topic], partition.number) for partition in partitions for topic in SOURCES]
        stable: dict[TopicPartition, int] = await consumer.end_offsets(places)
        assigned = consumer.assignment()
        # Beyond the end of what is stable stands what a producer keeps back with a transaction that it does not end.
        return {
            place: max(end, consumer.highwater(place) or 0) if place in assigned else end
            for place, end in stable.items()
        }

    def _behind(self, partition: Watched, ends: Ends) -> Iterator[tuple[TopicPartition, Behind]]:
        """Of each source of a partition; of none while it is being opened."""
        tables = partition.tables
        position = None if tables is None else tables.meta.position
        for topic, offset in (partition.decided or {}).items():
            place = TopicPartition(self._names[topic], partition.number)
            last = None if position is None else position.last.get(topic)
            last_at = None if last is None else last.at / SECOND_MS
            yield place, Behind(max(0, ends[place] - offset), last_at)

    def _show(self, owned: list[Watched], behind: Mapping[int, Mapping[TopicPartition, Behind]], now: float) -> None:
        ages = self._ages.observe(now, {place: one for sources in behind.values() for place, one in sources.items()})
        for partition in owned:
            number, sources = partition.number, behind[partition.number]
            tables, positions = partition.tables, partition.positions
            if tables is None or positions is None or not sources:
                continue  # it is being opened, or was given up meanwhile
            metrics.POSITION.labels(number).set(positions[Topic.USAGE_EVENTS])
            metrics.LAG.labels(number).set(sum(one.lag for one in sources.values()))
            metrics.POSITION_AGE.labels(number).set(max(ages[place] for place in sources))
            _show_agenda(number, tables, int(now * SECOND_MS))
            _show_footprint(number, tables)


def _progress(partition: Watched, behind: Mapping[TopicPartition, Behind]) -> Progress | None:
    decided, positions = partition.decided, partition.positions
    if decided is None or positions is None:
        return None
    return Progress(sum(positions.values()) + sum(decided.values()), sum(one.lag for one in behind.values()))


def _show_agenda(number: int, tables: Tables, at: int) -> None:
    due = list(itertools.islice(tables.due_until(at), DUE_COUNTED_MAX))
    metrics.CLOSING_BACKLOG.labels(number).set(len(due))
    metrics.CLOSING_OVERDUE.labels(number).set((at - due[0].at) / SECOND_MS if due else 0)


def _show_footprint(number: int, tables: Tables) -> None:
    footprint = tables.footprint()
    metrics.KEYS.labels(number).set(footprint.keys)
    metrics.MEMTABLE_BYTES.labels(number).set(footprint.memtable_bytes)
    metrics.TABLE_READER_BYTES.labels(number).set(footprint.table_reader_bytes)
    metrics.DISK_BYTES.labels(number).set(footprint.disk_bytes)
    metrics.CACHE_BYTES.set(footprint.cache_bytes)
