"""Scenarios of what Tally does not control: the clocks of its machines, and other producers with transactions."""

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from deploy.log import all_records
from schemas.topics import Topic, partition_of
from tests.chaos.clock import wrong_clock
from tests.chaos.customers import Usage
from tests.chaos.evidence import log_lines
from tests.chaos.journal import Event, Outcome
from tests.chaos.reading import Log
from tests.chaos.stack import ChaosStack, chaos_stack, eventually
from tests.chaos.stage import IMPATIENT, Report, Stage, judged, rounds, staged

GRACE_SECONDS = 3
CAP_GRACES = 24
"""After so many a period closes even if it is not quiet."""
WRONG_SECONDS = 600
NEAR_FUTURE = timedelta(minutes=2)
"""An event may be this far ahead of its request, and not as far as a clock that is behind makes it look."""

FOREIGN_TIMEOUT_MS = 5_000
STABLE_SECONDS = 30
"""Kafka looks for transactions that have timed out every ten seconds."""


async def wrong_clocks(directory: Path, seed: int, seconds: float) -> Report:
    """One worker's clock is ten minutes ahead, another's as much behind. Only the broker's counts: no period closes
    before it was quiet for its grace by that one, and none is kept open."""
    async with chaos_stack(directory, workers=0, grace_seconds=GRACE_SECONDS, environment=IMPATIENT) as stack:
        workers = {
            await stack.add_worker(environment=wrong_clock(directory / f"clock{wrong:+d}", wrong)): wrong
            for wrong in (WRONG_SECONDS, -WRONG_SECONDS)
        }
        async with staged("wrong-clocks", stack, seed) as stage:
            for number in rounds(seconds):
                await _transaction(stage, list(Ending)[number % len(Ending)], datetime.now(UTC) + NEAR_FUTURE)
                for worker, wrong in workers.items():
                    stage.did[f"owned at {wrong:+d} s"] += len(await eventually(stack.partitions_of, worker, bool))
                await asyncio.sleep(stage.chance.uniform(0, 3))
        await _stable(stack)
        log = Log()
        for worker, wrong in workers.items():
            stage.did[f"logged at {wrong:+d} s"] = _logged_at(stack, worker, wrong)
        named = [f"{what} at {wrong:+d} s" for wrong in workers.values() for what in ("owned", "logged")]
        report = await judged(stage, *named, log=log)
        report.verdict.wrong += await _closed_too_early(stack, log)
        return report


def _logged_at(stack: ChaosStack, worker: str, wrong: int) -> bool:
    """Whether the first line of a worker's log shows its clock."""
    written = datetime.fromisoformat(log_lines(stack.log_file(worker).read_text())[0]["time"])
    ahead = written - datetime.now(UTC)
    return abs(ahead.total_seconds() - wrong) < WRONG_SECONDS / 2


async def _closed_too_early(stack: ChaosStack, log: Log) -> list[str]:
    """By the broker's time: the events that a closing charged first must have been there for a grace."""
    early = []
    for record in await all_records(stack.settings, Topic.CLOSED_PERIODS):
        period = json.loads(record.value)
        if period["firstOffset"] is None:
            continue
        first, last = (log.events[record.partition, period[end]].at for end in ("firstOffset", "lastOffset"))
        is_capped = record.timestamp - first >= CAP_GRACES * GRACE_SECONDS * 1_000
        if record.timestamp - last < GRACE_SECONDS * 1_000 and not is_capped:
            name = f"{period['subscriptionId']} {period['periodStart']}"
            early.append(f"{name} was closed {record.timestamp - last} ms after its last event")
    return early


class Ending(StrEnum):
    """How a foreign transaction ends."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    LEFT_OPEN = "left open"


async def foreign_transactions(directory: Path, seed: int, seconds: float) -> Report:
    """Others write to `usage-events` in transactions, which are committed, aborted, or left open until Kafka ends
    them. While one is open nobody sees what lies behind it; afterwards markers are left in the log."""
    async with chaos_stack(directory, environment=IMPATIENT) as stack:
        async with staged("foreign-transactions", stack, seed) as stage:
            for number in rounds(seconds):
                await _transaction(stage, list(Ending)[number % len(Ending)])
        await _stable(stack)
        return await judged(stage, *Ending, "held back")


async def _transaction(stage: Stage, ending: Ending, occurred_at: datetime | None = None) -> None:
    """Events in a foreign transaction; the journal says what must become of them."""
    number = stage.did.total()
    usage = Usage(stage.seed * 1_000 + number, stage.journal)
    producer = AIOKafkaProducer(
        bootstrap_servers=stage.stack.target.kafka,
        transactional_id=f"foreign-{number}",
        transaction_timeout_ms=FOREIGN_TIMEOUT_MS,
    )
    await producer.start()
    try:
        await producer.begin_transaction()
        count = stage.chance.randrange(1, 9)
        placed = [await _put(producer, stage, usage.next()[0], occurred_at) for _ in range(count)]
        await asyncio.sleep(stage.chance.uniform(0, FOREIGN_TIMEOUT_MS / 1_500))
        stage.did["held back"] += await _held_back(stage.stack)
        if ending is Ending.COMMITTED:
            await producer.commit_transaction()
        elif ending is Ending.ABORTED:
            await producer.abort_transaction()
    finally:
        with suppress(KafkaError):
            await producer.stop()
    for event, place in placed:
        is_there = ending is Ending.COMMITTED
        stage.journal.note(
            "foreign", event, Outcome.OK if is_there else Outcome.REFUSED, id=place if is_there else None
        )
    stage.did[ending] += 1


async def _put(
    producer: AIOKafkaProducer, stage: Stage, event: Event, occurred_at: datetime | None
) -> tuple[Event, str]:
    if occurred_at is not None:
        event["occurredAt"] = occurred_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    partition = partition_of(event["subscriptionId"], stage.stack.partitions)
    key, value = event["subscriptionId"].encode(), json.dumps(event).encode()
    metadata = await producer.send_and_wait(Topic.USAGE_EVENTS, value, key=key, partition=partition)
    return event, f"ue_{metadata.partition}_{metadata.offset}"


async def _stable(stack: ChaosStack) -> None:
    """Return once no transaction hides the end of the log."""
    async with asyncio.timeout(STABLE_SECONDS):
        while await _held_back(stack):  # noqa: ASYNC110 - Kafka has no event for it
            await asyncio.sleep(0.2)


async def _held_back(stack: ChaosStack) -> bool:
    """Whether readers of committed records are shown an earlier end than all others."""
    partitions = [TopicPartition(Topic.USAGE_EVENTS, number) for number in range(stack.partitions)]
    ends = []
    for isolation in ("read_committed", "read_uncommitted"):
        consumer = AIOKafkaConsumer(bootstrap_servers=stack.target.kafka, isolation_level=isolation)
        await consumer.start()
        try:
            ends.append(await consumer.end_offsets(partitions))
        finally:
            await consumer.stop()
    return any(ends[0][partition] < ends[1][partition] for partition in partitions)
