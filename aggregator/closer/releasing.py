"""Held periods: what there is, and having a closer try them again."""

from collections.abc import Sequence

import asyncpg

from aggregator.closer.writing import CONSUMER
from aggregator.sql import queries
from schemas.errors import OperatorError

_SQL = queries(__package__)


async def held_periods(connection: asyncpg.Connection) -> "Sequence[asyncpg.Record]":
    """The rows of `held_periods`, in the order of the log."""
    return list(await connection.fetch(_SQL["held"]))


async def release(connection: asyncpg.Connection, topic: str, partition: int) -> int:
    """Let go of the periods held of a partition of `closed-periods`, and have the closer read it again from its begin;
    returns how many those are. What can still not be written is held again; what exists stays as it is. One that is
    DIVERGED stays held, for no reading mends it.

    A closer may be at work: it notices within seconds. Raises OperatorError where none has read the partition.
    """
    async with connection.transaction():
        if await connection.fetchval(_SQL["read_again"], CONSUMER, topic, partition) is None:
            raise OperatorError(
                f"No closer has read partition {partition} of {topic}: check TALLY_TOPIC_PREFIX and TALLY_DATABASE_URL."
            )
        return len(await connection.fetch(_SQL["release"], partition))
