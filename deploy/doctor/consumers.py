"""The closer and the projector: how far they have come is in Postgres."""

from collections.abc import Mapping
from typing import Final

import asyncpg
from aiokafka import TopicPartition

from aggregator.closer.writing import CONSUMER as CLOSER
from aggregator.projector import events, totals
from aggregator.projector.copying import CONSUMER as PROJECTOR
from aggregator.stream.offsets import Offsets
from deploy.doctor.database import SQL
from deploy.doctor.reading import Reader
from schemas.topics import Topic

_OTHER_LOG: Final = (
    "It is another cluster, a topic made anew, or a database of another deployment: check TALLY_KAFKA,"
    " TALLY_TOPIC_PREFIX and TALLY_DATABASE_URL."
)

READERS: Final[Mapping[str, Reader]] = {
    CLOSER: Reader(
        "closer",
        "invoiced",
        "Start 'tally closer', or see its log and /health/ready.",
        "Bring closed-periods back from a copy of all topics, with its offsets, and set its retention to for ever.",
        _OTHER_LOG,
    ),
    PROJECTOR: Reader(
        "projector",
        "copied",
        "Start 'tally projector', or see its log and /health/ready. What it copies is for reading: no invoice waits.",
        "What was deleted can't be copied any more; it was counted all the same. Set its next_offset in stream_offsets"
        " to where the log begins, and start the projector.",
        _OTHER_LOG,
    ),
}


def topics_of(consumer: str, *, project_events: bool) -> tuple[Topic, ...]:
    """What it reads."""
    if consumer == CLOSER:
        return (Topic.CLOSED_PERIODS,)
    return (*totals.TOPICS, *(events.TOPICS if project_events else ()))


async def stored_positions(connection: asyncpg.Connection, consumer: str, begins: Offsets) -> Offsets:
    """Its next offsets; where it has none yet, that of the oldest record."""
    rows = await connection.fetch(SQL["offsets"], consumer)
    stored = {TopicPartition(row["topic"], row["partition"]): row["next_offset"] for row in rows}
    return {place: stored.get(place, begin) for place, begin in begins.items()}
