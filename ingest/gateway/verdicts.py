"""The gateway's end of the way back: it waits on one partition of `usage-replies` for the verdicts it has asked for.

The partition is claimed by a lock in Postgres that ends with the session which holds it. So no two gateways have the
same, nobody configures which, and that of a gateway that has died is free again. Without a claim (Postgres is away, or
there are more gateways than partitions) nothing is asked for, and callers get a receipt instead of a verdict.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from ingest.consumer import stop_consumer
from ingest.database import Database, DatabaseAway
from ingest.metrics import VERDICT_WAIT_SECONDS, VERDICTS_AWAITED
from schemas.errors import OperatorError
from schemas.forwarding import Headers
from schemas.reply import ReplyAddress, Verdict, verdict_of

if TYPE_CHECKING:
    from ingest.database import Connection

logger = logging.getLogger(__name__)

AWAITED_MAX: Final = 100_000
"""Verdicts awaited at a time; whoever asks for more gets receipts."""

_CLAIM: Final = "SELECT pg_try_advisory_lock(hashtext($1), $2)"
_REQUEST_BYTES: Final = 8
_RETRY_SECONDS: Final = 1.0
_LOOK_EVERY_SECONDS: Final = 2.0
"""How often the session that holds the claim is looked at."""
_FETCH_WAIT_MS: Final = 500
_MS: Final = 1_000


class Expected:
    """The verdicts that one request waits for, by the number of the record; whoever leaves it waits no longer."""

    def __init__(self, waiting: dict[bytes, "Expected"], partition: int, count: int) -> None:
        self._waiting = waiting
        self._partition = partition
        self._request = secrets.token_bytes(_REQUEST_BYTES)
        self._verdicts: list[Verdict | None] = [None] * count
        self._missing = set(range(count))
        self._complete = asyncio.Event()

    def __enter__(self) -> Self:
        self._waiting[self._request] = self
        VERDICTS_AWAITED.inc(len(self._verdicts))
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        del self._waiting[self._request]
        VERDICTS_AWAITED.dec(len(self._verdicts))

    def headers(self, number: int) -> Headers:
        """The headers by which a record asks for its verdict."""
        return ReplyAddress(self._partition, self._request + number.to_bytes(2, "big")).headers()

    def stop(self) -> None:
        """Wait no longer."""
        self._complete.set()

    def forgo(self, number: int) -> None:
        """There will be no verdict of this record: it was not published."""
        self._leave(number)

    def settle(self, number: int, verdict: Verdict) -> None:
        """This is the verdict of a record."""
        if number in self._missing:
            self._verdicts[number] = verdict
            self._leave(number)

    async def wait(self, seconds: float) -> list[Verdict | None]:
        """The verdicts that came within this time; None for each that did not."""
        with VERDICT_WAIT_SECONDS.time():
            if self._missing:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._complete.wait()
        return self._verdicts

    def _leave(self, number: int) -> None:
        self._missing.discard(number)
        if not self._missing:
            self._complete.set()


class Verdicts:
    """Gives out what to wait with, and settles it."""

    def __init__(self, database: Database, bootstrap: str, topic: str, seconds: float) -> None:
        self._database = database
        self._bootstrap = bootstrap
        self._topic = topic
        self._seconds = seconds
        self._claimed: int | None = None
        self._preferred = secrets.randbits(16)
        self._waiting: dict[bytes, Expected] = {}
        self._is_stopping = False

    @property
    def claimed(self) -> int | None:
        """The partition that this gateway waits on; None while it has none."""
        return self._claimed

    def expect(self, count: int) -> Expected | None:
        """What to wait with for so many verdicts; None where there is no waiting now."""
        if self._is_stopping or self._claimed is None or len(self._waiting) + count > AWAITED_MAX:
            return None
        return Expected(self._waiting, self._claimed, count)

    def stop_waiting(self) -> None:
        """Have all that is open answered with what is known, and ask for nothing more: the gateway is about to stop."""
        self._is_stopping = True
        for expected in self._waiting.values():
            expected.stop()

    async def run(self) -> None:
        """Claim a partition and wait on it, for ever. Raises OperatorError where the topic is missing."""
        while True:
            try:
                async with self._database.session() as connection:
                    await self._hold_one(connection)
            except DatabaseAway as error:
                logger.warning("verdicts are not waited for until Postgres answers: %s", error)
            except KafkaError as error:
                logger.warning("verdicts are not waited for until Kafka answers: %r", error)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _hold_one(self, connection: "Connection") -> None:
        async with self._consumer() as (consumer, count):
            partition = await self._claim(connection, count)
            if partition is None:
                logger.warning("all %d partitions of %s are claimed by other gateways", count, self._topic)
                return
            await self._begin(consumer, TopicPartition(self._topic, partition))
            reading = asyncio.create_task(self._read(consumer))
            self._preferred = self._claimed = partition
            try:
                while not reading.done():
                    await connection.execute("SELECT 1")
                    await asyncio.wait({reading}, timeout=_LOOK_EVERY_SECONDS)
                reading.result()
            finally:
                self._claimed = None
                reading.cancel()
                await asyncio.wait({reading})

    async def _claim(self, connection: "Connection", count: int) -> int | None:
        """The partition that is claimed now: the former one if it is free, else the next that is."""
        for step in range(count):
            partition = (self._preferred + step) % count
            if await connection.fetchval(_CLAIM, self._topic, partition):
                return partition
        return None

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[tuple[AIOKafkaConsumer, int]]:
        """A consumer, and how many partitions the topic has."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="latest",
            request_timeout_ms=int(self._seconds * _MS) + _FETCH_WAIT_MS,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
        )
        try:
            await consumer.start()
            yield consumer, await self._count()
        finally:
            await stop_consumer(consumer)

    async def _count(self) -> int:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap, request_timeout_ms=int(self._seconds * _MS))
        try:
            await admin.start()
            # Of all topics: a request that names one may create it, with the broker's own settings.
            counts = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
        finally:
            await admin.close()
        if self._topic not in counts:
            raise OperatorError(f"The topic {self._topic} does not exist; create it with 'tally topics'.")
        return counts[self._topic]

    @staticmethod
    async def _begin(consumer: AIOKafkaConsumer, place: TopicPartition) -> None:
        """Read from the end of the partition on: what stands there was for others."""
        consumer.assign([place])
        await consumer.seek_to_end(place)
        await consumer.position(place)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            for records in (await consumer.getmany(timeout_ms=_FETCH_WAIT_MS)).values():
                for record in records:
                    self._settle(record)

    def _settle(self, record: Any) -> None:
        key = record.key or b""
        expected = self._waiting.get(key[:_REQUEST_BYTES])
        if expected is None:
            return  # nobody waits any more
        try:
            expected.settle(int.from_bytes(key[_REQUEST_BYTES:], "big"), verdict_of(record.value))
        except (ValueError, LookupError, TypeError):
            fields = {"topic": self._topic, "partition": record.partition, "offset": record.offset}
            logger.warning("the record at offset %d of %s is no verdict", record.offset, self._topic, extra=fields)
