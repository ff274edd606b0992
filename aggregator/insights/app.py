"""The Faust app of the insights: an agent that reads `usage-rates`."""

import logging
from typing import Any

import faust

from aggregator.insights import metrics
from aggregator.rules.rates import Rates
from aggregator.settings import InsightsSettings
from aggregator.stream.reader import UNREADABLE
from schemas.topics import Topic
from schemas.usage_rate import UsageRate

log = logging.getLogger(__name__)

SESSION_SECONDS = 10.0
REQUEST_SECONDS = 15.0


def group_of(settings: InsightsSettings) -> str:
    """The consumer group, which has the name of the app."""
    return f"{settings.topic_prefix}tally-insights"


def create_app(settings: InsightsSettings, rates: Rates) -> faust.App:
    """The app, whose agent adds to `rates` what it reads. It makes no topic and keeps no table: a Faust table would
    write each change to a changelog, and `usage-rates` is one already."""
    app = faust.App(
        group_of(settings),
        broker=f"kafka://{settings.kafka}",
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        broker_request_timeout=REQUEST_SECONDS,
        broker_session_timeout=SESSION_SECONDS,
        broker_heartbeat_interval=SESSION_SECONDS / 5,
        consumer_auto_offset_reset="latest",
    )

    @app.agent(raw_topic(app, settings.topic(Topic.USAGE_RATES)))
    async def gather(stream: Any) -> None:
        async for event in stream.events():
            add_record(rates, event.message)

    return app


def raw_topic(app: faust.App, name: str) -> Any:
    """A topic whose keys and values are bytes, which `schemas` alone reads and writes."""
    return app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")


def add_record(rates: Rates, message: Any) -> None:
    """Add a record of `usage-rates`; one that no worker wrote is counted, and has no part in any rate."""
    try:
        rate = UsageRate.of_record(message.key, message.value)
    except UNREADABLE as error:
        metrics.RATES_SKIPPED.inc()
        log.warning("The record at offset %d of %s can't be read: %r", message.offset, message.tp, error)
    else:
        rates.add(rate, int(message.timestamp * 1_000))
