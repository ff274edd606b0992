"""The part of a run that is measured: from a commit after the warm-up to the last one before the work runs out."""

import time
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, NamedTuple

from deploy.bench.measure import ProcessEnded, cpu_seconds_of_all, resident_mib, resident_peak_mib
from deploy.bench.workload import Workload
from deploy.progress import Progress
from schemas.errors import OperatorError

STALLED_SECONDS_MAX: Final = 120
LEAST_SHARE: Final = 0.5
"""Where fewer of the events are between the two commits, the second one is the last of all."""


class Committed(NamedTuple):
    """How many events were committed, by how many commits, at a time in seconds."""

    events: int
    commits: int
    at: float


@dataclass(frozen=True)
class Moment:
    """What had been committed, and what CPU it had taken, in seconds."""

    committed: Committed
    cpu: float
    broker_cpu: float


@dataclass(frozen=True)
class Figures:
    """One run. `audited` says whether all that was counted is exactly what was sent; memory is that of all processes,
    at the end and at the most."""

    cpu_us_per_event: float
    events_per_s: int
    broker_cpu_us_per_event: float
    resident_mib: int
    resident_peak_mib: int
    window_events: int
    window_seconds: float
    window_commits: int
    audited: bool


@dataclass(frozen=True)
class Window:
    """What was seen of a run."""

    first: Moment
    last: Moment
    resident_mib: int
    resident_peak_mib: int

    def figures(self, audited: bool) -> Figures:
        """What it comes to."""
        events = self.last.committed.events - self.first.committed.events
        seconds = self.last.committed.at - self.first.committed.at
        return Figures(
            cpu_us_per_event=round((self.last.cpu - self.first.cpu) / events * 1e6, 2),
            events_per_s=round(events / seconds),
            broker_cpu_us_per_event=round((self.last.broker_cpu - self.first.broker_cpu) / events * 1e6, 2),
            resident_mib=self.resident_mib,
            resident_peak_mib=self.resident_peak_mib,
            window_events=events,
            window_seconds=round(seconds, 3),
            window_commits=self.last.committed.commits - self.first.committed.commits,
            audited=audited,
        )


async def watch(
    progress_of: AsyncGenerator[Committed], processes: Sequence[Process], broker_pid: int, workload: Workload
) -> Window:
    """Measure until all of the workload is committed. Raises as followed() does."""
    moments = []
    async for committed in followed(progress_of, processes, workload.total):
        cpu = cpu_seconds_of_all(process.pid for process in processes)
        moments.append(Moment(committed, cpu, cpu_seconds_of_all([broker_pid])))
    first, last = bounds(moments, workload)
    return Window(
        first,
        last,
        sum(resident_mib(process.pid) for process in processes),
        sum(resident_peak_mib(process.pid) for process in processes),
    )


async def followed(
    progress_of: AsyncGenerator[Committed], processes: Sequence[Process], total: int
) -> AsyncIterator[Committed]:
    """Each commit, until so many events are. Raises ProcessEnded, and OperatorError where nothing is committed for a
    long time."""
    events, moved_at = 0, time.monotonic()
    progress = Progress("events decided", total)
    async with aclosing(progress_of):
        async for committed in progress_of:
            if any(process.returncode is not None for process in processes):
                raise ProcessEnded
            if time.monotonic() > moved_at + STALLED_SECONDS_MAX:
                raise OperatorError(
                    f"Nothing was decided for {STALLED_SECONDS_MAX} s; look at what is said above, if anything."
                )
            if committed.events == events:
                continue
            events, moved_at = committed.events, time.monotonic()
            progress.set(events)
            yield committed
            if events >= total:
                progress.finish()
                return


def bounds(moments: Sequence[Moment], workload: Workload) -> tuple[Moment, Moment]:
    """The first commit with the warm-up in it, and the last one after which there was more to do: a commit of the rest
    comes late by as much as the wait for more."""
    first = next(moment for moment in moments if moment.committed.events >= workload.before)
    later = [moment for moment in moments if moment.committed.at > first.committed.at]
    if not later:
        raise OperatorError("All events were decided in one commit after the warm-up: measure more, with --events.")
    for moment in reversed(later[:-1]):
        if moment.committed.events - first.committed.events >= LEAST_SHARE * workload.events:
            return first, moment
    return first, later[-1]
