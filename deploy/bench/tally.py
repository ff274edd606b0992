"""Tally's side of a benchmark: workers on a stage, and what they have committed."""

from collections.abc import AsyncGenerator

from deploy.bench.exact import is_exact
from deploy.bench.stage import Stage
from deploy.bench.window import Committed, Figures, watch
from deploy.bench.worker import NOTHING, Own, workers
from deploy.log import reader
from schemas.position import Position
from schemas.settings import Settings
from schemas.topics import Topic


async def run(stage: Stage, processes: int, own: Own = NOTHING) -> Figures:
    """Let so many workers decide all that is in the topic."""
    async with workers(stage.settings, stage.directory / "state", processes, own) as running:
        window = await watch(decided(stage.settings), running, stage.kafka.pid, stage.workload)
    return window.figures(await is_exact(stage.settings, stage.expected))


async def decided(settings: Settings) -> AsyncGenerator[Committed]:
    """The events of the committed positions, by the broker's append times; without end."""
    received: dict[int, int] = {}
    commits, at = 0, 0
    async with reader(settings, Topic.AGGREGATOR_POSITIONS) as consumer:
        while True:
            for records in (await consumer.getmany(timeout_ms=20)).values():
                commits += len(records)
                at = max(at, records[-1].timestamp)
                received[records[-1].partition] = Position.of_json(records[-1].value).ledger.received
            yield Committed(sum(received.values()), commits, at / 1_000)
