"""`tally bench recovery`: how fast a worker that has lost its state directory restores it from the changelogs.

A worker counts everything, stops in good order, and its state is deleted; another begins with nothing. The restore is
from when the first partition began to open until the last one was open, as the worker logs it: the whole state, that
is unique keys, totals, periods and positions. Then some of the events are sent again: all must be duplicates.
"""

import asyncio
import json
import shutil
import time
from asyncio.subprocess import Process
from bisect import bisect_right
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from deploy.bench.exact import is_exact
from deploy.bench.measure import Circumstances, cpu_seconds_of_all, medians, resident_mib, resident_peak_mib
from deploy.bench.stage import Stage, producer, stage
from deploy.bench.tally import decided
from deploy.bench.window import followed
from deploy.bench.worker import worker
from deploy.bench.workload import Workload, publish_usage
from schemas.errors import OperatorError

POLL_SECONDS: Final = 0.02
RESTORE_SECONDS_MAX: Final = 3_600
REPEATED_EVENTS: Final = 1_000
LOGGED: Final = {"log_level": "info", "log_format": "json"}


@dataclass(frozen=True)
class Recovery:
    """What is restored: the state of so many accepted events."""

    keys: int
    subscriptions: int
    partitions: int
    seed: int

    @property
    def workload(self) -> Workload:
        return Workload(0, self.subscriptions, self.partitions, self.seed, stored_keys=self.keys)


@dataclass(frozen=True)
class Figures:
    """One restore. `start_seconds` is from the start of the process until all partitions were open; `audited` says
    whether events sent again were all found to be duplicates, and the totals are exact."""

    records_per_s: int
    cpu_us_per_record: float
    broker_cpu_us_per_record: float
    records: int
    restore_seconds: float
    start_seconds: float
    resident_mib: int
    resident_peak_mib: int
    audited: bool


@dataclass(frozen=True)
class _Sample:
    """A time, and the CPU that had been used, in seconds."""

    at: float
    cpu: float
    broker_cpu: float


@dataclass(frozen=True)
class _Opened:
    """A partition that was opened: from when to when, and of how many changelog records."""

    begun_at: float
    at: float
    records: int


async def bench(recovery: Recovery, runs: int) -> dict[str, Any]:
    """The medians of so many restores of one state, on a broker of its own."""
    circumstances = asdict(Circumstances.here())
    async with stage(recovery.workload) as filled:
        async with worker(filled.settings, filled.directory / "state") as process:
            async for _ in followed(decided(filled.settings), [process], recovery.keys):
                pass
        found = [await _run(filled, recovery) for _ in range(runs)]
    return {
        "recovery": medians(found),
        "runs": [asdict(figures) for figures in found],
        "workload": asdict(recovery),
        "circumstances": circumstances,
    }


async def _run(on: Stage, recovery: Recovery) -> Figures:
    state, log = on.directory / "state", on.directory / "worker.log"
    await asyncio.to_thread(shutil.rmtree, state)
    begun_at = time.time()
    with log.open("wb") as stderr:
        async with worker(on.settings, state, LOGGED, stderr.fileno()) as process:
            samples, opened = await _watch(on, process, log)
            memory = resident_mib(process.pid), resident_peak_mib(process.pid)
            audited = await _refuses_repeats(on, recovery, process)
    begin, end = min(one.begun_at for one in opened), max(one.at for one in opened)
    first, last = _sample_at(samples, begin), samples[-1]
    records = sum(one.records for one in opened)
    return Figures(
        records_per_s=round(records / (end - begin)),
        cpu_us_per_record=round((last.cpu - first.cpu) / records * 1e6, 2),
        broker_cpu_us_per_record=round((last.broker_cpu - first.broker_cpu) / records * 1e6, 2),
        records=records,
        restore_seconds=round(end - begin, 3),
        start_seconds=round(end - begun_at, 3),
        resident_mib=memory[0],
        resident_peak_mib=memory[1],
        audited=audited,
    )


async def _watch(on: Stage, process: Process, log: Path) -> tuple[list[_Sample], list[_Opened]]:
    """Sample until the worker has logged that each partition is open."""
    samples: list[_Sample] = []
    deadline = time.monotonic() + RESTORE_SECONDS_MAX
    while time.monotonic() < deadline and process.returncode is None:
        lines = (await asyncio.to_thread(log.read_bytes)).splitlines()
        opened = [one for line in lines if (one := _opened_of(line)) is not None]
        samples.append(_Sample(time.time(), cpu_seconds_of_all([process.pid]), cpu_seconds_of_all([on.kafka.pid])))
        if len(opened) == on.settings.partitions:
            return samples, opened
        await asyncio.sleep(POLL_SECONDS)
    said = (await asyncio.to_thread(log.read_text, errors="replace"))[-300:]
    raise OperatorError(f"The worker ended, or did not restore its state in an hour; its last words: {said!r}.")


def _opened_of(line: bytes) -> _Opened | None:
    """What a line of the log says of a partition's opening; None where it speaks of something else."""
    try:
        said = json.loads(line)
        at = datetime.fromisoformat(said["time"]).timestamp()
        return _Opened(at - said["seconds"], at, said["restored_records"])
    except (ValueError, KeyError):  # also of a line that is not written to its end
        return None


def _sample_at(samples: list[_Sample], at: float) -> _Sample:
    return samples[max(0, bisect_right(samples, at, key=lambda sample: sample.at) - 1)]


async def _refuses_repeats(on: Stage, recovery: Recovery, process: Process) -> bool:
    """Whether events that are sent again are duplicates, and nothing else has changed."""
    repeats = Workload(
        0, recovery.subscriptions, recovery.partitions, recovery.seed, stored_keys=min(recovery.keys, REPEATED_EVENTS)
    )
    async with producer(on.settings) as sending:
        on.expected.duplicates += (await publish_usage(sending, on.settings, repeats)).accepted
    async for _ in followed(decided(on.settings), [process], on.expected.accepted + on.expected.duplicates):
        pass
    return await is_exact(on.settings, on.expected)
