"""The alerts that are firing: restored from `usage-alerts`, and written there when one begins or ends."""

import asyncio
import json
import logging
from typing import Any, Final

import faust

from aggregator.insights import metrics
from aggregator.insights.app import REQUEST_SECONDS, raw_topic
from aggregator.insights.beginning import CLIENT
from aggregator.rules.alerting import AlertRule, Subject, changes
from aggregator.rules.rates import Rates
from aggregator.settings import InsightsSettings
from aggregator.stream.reader import UNREADABLE, open_reader
from schemas.alert import Alert, AlertStatus
from schemas.errors import OperatorError
from schemas.timestamps import SECOND_MS
from schemas.topics import Topic

log = logging.getLogger(__name__)

READ_RECORDS: Final = 1_000
READ_MS: Final = 200


class Alerts:
    """Which rules fire, for which meters."""

    def __init__(self, settings: InsightsSettings, rules: list[AlertRule], app: faust.App) -> None:
        self._settings = settings
        self._rules = rules
        self._topic = raw_topic(app, settings.topic(Topic.USAGE_ALERTS))
        self._firing: dict[Subject, Alert] = {}

    async def restore(self) -> None:
        """Read which alerts have begun, so that none begins a second time."""
        async with open_reader(self._settings.kafka, CLIENT, [self._settings.topic(Topic.USAGE_ALERTS)]) as reader:
            beginnings = await reader.beginnings()
            await reader.seek(beginnings, beginnings)
            while any(progress.lag for progress in (await reader.progress()).values()):
                for records in (await reader.read(READ_RECORDS, READ_MS)).values():
                    for alert in filter(None, map(alert_of, records)):
                        self._take_note(alert)

    async def judge(self, rates: Rates, end: int) -> None:
        """Tell of each alert that begins or ends with the windows that end at `end` (ms). One that could not be written
        has not begun: it raises, and the next process finds it again."""
        windows = {rule.window_seconds for rule in self._rules}
        usages = {seconds: rates.within(end - seconds * SECOND_MS, end) for seconds in windows}
        for alert in list(changes(self._rules, self._firing, usages, end)):
            await self._write(alert)
            self._take_note(alert)
            metrics.ALERTS.labels(alert.status.value.lower()).inc()
            log.warning("alert %s", json.dumps(alert.wire(), ensure_ascii=False))

    async def _write(self, alert: Alert) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                await (await self._topic.send(key=alert.key, value=alert.to_json()))
        except TimeoutError as error:
            topic = self._topic.get_topic_name()
            raise OperatorError(f"Kafka took no alert on {topic} within {REQUEST_SECONDS:g} s: is it there?") from error

    def _take_note(self, alert: Alert) -> None:
        if alert.status is AlertStatus.FIRING:
            self._firing[alert.subject] = alert
        else:
            self._firing.pop(alert.subject, None)
        metrics.ALERTS_FIRING.set(len(self._firing))


def alert_of(record: Any) -> Alert | None:
    """The alert in a record of `usage-alerts`; None, and a line in the log, where there is none in it."""
    try:
        return Alert.of_json(record.value)
    except UNREADABLE as error:
        log.warning("The record at offset %d of %s can't be read: %r", record.offset, record.topic, error)
        return None
