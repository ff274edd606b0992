"""The closer's process: the lease, the reading, one transaction a batch."""

import asyncio
import contextlib
import gc
import logging
import os
import secrets
import socket
import time
from typing import Final

import asyncpg
from aiokafka import TopicPartition

from aggregator.closer import metrics
from aggregator.closer.assembly import HoldReason
from aggregator.closer.batches import Batch, Batches
from aggregator.closer.lease import Lease, LeaseLost, take_lease
from aggregator.closer.writing import CONSUMER, Written, held_now, write_batch
from aggregator.health import serve
from aggregator.settings import CloserSettings
from aggregator.stream.database import connected
from aggregator.stream.offsets import OffsetsMoved, stored_offsets
from aggregator.stream.progress import Progress
from aggregator.stream.reader import Reader, open_reader
from aggregator.stream.supervision import AWAY, Availability, keep_running, pause, stop_on_signals
from schemas.topics import Topic

log = logging.getLogger(__name__)

ROLE: Final = "tally_closer"
LOOK_EVERY_SECONDS: Final = 2.0
"""How often the lag is measured, which also shows whether Kafka is there at all, and whether the offsets were moved."""
RELEASE_SECONDS: Final = 2
GC_THRESHOLD: Final = 100_000
"""A batch makes many objects that die with it: to look at the old ones each time costs what the batch needs."""
RENEWALS_PER_LEASE: Final = 3
"""A lease survives two renewals that fail or come late."""


async def run(settings: CloserSettings) -> None:
    """Write the invoices of closed periods until SIGTERM or SIGINT."""
    stop = stop_on_signals()
    closer = Closer(settings)
    serve(settings.metrics_host, settings.metrics_port, closer.availability.unready)
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 50, 100)
    await closer.run(stop)


class Closer:
    """One closer. Of several, one writes and the others wait for its lease."""

    def __init__(self, settings: CloserSettings) -> None:
        self._settings = settings
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self.availability = Availability("closer", metrics.UP, settings.stalled_seconds)

    async def run(self, stop: asyncio.Event) -> None:
        """Write until `stop` is set; the batch in flight is finished."""
        await keep_running(lambda: self._session(stop), self.availability, "closer", stop)

    async def _session(self, stop: asyncio.Event) -> None:
        async with connected(self._settings.database_url, ROLE) as connection:
            lease = await self._wait_for_lease(connection, stop)
            if lease is None:
                return
            what = "This closer (%s) writes invoices now, under epoch %d."
            log.info(what, self._holder, lease.epoch, extra={"epoch": lease.epoch})
            metrics.EPOCH.set(lease.epoch)
            try:
                await self._work(connection, lease, stop)
            except LeaseLost:
                what = "Another closer has taken over from epoch %d; this one waits."
                log.warning(what, lease.epoch, extra={"epoch": lease.epoch})
            finally:
                metrics.EPOCH.set(0)
                metrics.HELD_NOW.clear()  # whoever writes next shows them
                metrics.LAG.clear()
                self.availability.reading({})
                with contextlib.suppress(*AWAY):  # then it expires by itself
                    async with asyncio.timeout(RELEASE_SECONDS):
                        await lease.release(connection)

    async def _wait_for_lease(self, connection: asyncpg.Connection, stop: asyncio.Event) -> Lease | None:
        seconds = self._settings.closer_lease_seconds
        while not stop.is_set():
            lease = await take_lease(connection, self._holder, seconds)
            self.availability.answering()
            if lease is not None:
                return lease
            await pause(stop, seconds / RENEWALS_PER_LEASE)
        return None

    async def _work(self, connection: asyncpg.Connection, lease: Lease, stop: asyncio.Event) -> None:
        topic = self._settings.topic(Topic.CLOSED_PERIODS)
        async with open_reader(self._settings.kafka, "tally-closer", [topic]) as reader:
            while not stop.is_set():
                try:
                    await self._follow(connection, lease, reader, stop)
                except OffsetsMoved:
                    log.warning("The offsets in Postgres were moved by someone else; reading on from there.")

    async def _follow(self, connection: asyncpg.Connection, lease: Lease, reader: Reader, stop: asyncio.Event) -> None:
        """Write batch after batch; the next one is read and put together while Postgres works."""
        beginnings = await reader.beginnings()
        written = await stored_offsets(connection, CONSUMER, beginnings)
        await reader.seek(written, beginnings)
        batches = Batches(reader, written, self._settings.closer_batch_records)
        renewed_at = looked_at = 0.0
        batch = Batch()
        while not stop.is_set():
            following = asyncio.create_task(batches.following())
            try:
                now = time.monotonic()
                if batch.after:
                    with metrics.BATCH_SECONDS.time():
                        _report(await write_batch(connection, lease, batch))
                    written |= batch.after
                    renewed_at = now
                elif now - renewed_at > lease.seconds / RENEWALS_PER_LEASE:
                    await lease.renew(connection)
                    renewed_at = now
                batch = await following
            finally:
                following.cancel()  # where it is not done: what it read is read again
                await asyncio.gather(following, return_exceptions=True)
            if now - looked_at > LOOK_EVERY_SECONDS:
                self._show(await reader.progress(), await held_now(connection))
                if await stored_offsets(connection, CONSUMER, beginnings) != written:
                    raise OffsetsMoved  # 'tally held release' wants records read again
                looked_at = now
            self.availability.answering()

    def _show(self, partitions: dict[TopicPartition, Progress], held: dict[HoldReason, int]) -> None:
        self.availability.reading(partitions)
        for reason, periods in held.items():
            metrics.HELD_NOW.labels(reason.value).set(periods)
        for partition, progress in partitions.items():
            metrics.LAG.labels(partition.partition).set(progress.lag)


def _report(written: Written) -> None:
    metrics.INVOICES.inc(written.invoices)
    for hold in written.held:
        metrics.HELD.labels(hold.reason.value).inc()
        log.error(
            "A closed period is held and has no invoice (%s, partition %d, offset %d): %s",
            hold.reason.value,
            hold.partition,
            hold.offset,
            hold.detail,
            extra={
                "topic": Topic.CLOSED_PERIODS.value,
                "partition": hold.partition,
                "offset": hold.offset,
                "reason": hold.reason.value,
            },
        )
