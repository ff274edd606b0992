"""A worker of the aggregator: the Faust app that hosts the engine.

Faust gives the lifecycle and supervision; the engine brings its own consumer group, because Faust's own guarantees are
not those of a bill (design section 3). Without agents in this app, Faust itself consumes nothing.
"""

import asyncio
import gc
import signal
import time
from pathlib import Path
from typing import Any

import faust
from aiokafka.errors import KafkaConnectionError

from aggregator.engine.halt import Halt, HaltReason
from aggregator.engine.liveness import Liveness
from aggregator.engine.service import Engine
from aggregator.engine.transaction import follow_at_once
from aggregator.health import serve
from aggregator.settings import AggregatorSettings
from aggregator.stream.requests import encode_in_one_piece
from aggregator.stream.source_records import give_out_decoded_records
from schemas.errors import OperatorError

GC_THRESHOLD = 200_000
"""Collecting young objects rarely, and never those of the start, once took the CPU of an event from 10.9 to 7.7 us."""


def create_app(settings: AggregatorSettings, liveness: Liveness) -> faust.App:
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
            super().__init__(settings, liveness, **kwargs)

    return app


async def run(settings: AggregatorSettings) -> None:
    """Work until SIGTERM or SIGINT, then finish the batches in flight. Raises OperatorError where it can't start: Halt
    where that is Kafka's doing."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    _make_directory(Path(settings.state_dir))
    liveness = Liveness(settings.stalled_seconds)
    serve(settings.metrics_host, settings.metrics_port, lambda: liveness.unready(time.monotonic()))
    give_out_decoded_records()
    encode_in_one_piece()
    follow_at_once()
    app = create_app(settings, liveness)
    try:
        await _start(app, settings.kafka)
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 50, 100)
        await app.wait(stop.wait())
        if app.crashed:  # a task beside the partitions, which end the process themselves
            raise Halt(HaltReason.PARTITION_FAILED, "A task of the worker failed") from app.crash_reason
    finally:
        await app.stop()


async def _start(app: faust.App, kafka: str) -> None:
    try:
        await app.start()
    except KafkaConnectionError as error:
        raise Halt(HaltReason.NO_BROKER, f"No Kafka broker answers at {kafka}") from error


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OperatorError(f"{path} can't be used as the state directory ({error}); set TALLY_STATE_DIR.") from error
