"""A look at a worker's partitions, about every second: how far behind are they? For the metrics and /health/ready."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from aggregator.engine import metrics
from aggregator.engine.liveness import Liveness
from aggregator.stream.progress import Progress
from schemas.position import SOURCES, Positions
from schemas.topics import Topic

ANSWER_SECONDS = 5


class Watched(Protocol):
    """A partition that the worker owns."""

    number: int

    @property
    def positions(self) -> Positions | None:
        """The next offset of each source to decide, as committed; it moves within a long piece of work."""

    @property
    def decided(self) -> Mapping[Topic, int] | None:
        """The offset of each source up to which all is read and decided, markers included, as of the last time that
        nothing was in hand; None until the partition is open. A position in the log may stay behind markers for ever,
        and what was only read is not decided: neither of them would do for a lag."""


async def watch(
    consumer: AIOKafkaConsumer, names: Mapping[Topic, str], owned: Iterable[Watched], liveness: Liveness
) -> None:
    """Look once, at all partitions that the worker owns; call this when it was given the first, or none."""
    partitions = list(owned)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            ends = await _ends(consumer, names, partitions)
    except (KafkaError, OSError, TimeoutError) as error:
        liveness.away(time.monotonic(), str(error) or type(error).__name__)
        return
    liveness.observe(
        time.monotonic(), {partition.number: _progress(partition, names, ends) for partition in partitions}
    )


async def _ends(
    consumer: AIOKafkaConsumer, names: Mapping[Topic, str], partitions: list[Watched]
) -> dict[TopicPartition, int]:
    if not partitions:
        await consumer.topics()  # only to hear from a broker
        return {}
    places = [TopicPartition(names[topic], partition.number) for partition in partitions for topic in SOURCES]
    stable: dict[TopicPartition, int] = await consumer.end_offsets(places)
    assigned = consumer.assignment()
    # Beyond the end of what is stable stands what a producer keeps back with a transaction that it does not end.
    return {
        place: max(end, consumer.highwater(place) or 0) if place in assigned else end for place, end in stable.items()
    }


def _progress(partition: Watched, names: Mapping[Topic, str], ends: Mapping[TopicPartition, int]) -> Progress | None:
    decided, positions = partition.decided, partition.positions
    if decided is None or positions is None:
        return None
    lag = sum(
        max(0, ends[TopicPartition(names[topic], partition.number)] - offset) for topic, offset in decided.items()
    )
    metrics.lag(partition.number, lag, positions[Topic.USAGE_EVENTS])
    return Progress(sum(positions.values()) + sum(decided.values()), lag)
