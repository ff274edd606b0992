"""The projector's process."""

import asyncio
from typing import Final

from aggregator.health import serve
from aggregator.projector import events, metrics, totals
from aggregator.projector.copying import Copying
from aggregator.settings import ProjectorSettings
from aggregator.stream.supervision import stop_on_signals

TOPICS: Final = (*totals.TOPICS, *events.TOPICS)


async def run(settings: ProjectorSettings) -> None:
    """Copy totals, ledgers and, unless a setting says otherwise, single events to Postgres until SIGTERM or SIGINT."""
    stop = stop_on_signals()
    projector = Projector(settings)
    serve(settings.metrics_host, settings.metrics_port, projector.availability.unready)
    await projector.run(stop)


class Projector:
    """One projector. A second one does no harm and is of no use.

    Totals and single events are copied side by side, each at its own pace: there are far more events, and no total
    must wait for them.
    """

    def __init__(self, settings: ProjectorSettings) -> None:
        self._copyings = [Copying("projector", settings, totals.TOPICS, totals.open_totals, metrics.UP)]
        if settings.project_events:
            name = "projector of single events"
            self._copyings.append(Copying(name, settings, events.TOPICS, events.open_events, metrics.EVENTS_UP))
        self.availability = _Availability(self._copyings)

    async def run(self, stop: asyncio.Event) -> None:
        """Copy until `stop` is set; the batches in flight are finished."""
        running = [asyncio.ensure_future(copying.run(stop)) for copying in self._copyings]
        try:
            await asyncio.gather(*running)
        finally:
            for one in running:
                one.cancel()
            await asyncio.wait(running)


class _Availability:
    """Of all that is copied."""

    def __init__(self, copyings: list[Copying]) -> None:
        self._copyings = copyings

    def unready(self) -> list[str]:
        """What is wrong, a sentence each; nothing: the process is ready."""
        return [sentence for copying in self._copyings for sentence in copying.availability.unready()]
