"""The audit of a deployment: Postgres, the cut, the catalog, then each partition in a process of a pool."""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aggregator.audit.catalog import write_catalog
from aggregator.audit.copied_rejections import compare_rejections
from aggregator.audit.copies import Copies, postgres_snapshot, write_copies
from aggregator.audit.cut import take_cut
from aggregator.audit.evidence import Cut
from aggregator.audit.forwarding import compare_forwarded
from aggregator.audit.kafka import partitions_of
from aggregator.audit.pool import Progress, log_here, open_pool, run_in
from aggregator.audit.recount import CATALOG_FILE, COPIES_FILE, PartitionResult, Task, recount
from aggregator.audit.report import Check, Report
from schemas.settings import Settings
from schemas.topics import Topic


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
        async with open_pool(settings, processes, progress, _offsets_in(cut)) as pool:
            await run_in(pool, keep_catalog, scratch, cut.catalog_end)
            results = list(await asyncio.gather(*(run_in(pool, _recount, task) for task in tasks)))
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


def keep_catalog(scratch: Path, end: int) -> None:
    """In a process of the pool: write the catalog down for all of them."""
    write_catalog(str(scratch / CATALOG_FILE), log_here().read(Topic.CATALOG, 0, end))


def _recount(task: Task) -> PartitionResult:
    return recount(task, log_here())
