"""The topics of contract section 3: their names, partitions and settings; and which partition a subscription is in."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from aiokafka.partitioner import murmur2

KIB: Final = 1024
MIB: Final = 1024 * KIB
MINUTE_MS: Final = 60_000
DAY_MS: Final = 86_400_000

REPLY_PARTITIONS: Final = 64


class Topic(StrEnum):
    """The names without the deployment's prefix (TALLY_TOPIC_PREFIX)."""

    USAGE_EVENTS = "usage-events"
    USAGE_CORRECTIONS = "usage-corrections"
    USAGE_FORWARDED = "usage-forwarded"
    CATALOG = "catalog"
    ACCEPTED_USAGE = "accepted-usage"
    USAGE_TOTALS = "usage-totals"
    REJECTED_USAGE = "rejected-usage"
    CLOSED_PERIODS = "closed-periods"
    AGGREGATOR_POSITIONS = "aggregator-positions"
    USAGE_RATES = "usage-rates"
    USAGE_REPLIES = "usage-replies"
    USAGE_ALERTS = "usage-alerts"


_KEEP_FOR_EVER: Final = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
}
_COMPACT: Final = {"cleanup.policy": "compact"}


def _keep_for(milliseconds: int) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(milliseconds)}


@dataclass(slots=True, frozen=True)
class TopicSettings:
    """How a topic is created. `partitions` None: as many as `usage-events` has."""

    topic: Topic
    partitions: int | None
    configs: dict[str, str]


TOPICS: Final = tuple(
    TopicSettings(topic, partitions, {"message.timestamp.type": "LogAppendTime", **configs})
    for topic, partitions, configs in (
        (
            Topic.USAGE_EVENTS,
            None,
            {**_KEEP_FOR_EVER, "max.message.bytes": str(1 * MIB)},
        ),
        (Topic.USAGE_CORRECTIONS, None, _KEEP_FOR_EVER),
        # The largest record of usage-events, with the headers of its origin.
        (Topic.USAGE_FORWARDED, None, {**_KEEP_FOR_EVER, "max.message.bytes": str(2 * MIB)}),
        (Topic.CATALOG, 1, _COMPACT),
        (Topic.ACCEPTED_USAGE, None, _COMPACT),
        (Topic.USAGE_TOTALS, None, _COMPACT),
        (
            Topic.REJECTED_USAGE,
            None,
            {**_keep_for(35 * DAY_MS), "max.message.bytes": str(3 * MIB)},
        ),
        # 1,000 lines of meters of 255 characters, each named twice (line and price): 2 x 1,000 x (4 x 255 + 200) bytes.
        (Topic.CLOSED_PERIODS, None, {**_KEEP_FOR_EVER, "max.message.bytes": str(4 * MIB)}),
        (Topic.AGGREGATOR_POSITIONS, None, _COMPACT),
        (Topic.USAGE_RATES, None, _keep_for(1 * DAY_MS)),
        (Topic.USAGE_REPLIES, REPLY_PARTITIONS, _keep_for(10 * MINUTE_MS)),
        (Topic.USAGE_ALERTS, 1, _COMPACT),
    )
)


@lru_cache(maxsize=200_000)
def partition_of(subscription_id: str, partitions: int) -> int:
    """The partition of a subscription among `partitions`: Java's default partitioner on its UTF-8 bytes."""
    return int(murmur2(subscription_id.encode()) & 0x7FFFFFFF) % partitions
