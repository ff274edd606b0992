"""How far a consumer has written each partition to Postgres."""

import asyncpg
from aiokafka import TopicPartition

from aggregator.sql import queries

_SQL = queries(__package__)

Offsets = dict[TopicPartition, int]
"""The next offset to read."""


class OffsetsMoved(Exception):
    """Another process of the same consumer has written these records: read on from the stored offsets."""


async def stored_offsets(connection: asyncpg.Connection, consumer: str, beginnings: Offsets) -> Offsets:
    """Where the consumer stands; at the beginning of the partitions that it has not read before."""
    topics, partitions = [tp.topic for tp in beginnings], [tp.partition for tp in beginnings]
    await connection.execute(_SQL["start"], consumer, topics, partitions, list(beginnings.values()))
    rows = await connection.fetch(_SQL["stored"], consumer)
    stored = {TopicPartition(row["topic"], row["partition"]): int(row["next_offset"]) for row in rows}
    return {partition: stored[partition] for partition in beginnings}


async def advance_offsets(connection: asyncpg.Connection, consumer: str, before: Offsets, after: Offsets) -> None:
    """Move the offsets of the partitions in `after`, in the caller's transaction. Raises OffsetsMoved where one of
    them is not what it was."""
    rows = await connection.fetch(
        _SQL["advance"],
        consumer,
        [partition.topic for partition in after],
        [partition.partition for partition in after],
        [before[partition] for partition in after],
        list(after.values()),
    )
    if len(rows) != len(after):
        raise OffsetsMoved
