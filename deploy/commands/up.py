"""`tally up`."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from aggregator.insights.alert_file import read_alert_rules
from aggregator.settings import AggregatorSettings, CloserSettings, InsightsSettings, ProjectorSettings
from deploy.flags import checked_settings, whole_number
from deploy.local.stack import GRACE_SECONDS, Stack, StackOptions
from deploy.target import announced
from ingest.settings import GatewaySettings

INTERRUPTED = 130
"""The exit code of what was stopped before its end, as shells have it for Ctrl-C."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("--data", type=Path, default=Path("tally-data"), help="where all data is kept (tally-data)")
    parser.add_argument("--http-port", type=int, default=8080, help="port of the API; 0: any free one (8080)")
    parser.add_argument("--kafka-port", type=int, default=9092, help="port of Kafka; 0: any free one (9092)")
    parser.add_argument("--postgres-port", type=int, default=5433, help="port of Postgres; 0: any free one (5433)")
    parser.add_argument("--workers", type=whole_number(1), default=1, help="workers of the aggregator (1)")
    parser.add_argument("--partitions", help="partitions of usage-events, for life (TALLY_PARTITIONS; 8)")
    parser.add_argument(
        "--grace-seconds", help=f"quiet time before a period closes, s (TALLY_GRACE_SECONDS; {GRACE_SECONDS})"
    )


def options_of(arguments: argparse.Namespace) -> StackOptions:
    """The stack that the flags, TALLY_KAFKA and TALLY_DATABASE_URL ask for. Raises OperatorError, so that a part
    never starts, and starts again, with what it can't use."""
    given = {"partitions": arguments.partitions, "grace_seconds": arguments.grace_seconds}
    worker = checked_settings(AggregatorSettings, **{name: value for name, value in given.items() if value is not None})
    has_grace = "grace_seconds" in worker.model_fields_set
    for kind in (GatewaySettings, CloserSettings, ProjectorSettings):
        checked_settings(kind)
    read_alert_rules(checked_settings(InsightsSettings).alerts)
    return StackOptions(
        data=arguments.data.resolve(),
        http_port=arguments.http_port,
        kafka_port=arguments.kafka_port,
        postgres_port=arguments.postgres_port,
        workers=arguments.workers,
        partitions=worker.partitions,
        grace_seconds=worker.grace_seconds if has_grace else GRACE_SECONDS,
        kafka=os.environ.get("TALLY_KAFKA"),
        database_url=os.environ.get("TALLY_DATABASE_URL"),
    )


def say(sentence: str) -> None:
    """Progress, on stderr: stdout holds only what a program may want to read."""
    print(f"tally: {sentence}", file=sys.stderr, flush=True)


async def until_stopped(work: Coroutine[Any, Any, None]) -> int:
    """Do the work; SIGINT or SIGTERM cancels it, wherever it is, and what it has started is stopped in good order.
    Returns the exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        say("stopping")
        working.cancel()
    try:
        await working
    except asyncio.CancelledError:
        return INTERRUPTED
    return 0


async def stay() -> None:
    """Return when until_stopped() is told to stop: that is the regular end of work that has no other."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()


async def main(arguments: argparse.Namespace) -> int:
    """Run everything until SIGINT or SIGTERM."""
    return await until_stopped(_run(options_of(arguments)))


async def _run(options: StackOptions) -> None:
    async with Stack(options, say) as stack, announced(stack, options.data):
        print(stack.ready_line(), flush=True)
        await stay()
