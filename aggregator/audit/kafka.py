"""The log on Kafka, read by one process that waits for it: each read is a consumer's, with a loop of its own."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from aggregator.audit.evidence import AuditImpossible, Record
from schemas.settings import Settings
from schemas.topics import Topic

REQUEST_TIMEOUT_MS: Final = 15_000
FETCH_BYTES: Final = 4 << 20
RECORDS_MAX: Final = 10_000
POLL_MS: Final = 50
FETCH_WAIT_MS: Final = 5
RETRY_BACKOFF_MS: Final = 20
"""At the end of a partition there is nothing to wait for: all that is read was there before."""
SILENT_SECONDS_MAX: Final = 60

NOT_AUDITED: Final = (Topic.USAGE_REPLIES, Topic.USAGE_RATES, Topic.USAGE_ALERTS)
"""No bill depends on them."""

Result = TypeVar("Result")


class KafkaLog:
    """The topics of a deployment. `progress` is told of offsets as they are read, and may stop the reading by
    raising."""

    def __init__(self, settings: Settings, progress: Callable[[int], None]) -> None:
        self._settings = settings
        self._progress = progress
        self._runner = asyncio.Runner()
        self._consumers: dict[bool, AIOKafkaConsumer] = {}

    def close(self) -> None:
        """Disconnect."""
        for consumer in self._consumers.values():
            self._runner.run(stop_consumer(consumer))
        self._runner.close()

    def beginning(self, topic: Topic, partition: int) -> int:
        """The offset at which a partition begins."""
        place = TopicPartition(self._settings.topic(topic), partition)
        beginnings = self._wait(self._consumer(committed=True).beginning_offsets([place]))
        return int(beginnings[place])

    def read(
        self, topic: Topic, partition: int, end: int, *, begin: int = 0, committed: bool = True
    ) -> Iterator[Record]:
        """The records of a partition, in order. A second read ends the first of the same kind."""
        place = TopicPartition(self._settings.topic(topic), partition)
        begin = max(begin, self.beginning(topic, partition))
        if begin >= end:
            return
        consumer = self._consumer(committed=committed)
        self._wait(_begin(consumer, place, begin))
        heard_at = time.monotonic()
        position = begin
        while True:
            before = position
            records, position = self._wait(_fetch(consumer, place))
            yield from (record for record in records if record.offset < end)
            self._progress(min(position, end) - before)
            if position >= end:
                return
            if position > before:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > SILENT_SECONDS_MAX:
                raise AuditImpossible(
                    f"Partition {partition} of {place.topic} has given nothing for {SILENT_SECONDS_MAX} s from offset"
                    f" {position} on, and ends at {end}: look at the brokers."
                )

    def _consumer(self, *, committed: bool) -> AIOKafkaConsumer:
        if committed not in self._consumers:
            self._consumers[committed] = self._wait(_connected(self._settings, committed=committed))
        return self._consumers[committed]

    def _wait(self, answer: Coroutine[Any, Any, Result]) -> Result:
        try:
            return self._runner.run(answer)
        except KafkaError as error:
            raise unreadable(self._settings, error) from error


async def _begin(consumer: AIOKafkaConsumer, place: TopicPartition, offset: int) -> None:
    consumer.assign([place])
    consumer.seek(place, offset)


async def _fetch(consumer: AIOKafkaConsumer, place: TopicPartition) -> tuple[Sequence[Any], int]:
    fetched = await consumer.getmany(place, timeout_ms=POLL_MS, max_records=RECORDS_MAX)
    return fetched.get(place, ()), await consumer.position(place)


@asynccontextmanager
async def open_consumer(settings: Settings, *, committed: bool) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer outside any group, of committed records or of all. Raises AuditImpossible where Kafka is away."""
    try:
        consumer = await _connected(settings, committed=committed)
        try:
            yield consumer
        finally:
            await stop_consumer(consumer)
    except KafkaError as error:
        raise unreadable(settings, error) from error


async def partitions_of(settings: Settings) -> int:
    """How many partitions each topic has. Raises AuditImpossible where topics are missing or differ."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka, request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        # Of all topics: to ask for one that is absent would create it where the broker is so configured.
        found = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
    except KafkaError as error:
        raise unreadable(settings, error) from error
    finally:
        await admin.close()
    names = [settings.topic(topic) for topic in Topic if topic not in NOT_AUDITED]
    if missing := [name for name in names if name not in found]:
        raise AuditImpossible(f"Kafka has no topic {missing[0]}: check TALLY_KAFKA and TALLY_TOPIC_PREFIX.")
    catalog = settings.topic(Topic.CATALOG)
    if len({count for name, count in found.items() if name in names and name != catalog}) != 1 or found[catalog] != 1:
        counts = {name: found[name] for name in names}
        raise AuditImpossible(
            f"The topics have different numbers of partitions ({counts}): that can't be Tally's work."
        )
    return found[settings.topic(Topic.USAGE_EVENTS)]


def unreadable(settings: Settings, error: Exception) -> AuditImpossible:
    """What is said where Kafka does not answer."""
    what = f"Kafka at {settings.kafka} can't be read ({type(error).__name__}: {error})"
    return AuditImpossible(f"{what}: start it, or check TALLY_KAFKA.")


async def stop_consumer(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer, also while its broker is away: aiokafka 0.14.0 then raises the cancellation of its own fetch."""
    try:
        await consumer.stop()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        await consumer._client.close()


async def _connected(settings: Settings, *, committed: bool) -> AIOKafkaConsumer:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka,
        client_id="tally-audit",
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed" if committed else "read_uncommitted",
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        retry_backoff_ms=RETRY_BACKOFF_MS,
    )
    try:
        await consumer.start()
    except BaseException:
        await stop_consumer(consumer)
        raise
    return consumer
