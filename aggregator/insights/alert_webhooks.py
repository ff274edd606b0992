"""Makes a webhook of each alert on `usage-alerts`, once."""

import asyncio
import contextlib
from typing import Final

import asyncpg

from aggregator.insights import metrics
from aggregator.insights.alerts import READ_MS, READ_RECORDS, alert_of
from aggregator.insights.beginning import CLIENT
from aggregator.insights.deliveries import insert_alerts
from aggregator.insights.sending import ROLE
from aggregator.settings import InsightsSettings
from aggregator.stream.database import connected
from aggregator.stream.ends import open_ends
from aggregator.stream.offsets import Offsets, OffsetsMoved, advance_offsets, stored_offsets
from aggregator.stream.reader import Reader, Records, open_reader
from aggregator.stream.supervision import Availability, keep_running
from schemas.alert import Alert
from schemas.topics import Topic

CONSUMER: Final = "insights"


class AlertWebhooks:
    """Copies alerts to the webhooks that are to be delivered, with its offset in the same transaction."""

    def __init__(self, settings: InsightsSettings) -> None:
        self._settings = settings
        self.availability = Availability("webhooks of alerts", metrics.ALERT_WEBHOOKS_UP, settings.stalled_seconds)

    async def run(self, stop: asyncio.Event) -> None:
        """Copy until `stop` is set."""
        await keep_running(lambda: self._session(stop), self.availability, "webhooks of alerts", stop)

    async def _session(self, stop: asyncio.Event) -> None:
        topic = self._settings.topic(Topic.USAGE_ALERTS)
        async with (
            connected(self._settings.database_url, ROLE) as connection,
            open_reader(self._settings.kafka, CLIENT, [topic]) as reader,
        ):
            beginnings = await reader.beginnings()
            offsets = await self._first_offsets(connection, beginnings)
            await reader.seek(offsets, beginnings)
            with contextlib.suppress(OffsetsMoved):  # another process made them: begin anew behind them
                while not stop.is_set():
                    offsets |= await copy(connection, offsets, await reader.read(READ_RECORDS, READ_MS), reader)
                    self.availability.answering()

    async def _first_offsets(self, connection: asyncpg.Connection, beginnings: Offsets) -> Offsets:
        """Where it was left; the first time at the end, for old alerts are no news."""
        async with open_ends(self._settings.kafka, CLIENT) as ends:
            return await stored_offsets(connection, CONSUMER, await ends.of(list(beginnings)))


async def copy(connection: asyncpg.Connection, offsets: Offsets, records: Records, reader: Reader) -> Offsets:
    """Make webhooks of what was read; returns the offsets after it. Raises OffsetsMoved where another process has."""
    alerts = [alert for some in records.values() for alert in map(alert_of, some) if alert is not None]
    after = {partition: await reader.position(partition) for partition in records}
    if after:
        async with connection.transaction():
            await advance_offsets(connection, CONSUMER, offsets, after)
            if alerts:
                await insert_alerts(connection, [_row(alert) for alert in alerts])
    return after


def _row(alert: Alert) -> tuple[str, str]:
    data = alert.to_json().decode()
    return f"usage.alert.{alert.status.value.lower()}", f'{{"alert":{data}}}'
