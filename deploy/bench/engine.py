"""`tally bench engine`: how fast one worker process decides, on a real broker, every count audited.

The usage is in the topic before the worker starts. The rate is that of the committed positions, between the first
batch and the last, by the broker's append times; CPU is the worker's own, over the same window.
"""

import asyncio
import json
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from deploy.bench.measure import Circumstances, cpu_seconds, resident_mib
from deploy.bench.worker import worker
from deploy.bench.workload import Expected, Workload, publish_catalog, publish_usage
from deploy.local.kafka import LocalKafka
from deploy.log import all_records, ledger_of, reader
from deploy.progress import Progress
from deploy.topics import ensure_topics
from schemas.errors import OperatorError
from schemas.position import Position
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.totals import PERIOD_METER, MeterTotal

WINDOW_START_SHARE = 0.2
"""The first fifth warms up: it is not in the window."""


@dataclass(frozen=True)
class Result:
    """One run. `audited` says whether ledger and totals were exactly what was sent."""

    events: int
    events_per_s: int
    cpu_us_per_event: float
    broker_cpu_us_per_event: float
    batches: int
    resident_mib: int
    audited: bool


async def bench(workload: Workload, runs: int) -> dict[str, Any]:
    """Run it on a broker of its own; the median run by rate, with the circumstances."""
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as directory:
        kafka = LocalKafka(Path(directory) / "kafka")
        await kafka.start()
        try:
            results = [await _run(workload, kafka, Path(directory), run) for run in range(runs)]
        finally:
            await kafka.stop()
    results.sort(key=lambda result: result.events_per_s)
    median = results[len(results) // 2]
    return {
        "engine": {**asdict(median), "audited": all(result.audited for result in results)},
        "runs": [result.events_per_s for result in results],
        "workload": asdict(workload),
        "circumstances": asdict(Circumstances.here()),
    }


async def _run(workload: Workload, kafka: LocalKafka, directory: Path, run: int) -> Result:
    settings = Settings(kafka=kafka.bootstrap, topic_prefix=f"run{run}-", partitions=workload.partitions)
    await ensure_topics(settings)
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka, acks="all", enable_idempotence=True, max_batch_size=1 << 20
    )
    await producer.start()
    try:
        await publish_catalog(producer, settings, workload)
        expected = await publish_usage(producer, settings, workload)
    finally:
        await producer.stop()
    async with worker(settings, directory / f"state{run}") as process:
        window = await _watch(settings, workload, process, kafka.pid)
        memory = resident_mib(process.pid)
    ledger = await ledger_of(settings)
    audited = await _audit(settings, expected, ledger)
    events = window.last.events - window.first.events
    return Result(
        events=workload.events,
        events_per_s=round(events / ((window.last.at - window.first.at) / 1_000)),
        cpu_us_per_event=round((window.last.cpu - window.first.cpu) / events * 1e6, 2),
        broker_cpu_us_per_event=round((window.last.broker_cpu - window.first.broker_cpu) / events * 1e6, 2),
        batches=window.batches,
        resident_mib=memory,
        audited=audited,
    )


@dataclass(frozen=True)
class _Moment:
    events: int
    at: int
    cpu: float
    broker_cpu: float


@dataclass(frozen=True)
class _Window:
    first: _Moment
    last: _Moment
    batches: int


async def _watch(
    settings: Settings, workload: Workload, process: asyncio.subprocess.Process, broker_pid: int
) -> _Window:
    """Follow the committed positions until all is decided."""
    decided: dict[int, int] = {}
    first: _Moment | None = None
    batches = 0
    deadline = time.monotonic() + 600
    progress = Progress("events decided", workload.events)
    async with reader(settings, Topic.AGGREGATOR_POSITIONS) as consumer:
        while time.monotonic() < deadline and process.returncode is None:
            fetched = await consumer.getmany(timeout_ms=20)
            moment = None
            for record in sorted((r for rs in fetched.values() for r in rs), key=lambda r: r.timestamp):
                decided[record.partition] = Position.of_json(record.value).ledger.received
                batches += 1
                events = sum(decided.values())
                moment = _Moment(events, record.timestamp, cpu_seconds(process.pid), cpu_seconds(broker_pid))
                if events == workload.events and first is not None:
                    progress.finish()
                    return _Window(first, moment, batches)
            if moment is not None:
                progress.set(moment.events)
                if first is None and moment.events >= workload.events * WINDOW_START_SHARE:
                    first = moment
    raise OperatorError("The worker ended, or did not decide all events in 10 minutes; look at what it says above.")


async def _audit(settings: Settings, expected: Expected, ledger: Counter[str]) -> bool:
    """Whether ledger and totals are what the generator counted, to the last digit."""
    totals: dict[tuple[str, str, str], int] = {}
    for record in await all_records(settings, Topic.USAGE_TOTALS):
        subscription_id, start, meter = json.loads(record.key)
        if meter != PERIOD_METER:
            totals[subscription_id, start, meter] = MeterTotal.of_json(record.value).quantity
    counts = (ledger["accepted"], ledger["duplicate"], ledger["rejected"])
    return totals == expected.sums and counts == (expected.accepted, expected.duplicates, 0)
