"""All that the topics of a stack hold, read on from where the last reading ended."""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.settings import Settings
from schemas.topics import TOPICS, Topic

Place = tuple[int, int]
"""Partition and offset in `usage-events`."""
Headers = dict[str, bytes]

READ = (
    *(Topic.USAGE_EVENTS, Topic.USAGE_FORWARDED, Topic.USAGE_CORRECTIONS, Topic.CATALOG, Topic.ACCEPTED_USAGE),
    *(Topic.USAGE_TOTALS, Topic.REJECTED_USAGE, Topic.CLOSED_PERIODS, Topic.AGGREGATOR_POSITIONS),
)


@dataclass(slots=True, frozen=True)
class Arrived:
    """A record of a source: `document` is None where the value is no JSON object. `at` is its append time in ms."""

    at: int
    document: dict[str, Any] | None


@dataclass(slots=True, frozen=True)
class Taken:
    """A record of `accepted-usage`."""

    place: Place
    status: str
    at: int


@dataclass
class Log:
    """What was read. Nothing here is judged; a gap or a fork in a chain of positions is noted as it is met."""

    events: dict[Place, Arrived] = field(default_factory=dict)
    forwarded: defaultdict[Place, list[int]] = field(default_factory=lambda: defaultdict(list))
    """The partitions that an event was forwarded to."""
    corrections: list[Arrived] = field(default_factory=list)
    catalog: defaultdict[str, list[Arrived]] = field(default_factory=lambda: defaultdict(list))
    accepted: defaultdict[str, list[Taken]] = field(default_factory=lambda: defaultdict(list))
    rejected: defaultdict[Place, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Codes by the place of the event; of corrections and forwarded records, by code in `rejected_others`."""
    rejected_others: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    periods: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """The newest state of each billing period, by subscription and start."""
    positions: dict[int, dict[str, Any]] = field(default_factory=dict)
    """The newest position record of each partition."""
    committed_at: defaultdict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    """The append times of all position records of a partition."""
    broken_chains: list[str] = field(default_factory=list)
    next_offsets: dict[TopicPartition, int] = field(default_factory=dict)
    """After the last record that was read; a marker that follows it is not counted."""
    _positions: dict[TopicPartition, int] = field(default_factory=dict)

    async def read_on(self, settings: Settings) -> None:
        """Read what was committed since. Raises KafkaError where the broker is away."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=50,
            max_partition_fetch_bytes=8 << 20,
        )
        await consumer.start()
        try:
            topics = {settings.topic(topic): topic for topic in READ}
            partitions = [TopicPartition(n, p) for n, t in topics.items() for p in range(_count(settings, t))]
            consumer.assign(partitions)
            for tp in partitions:
                consumer.seek(tp, self._positions.get(tp, 0))
            ends = await consumer.end_offsets(partitions)
            while behind := [tp for tp, end in ends.items() if await consumer.position(tp) < end]:
                fetched = await consumer.getmany(*behind, timeout_ms=100)
                for tp, records in fetched.items():
                    for record in records:
                        self._take(topics[tp.topic], record)
                    self.next_offsets[tp] = records[-1].offset + 1
                    self._positions[tp] = records[-1].offset + 1
            self._positions = {tp: await consumer.position(tp) for tp in partitions}
        finally:
            await consumer.stop()

    def _take(self, topic: Topic, record: Any) -> None:
        match topic:
            case Topic.USAGE_EVENTS:
                self.events[record.partition, record.offset] = Arrived(record.timestamp, _object(record.value))
            case Topic.USAGE_CORRECTIONS:
                self.corrections.append(Arrived(record.timestamp, _object(record.value)))
            case Topic.USAGE_FORWARDED:
                self.forwarded[_origin(dict(record.headers))].append(record.partition)
            case Topic.CATALOG:
                self.catalog[record.key.decode()].append(Arrived(record.timestamp, _object(record.value)))
            case Topic.ACCEPTED_USAGE:
                value = json.loads(record.value)
                place = (value["partition"], value["offset"])
                self.accepted[record.key.decode()].append(Taken(place, value["status"], record.timestamp))
            case Topic.REJECTED_USAGE:
                self._take_rejected(dict(record.headers))
            case Topic.USAGE_TOTALS:
                subscription_id, start, meter = json.loads(record.key)
                if meter == "":
                    self.periods[subscription_id, start] = json.loads(record.value)
            case Topic.AGGREGATOR_POSITIONS:
                self._follow(record)

    def _take_rejected(self, headers: Headers) -> None:
        code = headers["reject-code"].decode()
        if headers["origin-topic"].decode() == Topic.USAGE_EVENTS:
            self.rejected[_origin(headers)].append(code)
        else:
            self.rejected_others[code] += 1

    def _follow(self, record: Any) -> None:
        """Each position names the one before it."""
        partition, position = int(record.key), json.loads(record.value)
        before = self.positions.get(partition)
        expected = dict.fromkeys(position["positions"], 0) if before is None else before["positions"]
        is_first = before is None and position["prev"] is None
        went_back = any(position["positions"][topic] < offset for topic, offset in expected.items())
        if (position["prev"] != expected and not is_first) or went_back or record.partition != partition:
            self.broken_chains.append(
                f"partition {partition} at {record.offset}: {expected} is followed by {position['prev']}, "
                f"then {position['positions']}"
            )
        self.positions[partition] = position
        self.committed_at[partition].append(record.timestamp)


def _count(settings: Settings, topic: Topic) -> int:
    own = next(known.partitions for known in TOPICS if known.topic is topic)
    return own or settings.partitions


def _origin(headers: Headers) -> Place:
    return int(headers["origin-partition"]), int(headers["origin-offset"])


def _object(value: bytes | None) -> dict[str, Any] | None:
    try:
        document = json.loads(value or b"", parse_float=Decimal, parse_int=Decimal)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
