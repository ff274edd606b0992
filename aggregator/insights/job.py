"""The process of the insights."""

import asyncio
from typing import Any

from aggregator.health import serve
from aggregator.insights.alert_file import read_alert_rules
from aggregator.insights.alert_webhooks import AlertWebhooks
from aggregator.insights.live import LiveRates
from aggregator.insights.sending import Sender
from aggregator.settings import InsightsSettings
from aggregator.stream.supervision import stop_on_signals


async def run(settings: InsightsSettings) -> None:
    """Show rates, tell of alerts and send webhooks until SIGTERM or SIGINT. Raises OperatorError."""
    live = LiveRates(settings, read_alert_rules(settings.alerts))
    sender = Sender(settings)
    parts: list[Any] = [live, sender, *([AlertWebhooks(settings)] if settings.webhook_url else [])]

    def unready() -> list[str]:
        return [sentence for part in parts for sentence in part.availability.unready()]

    stop = stop_on_signals()
    serve(settings.metrics_host, settings.metrics_port, unready, {"/rates": lambda: live.page})
    running = [asyncio.ensure_future(part.run(stop)) for part in parts]
    try:
        await asyncio.gather(*running)
    finally:
        for one in running:
            one.cancel()
        await asyncio.wait(running)
