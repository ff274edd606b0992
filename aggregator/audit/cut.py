"""The consistent cut of a running system.

A worker writes everything of a batch in one transaction: verdicts, totals, closed periods and, last, its position. So
up to a moment at which no transaction is open, the topics of its partition are a whole; and the position that stands
last before that moment says up to where the sources are accounted for. There need be no such moment for all partitions
together: each is cut by itself.

For one partition three questions are asked of the brokers, each after the answer to the one before: the ends of its
topics with all that is in them (the high watermarks), their ends as a reader of committed records sees them (the last
stable offsets), and the first again. If all three answers are the same, then nothing was appended to any of the topics
between the first and the third answer, and at the second none of them held a record or a marker of a transaction that
was still open. A transaction of which one topic has the marker and another has not yet shows in the other one, as open.
So the ends are those of one moment. If they differ, a batch was under way: they are asked for again.

`usage-forwarded` is the exception, for all workers write into all its partitions. It is only asked what has arrived, of
events that lie before the cut of the partition that sent them; so its ends are taken when all cuts are made, and waited
for until a reader of committed records sees them.

Postgres is read before all this, in one snapshot, in which the offsets of the closer and of the projector stand beside
their rows. The rows are then compared with the topics up to those offsets, which lie before the cut.
"""

import asyncio
import time
from dataclasses import replace
from typing import Final, Protocol

from aiokafka import TopicPartition

from aggregator.audit.evidence import OUTPUTS, AuditImpossible, Cut, PartitionCut
from aggregator.audit.kafka import open_consumer
from schemas.settings import Settings
from schemas.topics import Topic

SECONDS_MAX: Final = 120
"""The time that all partitions together may take."""
PAUSES_SECONDS: Final = (0.005, 0.01, 0.02, 0.03, 0.05)
"""Between two attempts, in turn: no rhythm of a worker's batches is met for ever."""


async def take_cut(settings: Settings, partitions: int, copied: dict[tuple[str, str, int], int]) -> Cut:
    """The cut of now. Raises AuditImpossible where a partition does not come to rest for a moment."""
    async with (
        open_consumer(settings, committed=True) as stable,
        open_consumer(settings, committed=False) as everything,
    ):
        cutting = Cutting(settings, stable, everything, SECONDS_MAX)
        cuts = [await cutting.cut(partition) for partition in range(partitions)]
        catalog = TopicPartition(settings.topic(Topic.CATALOG), 0)
        catalog_end = (await stable.end_offsets([catalog]))[catalog]
        return Cut(tuple(await cutting.add_sources(cuts)), catalog_end, copied)


class Consumer(Protocol):
    """What is asked of the brokers."""

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        """The ends of some partitions, as a reader of its isolation level sees them."""


class Cutting:
    """Cuts partitions, all of them in `seconds`: `stable` reads what is committed, `everything` all there is."""

    def __init__(self, settings: Settings, stable: Consumer, everything: Consumer, seconds: int) -> None:
        self._settings = settings
        self._stable = stable
        self._everything = everything
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds

    async def cut(self, partition: int) -> PartitionCut:
        """The cut of one partition."""
        topics = {TopicPartition(self._settings.topic(topic), partition): topic for topic in OUTPUTS}
        attempt = 0
        while True:
            before = await self._everything.end_offsets(list(topics))
            ends = await self._stable.end_offsets(list(topics))
            if before == ends == await self._everything.end_offsets(list(topics)):
                return PartitionCut(partition, {topic: ends[place] for place, topic in topics.items()})
            attempt += 1
            await self._pause(attempt, f"Partition {partition} was never without an open transaction")

    async def add_sources(self, cuts: list[PartitionCut]) -> list[PartitionCut]:
        """The same cuts with the ends of the sources: that of `usage-forwarded` once nothing before it is open."""
        forwarded = self._places(Topic.USAGE_FORWARDED, cuts)
        arrived = await self._everything.end_offsets(forwarded)
        attempt = 0
        while any(stable < arrived[place] for place, stable in (await self._stable.end_offsets(forwarded)).items()):
            attempt += 1
            await self._pause(attempt, f"A transaction stays open on {forwarded[0].topic}")
        ends = {
            Topic.USAGE_FORWARDED: arrived,
            **{
                topic: await self._stable.end_offsets(self._places(topic, cuts))
                for topic in (Topic.USAGE_EVENTS, Topic.USAGE_CORRECTIONS)
            },
        }
        return [
            replace(cut, ends={**cut.ends, **{topic: of[self._place(topic, cut)] for topic, of in ends.items()}})
            for cut in cuts
        ]

    def _place(self, topic: Topic, cut: PartitionCut) -> TopicPartition:
        return TopicPartition(self._settings.topic(topic), cut.partition)

    def _places(self, topic: Topic, cuts: list[PartitionCut]) -> list[TopicPartition]:
        return [self._place(topic, cut) for cut in cuts]

    async def _pause(self, attempt: int, what: str) -> None:
        if time.monotonic() > self._deadline:
            raise AuditImpossible(
                f"{what} in {self._seconds} s: a worker that died in the middle of one leaves it open until another"
                " takes over; start one, or try again when there is less to do."
            )
        await asyncio.sleep(PAUSES_SECONDS[attempt % len(PAUSES_SECONDS)])
