"""The recount of one subscription of a deployment, which may be at work."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aggregator.audit.copies import Row, postgres_snapshot, write_billed_copies
from aggregator.audit.cut import take_cut
from aggregator.audit.evidence import Cut
from aggregator.audit.forwarding import compare_forwarded
from aggregator.audit.homes import home_of
from aggregator.audit.job import keep_catalog, tasks_of
from aggregator.audit.kafka import partitions_of
from aggregator.audit.pool import Progress, log_here, open_pool, run_in
from aggregator.audit.recount import COPIES_FILE, PartitionResult, Task
from aggregator.audit.recounted import SubscriptionRecount
from aggregator.audit.subscription import HomeResult, recount_at_home, recount_elsewhere
from schemas.settings import Settings
from schemas.topics import Topic

READ_EVERYWHERE = (*(Topic.AGGREGATOR_POSITIONS, Topic.USAGE_EVENTS, Topic.USAGE_FORWARDED, Topic.USAGE_CORRECTIONS),)


async def recount_subscription(
    settings: Settings, processes: int, subscription_id: str, at: int | None, progress: Progress
) -> SubscriptionRecount:
    """Recount the billing period of a subscription that holds a moment (ms), or all of them. Raises AuditImpossible."""
    partitions = await partitions_of(settings)
    home = home_of(subscription_id, partitions)
    with tempfile.TemporaryDirectory(prefix="tally-recount-") as directory:
        scratch = Path(directory)
        async with postgres_snapshot(settings.database_url) as snapshot:
            copied = await write_billed_copies(str(scratch / COPIES_FILE), snapshot, subscription_id)
            invoices = [row async for row in snapshot.rows("listed_invoices", subscription_id)]
        cut = await take_cut(settings, partitions, copied)
        tasks = tasks_of(cut, settings.topic_prefix, scratch)
        async with open_pool(settings, processes, progress, _offsets_in(cut, home)) as pool:
            await run_in(pool, keep_catalog, scratch, cut.catalog_end)
            results: list[PartitionResult] = await asyncio.gather(
                *(
                    run_in(pool, _recount_at_home, task, subscription_id, invoices, at)
                    if task.partition == home
                    else run_in(pool, _recount_elsewhere, task, subscription_id)
                    for task in tasks
                )
            )
        return recount_of(subscription_id, cut, tasks, results)


def recount_of(
    subscription_id: str, cut: Cut, tasks: Sequence[Task], results: Sequence[PartitionResult]
) -> SubscriptionRecount:
    """What was found in all partitions together."""
    home = results[home_of(subscription_id, len(tasks))]
    assert isinstance(home, HomeResult)
    forwarded = compare_forwarded(tasks[0].scratch, zip(tasks, results, strict=True))
    return SubscriptionRecount(
        subscription_id=subscription_id,
        service_id=home.service_id,
        user_id=home.user_id,
        partition=home.partition,
        cut=_cut_of(cut, tasks[home.partition], results),
        periods=home.periods,
        disagreements=[*home.disagreements, *forwarded.kept],
    )


def _cut_of(cut: Cut, home: Task, results: Sequence[PartitionResult]) -> dict[str, Any]:
    return {
        "partitions": [{"partition": result.partition, "positions": result.positions} for result in results],
        "catalog": cut.catalog_end,
        "closedPeriods": home.cut.ends[Topic.CLOSED_PERIODS],
        "closer": home.copied.get(("closer", Topic.CLOSED_PERIODS), 0),
    }


def _offsets_in(cut: Cut, home: int) -> int:
    """Roughly what is to be read."""
    everywhere = sum(part.ends[topic] for part in cut.partitions for topic in READ_EVERYWHERE)
    at_home = sum(end for topic, end in cut.partitions[home].ends.items() if topic not in READ_EVERYWHERE)
    return cut.catalog_end + everywhere + at_home


# In a process of the pool


def _recount_at_home(task: Task, subscription_id: str, invoices: Sequence[Row], at: int | None) -> HomeResult:
    return recount_at_home(task, log_here(), subscription_id, invoices, at)


def _recount_elsewhere(task: Task, subscription_id: str) -> PartitionResult:
    return recount_elsewhere(task, log_here(), subscription_id)
