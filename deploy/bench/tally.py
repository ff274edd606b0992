"""Tally's side of a benchmark: workers on a stage, and what they have committed."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from deploy.bench.exact import is_exact
from deploy.bench.stage import Stage
from deploy.bench.trim import Trim
from deploy.bench.window import Committed, Figures, watch
from deploy.bench.worker import NOTHING, Own, workers
from deploy.log import reader
from schemas.position import Position
from schemas.settings import Settings
from schemas.topics import Topic


async def run(stage: Stage, processes: int, own: Own = NOTHING) -> Figures:
    """Let so many workers decide all that is in the topic."""
    async with workers(stage.settings, stage.directory / "state", processes, own) as running, _trimmed(stage) as trim:
        progress = decided(stage.settings, trim, stage.workload.stored_keys)
        window = await watch(progress, running, stage.kafka.pid, stage.workload)
    return window.figures(await is_exact(stage.settings, stage.expected))


@asynccontextmanager
async def _trimmed(stage: Stage) -> AsyncIterator[Trim | None]:
    if not stage.is_trimmed:
        yield None
        return
    trim = Trim(stage.settings)
    running = asyncio.create_task(trim.run())
    try:
        yield trim
    finally:
        is_over = not running.cancel()
        await asyncio.wait({running})
        if is_over:
            running.result()  # which raises why


async def decided(settings: Settings, trim: Trim | None = None, trimmed: int = 0) -> AsyncGenerator[Committed]:
    """The events of the committed positions, by the broker's append times; without end. Of the first events some may be
    trimmed."""
    received: dict[int, int] = {}
    commits, at = 0, 0
    async with reader(settings, Topic.AGGREGATOR_POSITIONS) as consumer:
        while True:
            for records in (await consumer.getmany(timeout_ms=20)).values():
                commits += len(records)
                at = max(at, records[-1].timestamp)
                position = Position.of_json(records[-1].value)
                received[records[-1].partition] = position.ledger.received
                if trim is not None and sum(received.values()) < trimmed:
                    trim.note(records[-1].partition, position)
            yield Committed(sum(received.values()), commits, at / 1_000)
