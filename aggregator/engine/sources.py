"""The three source partitions of an owner: read through the consumer of the process, from the position in the state."""

import time
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError
from aiokafka.record.util import calc_crc32c

from aggregator.engine.company import Company
from aggregator.engine.halt import Halt, HaltReason
from schemas.position import SOURCES, LastRecord, Position
from schemas.topics import Topic

LOG_APPEND_TIME = 1
_KEY = attrgetter("key")
RECOGNISE_SECONDS_MAX = 30

Ends = dict[Topic, int]
"""An offset of each of some sources."""


class Sources:
    """Partition `number` of each source topic."""

    def __init__(self, number: int, consumer: AIOKafkaConsumer, company: Company, names: dict[Topic, str]) -> None:
        self._number = number
        self._consumer = consumer
        self._company = company
        self._partitions = {topic: TopicPartition(names[topic], number) for topic in SOURCES}
        self._topics = {partition: topic for topic, partition in self._partitions.items()}

    def pause(self) -> None:
        """Read nothing before read_on()."""
        self._consumer.pause(*self._topics)

    async def read_on(self, position: Position) -> None:
        """Continue from a position, once each log proves to be the one that it speaks of. Raises Halt."""
        begins = await self._consumer.beginning_offsets(list(self._topics))
        ends = await self._consumer.end_offsets(list(self._topics))
        self._consumer.resume(*self._topics)
        for topic, partition in self._partitions.items():
            offset, begin, end = position.positions[topic], begins[partition], ends[partition]
            if end < offset:
                what = f"Partition {self._number} of {topic} ends at {end}, and {offset} was read"
                raise Halt(HaltReason.SOURCE_REPLACED, what)
            if begin > offset:
                what = f"Partition {self._number} of {topic} begins at {begin}, and only {offset} was read"
                raise Halt(HaltReason.SOURCE_TRUNCATED, what)
            last = position.last.get(topic)
            if last is not None and last.offset >= begin:
                await self._recognise(topic, last)
            self._consumer.seek(partition, offset)

    async def read(
        self, timeout_ms: int, records_max: int, topics: Iterable[Topic] = SOURCES
    ) -> dict[Topic, list[Any]]:
        """What there is to read, of each source in the order of its log. Raises Halt."""
        partitions = [self._partitions[topic] for topic in topics]
        try:
            fetched = await self._consumer.getmany(*partitions, timeout_ms=timeout_ms, max_records=records_max)
        except OffsetOutOfRangeError as error:
            raise await self._gone(error.args[0]) from error
        self._company.note(fetched.values())
        for partition, records in fetched.items():
            if {records[0].timestamp_type, records[-1].timestamp_type} != {LOG_APPEND_TIME}:
                raise Halt(HaltReason.NOT_APPEND_TIME, f"The topic {partition.topic} holds the producers' times")
        return {self._topics[partition]: records for partition, records in fetched.items()}

    async def next_offset(self, topic: Topic) -> int:
        """The offset after what was read of a source, markers included."""
        return int(await self._consumer.position(self._partitions[topic]))

    async def ends(self, topics: Iterable[Topic] = SOURCES) -> Ends:
        """The end of what is stable in each source."""
        ends = await self._consumer.end_offsets([self._partitions[topic] for topic in topics])
        return {self._topics[partition]: end for partition, end in ends.items()}

    async def has_read(self, ends: Ends) -> bool:
        """Whether all before these ends was read."""
        return not any([await self.next_offset(topic) < end for topic, end in ends.items()])

    async def _gone(self, offsets: dict[TopicPartition, int]) -> Halt:
        """Why the log no longer holds the offset that is to be read next."""
        ((partition, offset),) = offsets.items()
        begin = (await self._consumer.beginning_offsets([partition]))[partition]
        reason = HaltReason.SOURCE_TRUNCATED if begin > offset else HaltReason.SOURCE_REPLACED
        what = (
            f"Partition {self._number} of {self._topics[partition]} begins at {begin}, and {offset} is to be read next"
        )
        return Halt(reason, what)

    async def _recognise(self, topic: Topic, last: LastRecord) -> None:
        partition = self._partitions[topic]
        self._consumer.seek(partition, last.offset)
        deadline = time.monotonic() + RECOGNISE_SECONDS_MAX
        records: Sequence[Any] = ()
        while not records and time.monotonic() < deadline:
            records = (await self._consumer.getmany(partition, timeout_ms=200, max_records=1)).get(partition, ())
        if not records or last_record(records[0]) != last:
            what = f"The last record read of partition {self._number} of {topic} was {last}, and the log holds another"
            raise Halt(HaltReason.SOURCE_REPLACED, what)


def portions(records: Sequence[Any], keys_max: int) -> Iterator[Sequence[Any]]:
    """The records in their order, with at most so many keys in each portion; one without a key counts as a key."""
    all_keys = set(map(_KEY, records)) if len(records) > keys_max else set()
    if len(all_keys) <= keys_max and None not in all_keys and b"" not in all_keys:
        yield records
        return
    begin = 0
    keys: set[bytes | int] = set()
    for index, record in enumerate(records):
        key = record.key or index
        if len(keys) == keys_max and key not in keys:
            yield records[begin:index]
            begin, keys = index, set()
        keys.add(key)
    yield records[begin:]


def last_record(record: Any) -> LastRecord:
    """What the state remembers of the last record it applied, to recognise the log by."""
    return LastRecord(record.offset, record.timestamp, calc_crc32c((record.key or b"") + (record.value or b"")))
