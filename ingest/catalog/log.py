"""The topic `catalog`, read back: what was published, and when."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from ingest.broker import BrokerAway
from ingest.consumer import stop_consumer
from schemas.catalog import is_dated
from schemas.errors import OperatorError

logger = logging.getLogger(__name__)

_RECORDS_MAX: Final = 5_000
"""Read at a time: an entry is under 2 KB, so this is what the reading of a catalog of any size needs of memory."""

_MS: Final = 1_000


@dataclass(slots=True, frozen=True)
class Published:
    """An entry as a record of the topic has it. `at` is its append time in ms."""

    key: str
    version: int
    document: Mapping[str, Any]
    at: int
    is_dated: bool
    """Whether it has all its times of its own, so that its append time tells nothing."""

    @property
    def kind(self) -> str:
        """What it is an entry of."""
        return self.key.partition("/")[0]

    @property
    def id(self) -> str:
        """The id of what it is an entry of."""
        return self.key.partition("/")[2]

    def supersedes(self, held: "Published") -> bool:
        """As schemas.catalog.supersedes()."""
        return self.version > held.version or (self.version == held.version and self.is_dated)


class Reading:
    """Reads the topic's committed records, from any offset and up to where it ends now.

    A broker answers the requests of a connection one after the other, and a fetch waits there for records. So the end
    is asked for by a second consumer, which fetches nothing: else it would be told 100 ms later.
    """

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        asker: AIOKafkaConsumer,
        partition: TopicPartition,
        begin: int,
        seconds: float,
    ) -> None:
        """`begin` is the offset of the topic's first record, where the consumer is."""
        self.next_offset = begin
        self._consumer = consumer
        self._asker = asker
        self._partition = partition
        self._begin = begin
        self._seconds = seconds

    def go_to(self, offset: int) -> None:
        """Read on from an offset, or from the topic's first record where that is later."""
        offset = max(offset, self._begin)
        if offset != self.next_offset:
            self._consumer.seek(self._partition, offset)
            self.next_offset = offset

    async def end(self) -> int:
        """The offset after the last record. Raises BrokerAway."""
        with _answering(self._partition.topic):
            return int((await self._asker.end_offsets([self._partition]))[self._partition])

    async def rest(self) -> AsyncGenerator[list[Published], None]:
        """The entries from the next offset to the end as it is now, some at a time; the next offset moves with them.

        Raises BrokerAway, also where nothing comes for as long as is borne.
        """
        end = await self.end()
        while self.next_offset < end:
            if records := await self._next(end):
                yield list(_readable(records))

    async def _next(self, end: int) -> list[Any]:
        """The next records; none where only the end of a transaction was left."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._seconds
        with _answering(self._partition.topic):
            while self.next_offset < end:
                fetched = await self._consumer.getmany(self._partition, timeout_ms=100, max_records=_RECORDS_MAX)
                # Where a transaction ended, the position is beyond the last record.
                self.next_offset = await self._consumer.position(self._partition)
                if records := fetched.get(self._partition):
                    return list(records)
                if loop.time() > due:
                    raise TimeoutError("nothing came in time")
        return []


class CatalogLog:
    """Opens the topic for reading."""

    def __init__(self, bootstrap: str, topic: str, seconds: float) -> None:
        self.topic = topic
        self._bootstrap = bootstrap
        self._seconds = seconds
        self._partition = TopicPartition(topic, 0)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reading]:
        """A reading that begins with the topic's first record.

        Raises BrokerAway where no broker answers for as long as is borne, and OperatorError where there is no such
        topic.
        """
        consumer, asker = self._consumer(), self._consumer()
        try:
            with _answering(self.topic):
                async with asyncio.timeout(2 * self._seconds):
                    await asker.start()
                    begin = await self._begin(consumer)
            yield Reading(consumer, asker, self._partition, begin, self._seconds)
        finally:
            await stop_consumer(consumer)
            await stop_consumer(asker)

    def _consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="none",
            request_timeout_ms=int(self._seconds * _MS),
            fetch_max_wait_ms=100,
        )

    async def _begin(self, consumer: AIOKafkaConsumer) -> int:
        """Go to the first record, and return its offset."""
        await consumer.start()
        # Of all topics: a request that names one may create it, with the broker's own settings.
        if self.topic not in await consumer.topics():
            raise OperatorError(f"The topic {self.topic} does not exist; create it with 'tally topics'.")
        consumer.assign([self._partition])
        begin: int = (await consumer.beginning_offsets([self._partition]))[self._partition]
        consumer.seek(self._partition, begin)
        return begin


@contextmanager
def _answering(topic: str) -> Iterator[None]:
    try:
        yield
    except (KafkaError, OSError, TimeoutError) as error:
        raise BrokerAway(f"the topic {topic} can't be read: {error or type(error).__name__}") from error


def _readable(records: Iterable[Any]) -> Iterable[Published]:
    for record in records:
        try:
            key, document = record.key.decode(), json.loads(record.value)
            yield Published(key, int(document["version"]), document, record.timestamp, is_dated(document))
        except (AttributeError, ValueError, LookupError, TypeError):
            fields = {"topic": record.topic, "offset": record.offset}
            logger.warning("the record at offset %d of the catalog is no entry", record.offset, extra=fields)
