"""The processes that read the log and recount: each has a view of the log of its own, and tells how far it is."""

import asyncio
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import asynccontextmanager
from typing import Any, Final

from aggregator.audit.evidence import AuditImpossible
from aggregator.audit.kafka import KafkaLog
from schemas.settings import Settings

GARBAGE_THRESHOLD: Final = 100_000
"""Each event makes a few young objects and no cycles: to look for these more often is a tenth of the time."""
PROGRESS_SECONDS: Final = 0.1

Progress = Callable[[int, int], None]
"""Told how many offsets were read, and how many there are."""

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


def log_here() -> KafkaLog:
    """The view of the log that this process of a pool has."""
    return _Worker.log


# In the process that waits for them


@asynccontextmanager
async def open_pool(
    settings: Settings, processes: int, progress: Progress, total: int
) -> AsyncIterator[ProcessPoolExecutor]:
    """So many processes, for as long as they are needed; `total` is how many offsets they will read."""
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


async def run_in(pool: ProcessPoolExecutor, work: Callable[..., Any], *arguments: Any) -> Any:
    """What a function comes to in one of them. Raises AuditImpossible."""
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)
    except BrokenProcessPool as error:
        what = "A process of the audit was ended from outside, for lack of memory perhaps: use fewer with --processes."
        raise AuditImpossible(what) from error
