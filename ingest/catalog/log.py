"""The topic `catalog`, read back: what was published, to compare Postgres with and to rebuild it from."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from ingest.broker import BrokerAway
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

    @property
    def kind(self) -> str:
        """What it is an entry of."""
        return self.key.partition("/")[0]

    @property
    def id(self) -> str:
        """The id of what it is an entry of."""
        return self.key.partition("/")[2]


class CatalogLog:
    """Reads the topic's committed records, from a moment on and up to where it ends now."""

    def __init__(self, bootstrap: str, topic: str, seconds: float) -> None:
        self.topic = topic
        self._bootstrap = bootstrap
        self._seconds = seconds
        self._partition = TopicPartition(topic, 0)

    async def since(self, at: int | None) -> AsyncGenerator[list[Published], None]:
        """The entries that were appended at a time in ms or later (None: all), some at a time.

        Raises BrokerAway where nothing comes for as long as is borne, and OperatorError where there is no such topic.
        """
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="none",
            request_timeout_ms=int(self._seconds * _MS),
            fetch_max_wait_ms=100,
        )
        try:
            end = await asyncio.wait_for(self._begin(consumer, at), 2 * self._seconds)
            while records := await self._next(consumer, end):
                yield list(_readable(records))
        except (KafkaError, OSError, TimeoutError) as error:
            raise BrokerAway(f"the topic {self.topic} can't be read: {error or type(error).__name__}") from error
        finally:
            await _stop(consumer)

    async def _begin(self, consumer: AIOKafkaConsumer, at: int | None) -> int:
        """Go to the first record to read; returns the end."""
        await consumer.start()
        # Of all topics: a request that names one may create it, with the broker's own settings.
        if self.topic not in await consumer.topics():
            raise OperatorError(f"The topic {self.topic} does not exist; create it with 'tally topics'.")
        consumer.assign([self._partition])
        begin = (await consumer.beginning_offsets([self._partition]))[self._partition]
        end: int = (await consumer.end_offsets([self._partition]))[self._partition]
        if at is not None:
            found = (await consumer.offsets_for_times({self._partition: at}))[self._partition]
            begin = end if found is None else max(begin, found.offset)
        consumer.seek(self._partition, begin)
        return end

    async def _next(self, consumer: AIOKafkaConsumer, end: int) -> list[Any]:
        """The next records before the end; none where it is reached."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._seconds
        while await consumer.position(self._partition) < end:
            fetched = await consumer.getmany(self._partition, timeout_ms=100, max_records=_RECORDS_MAX)
            if records := fetched.get(self._partition):
                return list(records)
            if loop.time() > due:
                raise TimeoutError("nothing came in time")
        return []


def _readable(records: Iterable[Any]) -> Iterable[Published]:
    for record in records:
        try:
            key, document = record.key.decode(), json.loads(record.value)
            yield Published(key, int(document["version"]), document, record.timestamp)
        except (AttributeError, ValueError, KeyError, TypeError):
            logger.warning("the record at offset %d of the catalog is no entry", record.offset)


async def _stop(consumer: AIOKafkaConsumer) -> None:
    try:
        await consumer.stop()
    except asyncio.CancelledError:
        # aiokafka 0.14.0 lets the cancellation of its own fetch out of stop(), see docs/architecture.md, Non-obvious.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        await consumer._client.close()
