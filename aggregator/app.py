"""A worker of the aggregator: the Faust app that hosts the engine.

Faust gives the lifecycle and supervision; the engine brings its own consumer group, because Faust's own guarantees are
not those of a bill (design section 3). Without agents in this app, Faust itself consumes nothing.
"""

import asyncio
import gc
import logging
import signal
from typing import Any

import faust
from prometheus_client import start_http_server

from aggregator.engine.service import Engine
from aggregator.settings import AggregatorSettings

log = logging.getLogger(__name__)

GC_THRESHOLD = 200_000
"""Collecting young objects rarely, and never those of the start, saved a third of the CPU (traps.md, Python)."""


def create_app(settings: AggregatorSettings) -> faust.App:
    """The app, with the engine as a service."""
    app = faust.App(
        f"{settings.topic_prefix}{settings.app_id}-worker",
        broker=f"kafka://{settings.kafka}",
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        broker_request_timeout=float(settings.transaction_timeout_seconds),
        datadir=settings.state_dir,
    )
    app.producer_only = True

    @app.service
    class _Engine(Engine):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(settings, **kwargs)

    return app


async def run(settings: AggregatorSettings) -> None:
    """Work until SIGTERM or SIGINT, then finish the batches in flight. Raises OperatorError where it can't start."""
    server, _ = start_http_server(settings.metrics_port, settings.metrics_host)
    log.info("metrics at http://%s:%d/metrics", settings.metrics_host, server.server_port)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    app = create_app(settings)
    try:
        await app.start()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 50, 100)
        await stop.wait()
    finally:
        await app.stop()
        server.shutdown()
