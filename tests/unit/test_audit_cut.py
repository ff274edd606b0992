"""The cut of a partition is one at which none of its topics had anything open."""

from collections.abc import Iterator

import pytest
from aiokafka import TopicPartition

from aggregator.audit.cut import Cutting
from aggregator.audit.evidence import OUTPUTS, AuditImpossible, PartitionCut
from schemas.settings import Settings
from schemas.topics import Topic

SETTINGS = Settings(topic_prefix="p-")


class Brokers:
    """A consumer that answers with one list of ends after another, and with the last one for ever; of topics that a
    list does not name the end is 10."""

    def __init__(self, *answers: dict[Topic, int]) -> None:
        self._answers = self._following(answers)

    @staticmethod
    def _following(answers: tuple[dict[Topic, int], ...]) -> Iterator[dict[Topic, int]]:
        yield from answers
        while True:
            yield answers[-1]

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        ends = next(self._answers)
        return {place: ends.get(Topic(place.topic.removeprefix("p-")), 10) for place in partitions}


def cutting(stable: Brokers, everything: Brokers, seconds: int = 5) -> Cutting:
    return Cutting(SETTINGS, stable, everything, seconds)


async def test_a_partition_at_rest_is_cut_at_its_ends() -> None:
    cut = await cutting(Brokers({}), Brokers({})).cut(3)
    assert cut == PartitionCut(3, dict.fromkeys(OUTPUTS, 10))


@pytest.mark.parametrize(
    ("stable", "everything"),
    [
        # a transaction is open on one topic
        ([{Topic.USAGE_TOTALS: 9}, {}], [{}]),
        # all was stable, but something was appended between the first answer and the third
        ([{Topic.USAGE_TOTALS: 11}, {Topic.USAGE_TOTALS: 11}], [{}, *[{Topic.USAGE_TOTALS: 11}] * 3]),
        # committed and begun anew in between: the ends that were stable are not those of one moment
        ([{}, {Topic.USAGE_TOTALS: 12}], [{}, *[{Topic.USAGE_TOTALS: 12}] * 3]),
    ],
)
async def test_a_partition_in_the_middle_of_a_batch_is_asked_for_again(
    stable: list[dict[Topic, int]], everything: list[dict[Topic, int]]
) -> None:
    cut = await cutting(Brokers(*stable), Brokers(*everything)).cut(0)
    assert cut.ends[Topic.USAGE_TOTALS] == everything[-1].get(Topic.USAGE_TOTALS, 10)


async def test_a_partition_that_never_rests_can_not_be_audited() -> None:
    with pytest.raises(AuditImpossible, match="Partition 0 was never without an open transaction in 0 s"):
        await cutting(Brokers({Topic.ACCEPTED_USAGE: 9}), Brokers({}), seconds=0).cut(0)


async def test_what_was_forwarded_before_the_cut_is_waited_for() -> None:
    stable = Brokers({Topic.USAGE_FORWARDED: 7}, {Topic.USAGE_FORWARDED: 8}, {Topic.USAGE_FORWARDED: 12})
    everything = Brokers({Topic.USAGE_FORWARDED: 11})
    (cut,) = await cutting(stable, everything).add_sources([PartitionCut(0, {})])
    assert cut.ends[Topic.USAGE_FORWARDED] == 11


async def test_a_transaction_that_stays_open_on_what_is_forwarded_is_said() -> None:
    stuck = cutting(Brokers({Topic.USAGE_FORWARDED: 7}), Brokers({}), seconds=0)
    with pytest.raises(AuditImpossible, match="A transaction stays open on p-usage-forwarded"):
        await stuck.add_sources([PartitionCut(0, {})])
