"""After the storm: everything is up again, and whatever was begun is finished."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime

import asyncpg
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from schemas.position import SOURCES
from schemas.topics import Topic
from tests.chaos.reading import Log
from tests.chaos.stack import ChaosStack

DRAIN_SECONDS = 120.0
AWAY = (KafkaError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


class NotDrained(Exception):
    """Something does not come to its end; the text says what."""


async def drain(stack: ChaosStack, log: Log, seconds: float = DRAIN_SECONDS) -> None:
    """Return once every record is decided, every period that is due is closed and invoiced, and Postgres shows all
    that the topics hold. `log` has read everything then. Raises NotDrained."""
    waiting = "the parts do not answer"
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            for name in stack.names():
                await stack.answering(name)
            while True:
                with suppress(*AWAY):
                    await log.read_on(stack.settings)
                    waiting = _undecided(stack, log) or _unclosed(log) or await _unwritten(stack, log)
                    if not waiting:
                        return
                await asyncio.sleep(0.3)
    raise NotDrained(f"after {seconds:.0f} s {waiting}")


def _undecided(stack: ChaosStack, log: Log) -> str:
    for tp, next_offset in log.next_offsets.items():
        topic = Topic(tp.topic.removeprefix(stack.settings.topic_prefix))
        if topic in SOURCES:
            position = log.positions.get(tp.partition, {"positions": {}})["positions"].get(topic, 0)
            if position < next_offset:
                return f"{tp.topic}[{tp.partition}] is decided up to {position} of {next_offset}"
    return ""


def _unclosed(log: Log) -> str:
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
    for period, state in log.periods.items():
        if state["periodEnd"] is not None and state["periodEnd"] < now:
            if not state["closed"]:
                return f"the period {period} is not closed: {state}"
            if state["firstAt"] is not None:
                return f"usage of the closed period {period} is not charged: {state}"
    return ""


async def _unwritten(stack: ChaosStack, log: Log) -> str:
    connection = await asyncpg.connect(stack.target.database_url, timeout=5)
    try:
        if backlog := await connection.fetchval("SELECT count(*) FROM catalog_outbox WHERE published_at IS NULL"):
            return f"{backlog} changes of the catalog are not published"
        rows = await connection.fetch("SELECT consumer, topic, partition, next_offset FROM stream_offsets")
    finally:
        await connection.close()
    written = {(row["consumer"], TopicPartition(row["topic"], row["partition"])): row["next_offset"] for row in rows}
    read = {
        "closer": (Topic.CLOSED_PERIODS,),
        "projector": (Topic.USAGE_TOTALS, Topic.ACCEPTED_USAGE, Topic.REJECTED_USAGE),
    }
    for consumer, topics in read.items():
        for tp, next_offset in log.next_offsets.items():
            is_read = tp.topic.removeprefix(stack.settings.topic_prefix) in topics
            if is_read and written.get((consumer, tp), 0) < next_offset:
                return f"the {consumer} has written {tp} up to {written.get((consumer, tp), 0)} of {next_offset}"
    return ""
