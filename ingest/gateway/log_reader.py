"""Single records of `usage-events`, by their place: what the log holds before any table does."""

import asyncio
import contextlib
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from ingest.broker import BrokerAway
from ingest.consumer import stop_consumer

_MS: Final = 1_000
_FETCH_BYTES: Final = 64 * 1024
"""Enough for an event; a broker sends a larger record all the same where it is the first."""
_FETCH_WAIT_MS: Final = 50
"""A broker answers the requests of a connection one after the other: a fetch that waits there holds up the next one."""

_COMMITTED: Final = "read_committed"
_ANY: Final = "read_uncommitted"


class Logged(NamedTuple):
    """A record of the log."""

    value: bytes | None


class LogReader:
    """Reads one record at a time, for all requests; it connects when it is first needed."""

    def __init__(self, bootstrap: str, topic: str, seconds: float) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._seconds = seconds
        self._consumers: dict[str, AIOKafkaConsumer] = {}
        self._turn = asyncio.Lock()

    async def record(self, partition: int, offset: int) -> Logged | None:
        """The record at a place of a partition that exists; None where none is or will be counted: beyond the end, the
        mark of a transaction, aborted, deleted.

        Raises BrokerAway where it does not come in the time allowed.
        """
        try:
            async with asyncio.timeout(self._seconds), self._turn:
                return await self._record(TopicPartition(self._topic, partition), offset)
        except OffsetOutOfRangeError:
            return None
        except (KafkaError, OSError, TimeoutError) as error:
            raise BrokerAway(f"the topic {self._topic} can't be read: {error or type(error).__name__}") from error

    async def close(self) -> None:
        """Let go of the broker."""
        for consumer in self._consumers.values():
            await stop_consumer(consumer)

    async def _record(self, place: TopicPartition, offset: int) -> Logged | None:
        consumer = await self._connected(_COMMITTED)
        if offset >= await _end(consumer, place):  # perhaps a transaction that somebody else has open holds it back
            consumer = await self._connected(_ANY)
            if offset >= await _end(consumer, place):
                return None
        return await _read(consumer, place, offset)

    async def _connected(self, isolation: str) -> AIOKafkaConsumer:
        if isolation not in self._consumers:
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self._bootstrap,
                isolation_level=isolation,
                enable_auto_commit=False,
                auto_offset_reset="none",
                request_timeout_ms=int(self._seconds * _MS),
                fetch_max_wait_ms=_FETCH_WAIT_MS,
                max_partition_fetch_bytes=_FETCH_BYTES,
            )
            async with contextlib.AsyncExitStack() as undo:
                undo.push_async_callback(stop_consumer, consumer)
                await consumer.start()
                undo.pop_all()
            self._consumers[isolation] = consumer
        return self._consumers[isolation]


async def _end(consumer: AIOKafkaConsumer, place: TopicPartition) -> int:
    return int((await consumer.end_offsets([place]))[place])


async def _read(consumer: AIOKafkaConsumer, place: TopicPartition, offset: int) -> Logged | None:
    consumer.assign([place])
    consumer.seek(place, offset)
    try:
        while await consumer.position(place) <= offset:
            fetched: dict[TopicPartition, list[Any]] = await consumer.getmany(place, timeout_ms=_MS, max_records=1)
            for record in fetched.get(place, ()):
                return Logged(record.value) if record.offset == offset else None
        return None
    finally:
        consumer.pause(place)
