"""`tally bench latency`: from the sending of an event to when a reader of committed records sees that it is accepted.

Events come at a steady rate, whatever they take, and none asks for its verdict. The time is from just before the
producer is given the event until a consumer of `accepted-usage` has its record: the producer, the broker's
acknowledgement, the wait of little usage for more, the transaction and the reader are all in it. The broker's CPU is
that of producer and reader too; it compiles what it does in the first minute and a half, which therefore is no part of
it.
"""

import asyncio
import time
from asyncio.subprocess import Process
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from aiokafka import AIOKafkaConsumer

from deploy.bench.exact import is_exact
from deploy.bench.measure import Circumstances, cpu_seconds_of_all, medians, stolen_cpu_seconds
from deploy.bench.stage import Stage, producer, stage
from deploy.bench.tally import decided
from deploy.bench.window import followed
from deploy.bench.worker import worker
from deploy.bench.workload import Workload, usage
from deploy.log import all_records, reader, to_the_end
from schemas.errors import OperatorError
from schemas.topics import Topic, partition_of

OPENING_EVENTS: Final = 1_000
"""In the topic before: when they are decided, all partitions are open."""
SEEN_SECONDS_MAX: Final = 60


@dataclass(frozen=True)
class Flow:
    """What is sent: so many events a second, for so many seconds after the warm-up."""

    rate: int
    seconds: int
    warm_up_seconds: int
    subscriptions: int
    partitions: int
    seed: int

    @property
    def opening(self) -> Workload:
        """What is in the topic before."""
        return self._workload(OPENING_EVENTS, self.seed)

    @property
    def workload(self) -> Workload:
        """What is sent; all of it is accepted."""
        return self._workload(self.rate * (self.warm_up_seconds + self.seconds), self.seed + 1)

    def _workload(self, keys: int, seed: int) -> Workload:
        return Workload(0, self.subscriptions, self.partitions, seed, stored_keys=keys)


@dataclass(frozen=True)
class Figures:
    """One run. CPU is in ms for each second of it, `stolen` what the host of a virtual machine withheld from all of it;
    `audited` says whether each event was counted once."""

    p50_ms: float
    p99_ms: float
    max_ms: float
    transactions_per_s: float
    broker_cpu_ms_per_s: float
    worker_cpu_ms_per_s: float
    stolen_cpu_ms_per_s: float
    events: int
    audited: bool


@dataclass(frozen=True)
class _Mark:
    """A time, and the CPU that had been used, in seconds."""

    at: float
    worker_cpu: float
    broker_cpu: float
    stolen_cpu: float


@dataclass
class _Seen:
    """Of each partition, when the events were sent that have not been seen yet; and when one was sent that has, and
    after how many seconds."""

    sent: list[deque[float]]
    latencies: list[tuple[float, float]] = field(default_factory=list)


async def bench(flow: Flow, runs: int, lingers_ms: Sequence[int]) -> dict[str, Any]:
    """The medians for each linger (the setting `linger_milliseconds`), run in turn, each time on a new broker."""
    circumstances = asdict(Circumstances.here())
    found: dict[str, list[Figures]] = {f"linger_{linger}_ms": [] for linger in lingers_ms}
    for _ in range(runs):
        for linger, figures in zip(lingers_ms, found.values(), strict=True):
            async with stage(flow.opening) as opened:
                figures.append(await _run(opened, flow, linger))
    result: dict[str, Any] = {name: medians(figures) for name, figures in found.items()}
    if "linger_0_ms" in result:
        without = result["linger_0_ms"]["broker_cpu_ms_per_s"]
        shares = {name: round(result[name]["broker_cpu_ms_per_s"] / without, 3) for name in found}
        result["broker_cpu_as_share_of_no_linger"] = shares
    all_runs = {name: [asdict(run) for run in figures] for name, figures in found.items()}
    return {**result, "runs": all_runs, "workload": asdict(flow), "circumstances": circumstances}


async def _run(on: Stage, flow: Flow, linger_ms: int) -> Figures:
    seen = _Seen([deque() for _ in range(flow.partitions)])
    async with worker(on.settings, on.directory / "state", {"linger_milliseconds": linger_ms}) as process:
        async for _ in followed(decided(on.settings), [process], OPENING_EVENTS):
            pass
        async with reader(on.settings, Topic.ACCEPTED_USAGE) as consumer:
            async for _ in to_the_end(consumer):
                pass
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_see(consumer, seen, flow.workload.total))
                sending = tasks.create_task(_send(on, flow, seen, process))
        first, last = sending.result()
    found = sorted(latency for sent_at, latency in seen.latencies if first.at <= sent_at < last.at)
    positions = await all_records(on.settings, Topic.AGGREGATOR_POSITIONS)
    commits = sum(first.at <= position.timestamp / 1_000 < last.at for position in positions)
    seconds = last.at - first.at
    return Figures(
        p50_ms=_percentile_ms(found, 0.5),
        p99_ms=_percentile_ms(found, 0.99),
        max_ms=_percentile_ms(found, 1.0),
        transactions_per_s=round(commits / seconds, 1),
        broker_cpu_ms_per_s=round((last.broker_cpu - first.broker_cpu) / seconds * 1_000, 1),
        worker_cpu_ms_per_s=round((last.worker_cpu - first.worker_cpu) / seconds * 1_000, 1),
        stolen_cpu_ms_per_s=round((last.stolen_cpu - first.stolen_cpu) / seconds * 1_000, 1),
        events=len(found),
        audited=await is_exact(on.settings, on.expected),
    )


async def _send(on: Stage, flow: Flow, seen: _Seen, process: Process) -> tuple[_Mark, _Mark]:
    """Send everything at its time; returns the moments at the end of the warm-up and of it all."""
    topic, marks = on.settings.topic(Topic.USAGE_EVENTS), []
    warm = flow.rate * flow.warm_up_seconds
    async with producer(on.settings) as sending:
        begun = time.time()
        for number, (subscription_id, value) in enumerate(usage(flow.workload, on.expected)):
            await asyncio.sleep(max(0.0, begun + number / flow.rate - time.time()))
            if number == warm:
                marks.append(_mark(on, process))
            partition = partition_of(subscription_id, flow.partitions)
            seen.sent[partition].append(time.time())
            await sending.send(topic, value, key=subscription_id.encode(), partition=partition)
        marks.append(_mark(on, process))
        await sending.flush()
    return marks[0], marks[1]


def _mark(on: Stage, process: Process) -> _Mark:
    return _Mark(
        time.time(), cpu_seconds_of_all([process.pid]), cpu_seconds_of_all([on.kafka.pid]), stolen_cpu_seconds()
    )


async def _see(consumer: AIOKafkaConsumer, seen: _Seen, total: int) -> None:
    """Take what is accepted, until all is. A partition's records come in the order in which its events were sent."""
    seen_at = time.monotonic()
    while len(seen.latencies) < total:
        for place, records in (await consumer.getmany(timeout_ms=100)).items():
            at, seen_at = time.time(), time.monotonic()
            sent = seen.sent[place.partition]
            seen.latencies += [(sent_at, at - sent_at) for sent_at in [sent.popleft() for _ in records]]
        if time.monotonic() > seen_at + SEEN_SECONDS_MAX:
            raise OperatorError(f"Nothing was accepted for {SEEN_SECONDS_MAX} s; look at what the worker says above.")


def _percentile_ms(found: Sequence[float], share: float) -> float:
    return round(found[min(len(found) - 1, int(len(found) * share))] * 1_000, 1)
