"""What Postgres tells of the other parts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from aiokafka import TopicPartition

from ingest.database import Database
from ingest.queries import named_queries

_SQL: Final = named_queries(__package__)


@dataclass(slots=True, frozen=True)
class Lease:
    """The closer's lease: who has or had it, and how many seconds ago it was renewed last."""

    holder: str
    epoch: int
    seconds: int
    is_over: bool


@dataclass(slots=True, frozen=True)
class Tables:
    """`outbox_seconds` is the age of the oldest change that is not published; `offsets` are the next offsets of those
    who read topics into Postgres, by the name of the reader."""

    outbox: int = 0
    outbox_seconds: int = 0
    lease: Lease | None = None
    held_periods: int = 0
    offsets: Mapping[str, Mapping[TopicPartition, int]] = field(default_factory=dict)


async def read_tables(database: Database) -> Tables:
    """Ask Postgres. Raises DatabaseAway."""
    async with database.connection() as connection:
        outbox = await connection.fetchrow(_SQL["outbox"])
        lease = await connection.fetchrow(_SQL["lease"])
        held = await connection.fetchval(_SQL["held"])
        rows = await connection.fetch(_SQL["offsets"])
    assert outbox is not None
    offsets: dict[str, dict[TopicPartition, int]] = {}
    for row in rows:
        place = TopicPartition(row["topic"], row["partition"])
        offsets.setdefault(row["consumer"], {})[place] = row["next_offset"]
    return Tables(
        outbox["changes"],
        outbox["seconds"] or 0,
        None if lease is None else Lease(lease["holder"], lease["epoch"], lease["seconds"], lease["is_over"]),
        held,
        offsets,
    )
