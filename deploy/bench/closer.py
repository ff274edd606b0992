"""`tally bench closer`: how fast one closer process writes invoices, on a real broker and a real Postgres.

The closed periods are in the topic before the closer starts. The rate is that of the offsets committed in Postgres,
the first fifth left out; CPU is the closer's and that of all processes of Postgres, over the same window.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
from aiokafka import AIOKafkaProducer

from deploy.bench.closed import ClosedWorkload, ExpectedInvoices, closed_records
from deploy.bench.measure import Circumstances, cpu_seconds, cpu_seconds_of_children, resident_mib
from deploy.bench.workload import publish
from deploy.local.kafka import LocalKafka
from deploy.local.postgres import LocalPostgres
from deploy.migrate import migrate
from deploy.progress import Progress
from deploy.topics import ensure_topics
from schemas.closed_period import PART_LINES_MAX
from schemas.errors import OperatorError
from schemas.settings import Settings
from schemas.topics import Topic

WINDOW_START_SHARE: Final = 0.2
"""The first fifth warms up: it is not in the window."""
RUN_SECONDS_MAX: Final = 600
POLL_SECONDS: Final = 0.02

_WRITTEN = "SELECT coalesce(sum(next_offset), 0)::bigint FROM stream_offsets WHERE consumer = 'closer'"
_ROWS = """
SELECT subscription_id, invoices.amount::text, meter, quantity::text, invoice_lines.amount::text, event_count
FROM invoices LEFT JOIN invoice_lines ON invoice_id = id
"""
_ANNOUNCED = "SELECT count(*) FROM catalog_outbox JOIN invoices ON key = 'invoice/' || invoices.id"


@dataclass(frozen=True)
class Result:
    """One run. `audited` says whether invoices, lines and catalog entries are exactly what was generated."""

    invoices_per_s: int
    lines_per_s: int
    cpu_us_per_invoice: float
    postgres_cpu_us_per_invoice: float
    resident_mib: int
    audited: bool


async def bench(workload: ClosedWorkload, runs: int) -> dict[str, Any]:
    """Run it on servers of its own, each time with a new database; the median run by rate, with the circumstances."""
    if workload.lines > PART_LINES_MAX:
        raise OperatorError(f"A record holds at most {PART_LINES_MAX} lines: choose fewer with --lines.")
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as directory:
        results = [await _run(workload, Path(directory) / f"run{run}") for run in range(runs)]
    results.sort(key=lambda result: result.invoices_per_s)
    median = results[len(results) // 2]
    return {
        "closer": {**asdict(median), "audited": all(result.audited for result in results)},
        "runs": [result.invoices_per_s for result in results],
        "workload": asdict(workload),
        "circumstances": asdict(Circumstances.here()),
    }


async def _run(workload: ClosedWorkload, directory: Path) -> Result:
    async with _servers(directory) as (kafka, postgres):
        settings = Settings(kafka=kafka.bootstrap, database_url=postgres.dsn, partitions=workload.partitions)
        await ensure_topics(settings)
        await migrate(postgres.dsn)
        expected = await _publish(settings, workload)
        connection = await asyncpg.connect(postgres.dsn)
        async with _closer(settings) as closer:
            window = await _watch(connection, workload, closer, postgres.pid)
            memory = resident_mib(closer.pid)
        audited = await _audit(connection, workload, expected)
        await connection.close()
    invoices = window.last.invoices - window.first.invoices
    seconds = window.last.at - window.first.at
    return Result(
        invoices_per_s=round(invoices / seconds),
        lines_per_s=round(invoices * workload.lines / seconds),
        cpu_us_per_invoice=round((window.last.cpu - window.first.cpu) / invoices * 1e6, 1),
        postgres_cpu_us_per_invoice=round((window.last.postgres_cpu - window.first.postgres_cpu) / invoices * 1e6, 1),
        resident_mib=memory,
        audited=audited,
    )


@asynccontextmanager
async def _servers(directory: Path) -> AsyncIterator[tuple[LocalKafka, LocalPostgres]]:
    await asyncio.to_thread(directory.mkdir)
    kafka, postgres = LocalKafka(directory, to_measure=True), LocalPostgres(directory)
    try:
        await kafka.start()
        await postgres.start()
        yield kafka, postgres
    finally:
        await postgres.stop()
        await kafka.stop()


async def _publish(settings: Settings, workload: ClosedWorkload) -> ExpectedInvoices:
    expected = ExpectedInvoices()
    progress = Progress("closed periods in the topic", workload.periods)
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka, acks="all", enable_idempotence=True, max_batch_size=1 << 20
    )
    await producer.start()
    try:
        records = closed_records(workload, expected)
        await publish(producer, settings.topic(Topic.CLOSED_PERIODS), records, progress)
    finally:
        await producer.stop()
    return expected


@asynccontextmanager
async def _closer(settings: Settings) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy", "--log-level", "warning", "closer"),
        env={**os.environ, "TALLY_KAFKA": settings.kafka, "TALLY_DATABASE_URL": settings.database_url},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@dataclass(frozen=True)
class _Moment:
    invoices: int
    at: float
    cpu: float
    postgres_cpu: float


@dataclass(frozen=True)
class _Window:
    first: _Moment
    last: _Moment


async def _watch(
    connection: asyncpg.Connection,
    workload: ClosedWorkload,
    closer: asyncio.subprocess.Process,
    postgres_pid: int,
) -> _Window:
    """Follow the committed offsets until all is written."""
    first: _Moment | None = None
    deadline = time.monotonic() + RUN_SECONDS_MAX
    progress = Progress("invoices written", workload.periods)
    while time.monotonic() < deadline and closer.returncode is None:
        written = await connection.fetchval(_WRITTEN)
        moment = _Moment(written, time.monotonic(), cpu_seconds(closer.pid), cpu_seconds_of_children(postgres_pid))
        progress.set(written)
        if first is not None and written == workload.periods:
            progress.finish()
            return _Window(first, moment)
        if first is None and written >= workload.periods * WINDOW_START_SHARE:
            first = moment
        await asyncio.sleep(POLL_SECONDS)
    raise OperatorError("The closer ended, or did not write all invoices in 10 minutes; look at what it says above.")


async def _audit(connection: asyncpg.Connection, workload: ClosedWorkload, expected: ExpectedInvoices) -> bool:
    """Whether the invoices and lines are what the generator worked out, to the last digit, and all are announced."""
    rows = [tuple(row) for row in await connection.fetch(_ROWS)]
    announced = await connection.fetchval(_ANNOUNCED)
    return len(rows) == len(expected.rows) and set(rows) == expected.rows and announced == workload.periods
