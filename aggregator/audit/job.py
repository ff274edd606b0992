"""The audit of a deployment: Postgres, the cut, the catalog, then each partition in a process of a pool."""

import asyncio
import gc
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from aggregator.audit.catalog import write_catalog
from aggregator.audit.copied_rejections import compare_rejections
from aggregator.audit.copies import Copies, postgres_snapshot, write_copies
from aggregator.audit.cut import take_cut
from aggregator.audit.evidence import AuditImpossible, Cut
from aggregator.audit.forwarding import compare_forwarded
from aggregator.audit.kafka import KafkaLog, partitions_of
from aggregator.audit.recount import CATALOG_FILE, COPIES_FILE, PartitionResult, Task, recount
from aggregator.audit.report import Check, Report
from schemas.settings import Settings
from schemas.topics import Topic

GARBAGE_THRESHOLD: Final = 100_000
"""Each event makes a few young objects and no cycles: to look for these more often is a tenth of the time."""
PROGRESS_SECONDS: Final = 0.1

Progress = Callable[[int, int], None]
"""Told how many offsets were read, and how many there are."""


async def audit(settings: Settings, processes: int, progress: Progress) -> Report:
    """Audit a deployment, which may be at work. Raises AuditImpossible where it can't be."""
    begun = time.monotonic()
    partitions = await partitions_of(settings)
    with tempfile.TemporaryDirectory(prefix="tally-audit-") as directory:
        scratch = Path(directory)
        async with postgres_snapshot(settings.database_url) as snapshot:
            copied = await write_copies(str(scratch / COPIES_FILE), snapshot, partitions)
        cut = await take_cut(settings, partitions, copied)
        tasks = tasks_of(cut, settings.topic_prefix, scratch)
        async with _pool(settings, processes, progress, _offsets_in(cut)) as pool:
            await _run(pool, _write_catalog, scratch, cut.catalog_end)
            results = list(await asyncio.gather(*(_run(pool, _recount, task) for task in tasks)))
        return report_of(cut, tasks, results, round(time.monotonic() - begun))


def tasks_of(cut: Cut, prefix: str, scratch: Path) -> list[Task]:
    """What is to be recounted of each partition."""
    return [
        Task(
            cut=part,
            partitions=len(cut.partitions),
            scratch=scratch,
            copied={
                (consumer, Topic(name.removeprefix(prefix))): offset
                for (consumer, name, partition), offset in cut.copied.items()
                if partition == part.partition and name.startswith(prefix) and name.removeprefix(prefix) in set(Topic)
            },
        )
        for part in cut.partitions
    ]


def report_of(cut: Cut, tasks: Sequence[Task], results: Sequence[PartitionResult], seconds: int) -> Report:
    """The report on all partitions: what is looked at over all of them, and the findings of each."""
    findings = compare_forwarded(tasks[0].scratch, zip(tasks, results, strict=True))
    compare_rejections(tasks[0].scratch, tasks, results, findings)
    copies = Copies(str(tasks[0].scratch / COPIES_FILE))
    for invoice_id, partition in copies.select("invoices_elsewhere", len(tasks)):
        what = "An invoice is of a partition that there is not."
        findings.disagree(Check.INVOICES, what, partition=partition, id=invoice_id)
    for (event_id,) in copies.select("misnamed_events"):
        findings.disagree(Check.USAGE_EVENTS, "A row of usage_events has an id that is none.", id=event_id)
    copies.close()
    counts: Counter[str] = Counter()
    for result in results:
        findings.merge(result.findings)
        counts.update(result.counts)
    return Report(_cut_of(cut, results), findings, dict(counts), seconds)


def _cut_of(cut: Cut, results: Sequence[PartitionResult]) -> dict[str, Any]:
    return {
        "partitions": [
            {"partition": part.partition, "positions": result.positions, "ends": part.ends}
            for part, result in zip(cut.partitions, results, strict=True)
        ],
        "catalog": cut.catalog_end,
        "postgres": [
            {"consumer": consumer, "topic": topic, "partition": partition, "nextOffset": offset}
            for (consumer, topic, partition), offset in sorted(cut.copied.items())
        ],
    }


def _offsets_in(cut: Cut) -> int:
    """Roughly what is to be read: `usage-events` twice."""
    return cut.catalog_end + sum(sum(part.ends.values()) + part.ends[Topic.USAGE_EVENTS] for part in cut.partitions)


# In the processes of the pool


class _Stopped(Exception):
    """The audit was given up meanwhile."""


class _Worker:
    """What each process of the pool has of its own."""

    log: KafkaLog
    read: Any
    stop: Any

    @classmethod
    def open(cls, settings: Settings, read: Any, stop: Any) -> None:
        """Called once in each process."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then asks to stop
        threading.Thread(target=_die_with_parent, daemon=True).start()
        gc.set_threshold(GARBAGE_THRESHOLD)
        cls.read, cls.stop = read, stop
        cls.log = KafkaLog(settings, cls.progress)

    @classmethod
    def progress(cls, records: int) -> None:
        """So many more were read."""
        if cls.stop.is_set():
            raise _Stopped
        with cls.read.get_lock():
            cls.read.value += records


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _write_catalog(scratch: Path, end: int) -> None:
    write_catalog(str(scratch / CATALOG_FILE), _Worker.log.read(Topic.CATALOG, 0, end))


def _recount(task: Task) -> PartitionResult:
    return recount(task, _Worker.log)


# In the process that waits for them


@asynccontextmanager
async def _pool(
    settings: Settings, processes: int, progress: Progress, total: int
) -> AsyncIterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context("spawn")
    read, stop = context.Value("q", 0), context.Event()
    pool = ProcessPoolExecutor(processes, context, _Worker.open, (settings, read, stop))
    showing = asyncio.create_task(_show(read, progress, total))
    try:
        yield pool
    finally:
        showing.cancel()
        stop.set()
        pool.shutdown(cancel_futures=True)


async def _show(read: Any, progress: Progress, total: int) -> None:
    while True:
        progress(read.value, total)
        await asyncio.sleep(PROGRESS_SECONDS)


async def _run(pool: ProcessPoolExecutor, work: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)
    except BrokenProcessPool as error:
        what = "A process of the audit was ended from outside, for lack of memory perhaps: use fewer with --processes."
        raise AuditImpossible(what) from error
