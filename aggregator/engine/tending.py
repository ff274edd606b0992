"""What a partition does beside deciding: it enrols new subscriptions, and closes periods that are due."""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from aggregator.engine import metrics
from aggregator.engine.catalog import CatalogFollower
from aggregator.engine.closing import Agenda, Enrolment
from aggregator.engine.commit import Commits
from aggregator.engine.pace import Pace
from aggregator.engine.sources import Ends, Sources
from aggregator.engine.tables import Changes, Meta, Tables
from schemas.position import Position

TICK_SECONDS = 1.0
"""How often the agenda is looked at."""


class Cut(NamedTuple):
    """T, a time of the broker's in ms, and E, the ends of the sources, asked for after T was known. What was due at T
    may close once all before E is counted."""

    at: int
    ends: Ends


class Tending:
    """A little of it at a time, for deciding goes on in between."""

    def __init__(
        self,
        number: int,
        sources: Sources,
        tables: Tables,
        agenda: Agenda,
        commits: Commits,
        catalog: CatalogFollower,
        position: Callable[[], Position],
        turn: asyncio.Lock,
    ) -> None:
        self._number = number
        self._sources = sources
        self._tables = tables
        self._agenda = agenda
        self._commits = commits
        self._catalog = catalog
        self._position = position
        self._turn = turn
        self._enrolment = Enrolment(agenda, catalog.store, tables.meta.catalog_offset)
        self._ticked_at = 0.0
        self._cut: Cut | None = None

    async def go_on(self) -> bool:
        """Do what there is to do, up to the bounds of one round. Returns whether there is more that can be done now.

        All that was read must be decided. Where the turn is others', nothing is done and nobody waits for it: what
        was read meanwhile is decided, and then it is asked for again.
        """
        now = time.monotonic()
        if now - self._ticked_at >= TICK_SECONDS:
            self._ticked_at = now
            await self._catalog.barrier()
            if self._cut is None:
                self._cut = await self._find_cut(now)
        if self._turn.locked() or not (self._cut or self._enrolment.is_behind):
            return False
        async with self._turn:
            if self._enrolment.is_behind:
                await self._enrol()
            return await self._close() or self._enrolment.is_behind

    async def _enrol(self) -> None:
        changes, meta = Changes(), self._tables.meta
        await self._enrolment.go_on(changes, Pace())
        self._tables.write(changes, Meta(meta.position, meta.changelog_offsets, self._enrolment.offset))

    async def _find_cut(self, now: float) -> Cut | None:
        """A cut, if by the broker's clock something is due."""
        due_at, commits = self._tables.next_due_at(), self._commits
        if due_at is None or not commits.broker_time.may_have_reached(due_at, now):
            return None
        if commits.broker_time.heard_at < now - TICK_SECONDS:
            await commits.heartbeat(self._position())
        at = commits.broker_time.at
        if due_at > at:
            return None
        await self._catalog.barrier()
        return Cut(at, await self._sources.ends())

    async def _close(self) -> bool:
        """Close some of what was due at the cut. Returns whether there may be more."""
        if self._cut is None or not await self._sources.has_read(self._cut.ends):
            return False
        round_ = await self._agenda.round(self._cut.at, Pace())
        if not round_.settled:
            self._cut = None
            return False
        await self._commits.closings(self._position(), round_)
        metrics.CLOSED.labels(self._number).inc(len(round_.closed))
        return True
