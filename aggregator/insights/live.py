"""The live rates: what the agent gathers, shown every five seconds, and judged by the rules for alerts."""

import asyncio
import logging
import time
from typing import Any, Final

import faust
from aiokafka.errors import KafkaConnectionError, KafkaError

from aggregator.insights import metrics
from aggregator.insights.alerts import Alerts
from aggregator.insights.app import create_app, group_of
from aggregator.insights.beginning import begin
from aggregator.insights.rates_page import WINDOWS, rates_page
from aggregator.insights.sharing import Sharing
from aggregator.rules.alerting import AlertRule
from aggregator.rules.rates import Rates, settled_end, total_of
from aggregator.settings import InsightsSettings
from aggregator.stream.progress import Progress
from aggregator.stream.supervision import Availability, pause
from schemas.errors import OperatorError
from schemas.timestamps import SECOND_MS
from schemas.topics import Topic

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.5
WAIT_SECONDS: Final = 1.0


class LiveRates:
    """Reads `usage-rates` and knows what came of it. Of several processes, one reads and the others wait."""

    def __init__(self, settings: InsightsSettings, rules: list[AlertRule]) -> None:
        self._settings = settings
        self._rules = rules
        reserved = [rule.pair for rule in rules if rule.pair is not None]
        self._rates = Rates(settings.rates_meters_max, reserved)
        self._ends: dict[Any, int] = {}
        self._sharing = Sharing(0)
        self.page: dict[str, Any] = rates_page(self._rates, now_ms())
        """What GET /rates shows; replaced as a whole, for it is read by other threads."""
        self.availability = Availability("live rates", metrics.RATES_UP, settings.stalled_seconds)

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop` is set. Raises OperatorError for what ends the app: a restart reads all of it again."""
        count = await self._begin(stop)
        if not count:
            return
        self._sharing = Sharing(count)
        app = create_app(self._settings, self._rates)
        alerts = Alerts(self._settings, self._rules, app)
        app.on_partitions_assigned.connect(self._take_note)
        try:
            await app.start()
            await alerts.restore()
            await app.wait(self._look_until_stopped(alerts, app, stop))
            if app.crashed:
                raise OperatorError(f"The live rates failed ({app.crash_reason!r}).") from app.crash_reason
        except KafkaError as error:
            raise OperatorError(f"Kafka failed the live rates ({error!r}); a restart reads all again.") from error
        finally:
            await app.stop()

    async def _take_note(self, _app: Any, /, *assigned: Any, **_: Any) -> None:
        self._sharing.assigned({tp.partition for partitions in assigned for tp in partitions})

    async def _begin(self, stop: asyncio.Event) -> int:
        """Wait for the turn of this process. Returns how many partitions there are; 0: it is told to stop."""
        topic, group = self._settings.topic(Topic.USAGE_RATES), group_of(self._settings)
        while not stop.is_set():
            seconds = WAIT_SECONDS
            try:
                count = await begin(self._settings.kafka, group, topic, now_ms())
            except KafkaConnectionError as error:
                kafka = self._settings.kafka
                raise OperatorError(f"No Kafka broker answers at {kafka}; start it, or check TALLY_KAFKA.") from error
            except KafkaError as error:  # such as of a group that has no coordinator yet
                seconds = self.availability.away(error)
            else:
                self.availability.answering()
                if count:
                    return count
            await pause(stop, seconds)
        return 0

    async def _look_until_stopped(self, alerts: Alerts, app: faust.App, stop: asyncio.Event) -> None:
        shown_end = 0
        while not stop.is_set():
            self._sharing.check()
            at = now_ms()
            if settled_end(at) != shown_end:
                shown_end = settled_end(at)
                self._show(at)
                if await self._has_read_all(app.consumer) and not self._sharing.seen:
                    await alerts.judge(self._rates, shown_end)
            await pause(stop, LOOK_SECONDS)

    def _show(self, at: int) -> None:
        self._rates.expire(at)
        self.page = rates_page(self._rates, at)
        end, seconds = settled_end(at), WINDOWS["lastMinute"]
        total = total_of(self._rates.within(end - seconds * SECOND_MS, end))
        metrics.METERS.set(len(self._rates))
        metrics.EVENTS.set(total.event_count / seconds)

    async def _has_read_all(self, consumer: Any) -> bool:
        """Whether all is read that had been written when this was asked the last time: else usage that is only late
        would look as if there were none."""
        try:
            partitions = consumer.assignment()
            ends = await consumer.highwaters(*partitions)
            positions = {tp: await consumer.position(tp) or 0 for tp in partitions}
        except KafkaError as error:
            self.availability.away(error)
            return False
        self.availability.answering()
        self.availability.reading({tp: Progress(positions[tp], max(0, ends[tp] - positions[tp])) for tp in partitions})
        for tp in partitions:
            metrics.RATES_LAG.labels(tp.partition).set(max(0, ends[tp] - positions[tp]))
        before, self._ends = self._ends, ends
        return bool(before) and all(positions.get(tp, 0) >= end for tp, end in before.items())


def now_ms() -> int:
    """The time of this machine, which should be that of the brokers."""
    return time.time_ns() // 1_000_000
