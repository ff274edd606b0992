"""The log as the status shows it: where it ends, where the workers stand, and where they stood at a time.

Nothing here reads more of a partition than a few records at the place that is asked about, however long the log is and
however much goes on.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from ingest.broker import BrokerAway
from ingest.consumer import stop_consumer
from schemas.errors import OperatorError
from schemas.topics import KIB

Offsets = Mapping[TopicPartition, int]

_MS: Final = 1_000
_FETCH_BYTES: Final = 8 * KIB
"""Of a partition at a time: a handful of positions; a broker sends a larger record all the same where it is the
first."""
_FETCH_WAIT_MS: Final = 50
_POLL_MS: Final = 10
"""aiokafka says nothing when it comes upon a mark, after which perhaps there is no record: so it is asked often."""
_TAIL_OFFSETS: Final = (2, 20, 2_000)
"""How far before the end the last record is looked for. Before the end stands the mark of its transaction, and perhaps
those of aborted ones."""


@dataclass(slots=True, frozen=True)
class Standing:
    """Where a reader stands in a partition. `lag` is how many offsets are left, 0 where nothing but the marks of
    transactions is; `waiting_since` is the append time in ms of the oldest record that waits, None where that can't be
    read yet because a transaction before it is open."""

    place: TopicPartition
    position: int
    end: int
    lag: int
    waiting_since: int | None


class StatusLog:
    """Answers one question at a time; it connects when it is first asked."""

    def __init__(self, bootstrap: str, topics: Iterable[str], seconds: float) -> None:
        """`topics` are those that may be asked about."""
        self._bootstrap = bootstrap
        self._topics = frozenset(topics)
        self._seconds = seconds
        self._consumers: tuple[AIOKafkaConsumer, AIOKafkaConsumer] | None = None
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def asking(self, partitions: int) -> AsyncIterator["Asking"]:
        """Whom to ask, of topics of so many partitions, for as long as the gateway waits for Kafka.

        Raises BrokerAway, also from the block, and OperatorError where there is no such topic.
        """
        try:
            async with self._turn, asyncio.timeout(self._seconds):
                yield Asking(*await self._connected(partitions))
        except (KafkaError, OSError, TimeoutError) as error:
            raise BrokerAway(f"Kafka at {self._bootstrap} does not answer: {error or type(error).__name__}") from error

    async def close(self) -> None:
        """Let go of the broker."""
        for consumer in self._consumers or ():
            await stop_consumer(consumer)

    async def _connected(self, partitions: int) -> tuple[AIOKafkaConsumer, AIOKafkaConsumer]:
        if self._consumers is None:
            reader, asker = self._consumer("read_committed"), self._consumer("read_uncommitted")
            async with contextlib.AsyncExitStack() as undo:
                for consumer in (reader, asker):
                    undo.push_async_callback(stop_consumer, consumer)
                    await consumer.start()
                await self._assign(reader, partitions)
                undo.pop_all()
            self._consumers = reader, asker
        return self._consumers

    async def _assign(self, reader: AIOKafkaConsumer, partitions: int) -> None:
        """Give it all partitions, for good: with each topic that comes or goes, aiokafka would ask for the cluster
        anew, which takes 100 to 300 ms. It fetches only of those that are resumed."""
        # Of all topics: a request that names one may create it, with the broker's own settings.
        if missing := self._topics - await reader.topics():
            raise OperatorError(f"The topic {min(missing)} does not exist; create it with 'tally topics'.")
        places = [TopicPartition(topic, n) for topic in self._topics for n in range(partitions)]
        reader.assign(places)
        reader.pause(*places)
        for place in places:
            reader.seek(place, 0)

    def _consumer(self, isolation: str) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            isolation_level=isolation,
            enable_auto_commit=False,
            auto_offset_reset="none",
            request_timeout_ms=int(self._seconds * _MS),
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            max_partition_fetch_bytes=_FETCH_BYTES,
        )


class Asking:
    """Questions to the broker. `asker` fetches nothing, so that no fetch that waits at the broker is before it."""

    def __init__(self, reader: AIOKafkaConsumer, asker: AIOKafkaConsumer) -> None:
        self._reader = reader
        self._asker = asker

    async def standings(self, positions: Offsets) -> list[Standing]:
        """Where readers stand that have these next offsets."""
        places = list(positions)
        if not places:
            return []
        ends = await self._asker.end_offsets(places)
        stable = await self._reader.end_offsets(places)
        waiting = await self._read(positions, stable, to_end=False)
        return [
            Standing(
                place,
                position,
                ends[place],
                ends[place] - position if place in waiting or ends[place] > max(stable[place], position) else 0,
                waiting[place][0].timestamp if place in waiting else None,
            )
            for place, position in positions.items()
        ]

    async def last(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, Any]:
        """The last record of each partition that has one, near its end."""
        ends = await self._reader.end_offsets(list(places))
        found: dict[TopicPartition, Any] = {}
        for back in _TAIL_OFFSETS:
            offsets = {place: max(0, end - back) for place, end in ends.items() if place not in found}
            read = await self._read(offsets, ends, to_end=True)
            found |= {place: records[-1] for place, records in read.items()}
        return found

    async def around(self, places: Iterable[TopicPartition], at: int) -> dict[TopicPartition, list[Any]]:
        """Of each partition that was written to since a time in ms, some records in a row: the last one before, where
        it stands right there, and the first one since."""
        since = await self._asker.offsets_for_times(dict.fromkeys(places, at))
        # Between two records of transactions stands one mark.
        offsets = {place: max(0, found.offset - 2) for place, found in since.items() if found is not None}
        if not offsets:
            return {}
        return await self._read(offsets, await self._reader.end_offsets(list(offsets)), to_end=False)

    async def _read(self, offsets: Offsets, ends: Offsets, *, to_end: bool) -> dict[TopicPartition, list[Any]]:
        """The records from each offset on, all up to the end or those that come first; a partition that has none is
        left out."""
        found: dict[TopicPartition, list[Any]] = {}
        places = [place for place, offset in offsets.items() if offset < ends[place]]
        if not places:
            return found
        for place in places:
            self._reader.seek(place, offsets[place])
        self._reader.resume(*places)
        left = set(places)
        try:
            while left:
                for place, records in (await self._reader.getmany(*left, timeout_ms=_POLL_MS)).items():
                    found.setdefault(place, []).extend(records)
                # Where a transaction ended, the position is beyond the last record.
                done = {place for place in left if await self._reader.position(place) >= ends[place]}
                left -= done if to_end else done | found.keys()
        finally:
            self._reader.pause(*places)
        return found
