"""`tally up`."""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from deploy.local.stack import GRACE_SECONDS, Stack, StackOptions
from deploy.target import announced


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("--data", type=Path, default=Path("tally-data"), help="where all data is kept (tally-data)")
    parser.add_argument("--http-port", type=int, default=8080, help="port of the API; 0: any free one (8080)")
    parser.add_argument("--kafka-port", type=int, default=9092, help="port of Kafka; 0: any free one (9092)")
    parser.add_argument("--postgres-port", type=int, default=5433, help="port of Postgres; 0: any free one (5433)")
    parser.add_argument("--workers", type=int, default=1, help="workers of the aggregator (1)")
    parser.add_argument("--partitions", type=int, default=8, help="partitions of usage-events, for life (8)")
    parser.add_argument(
        "--grace-seconds", type=int, default=GRACE_SECONDS, help=f"quiet time before a period closes ({GRACE_SECONDS})"
    )


def options_of(arguments: argparse.Namespace) -> StackOptions:
    """The stack that the flags, TALLY_KAFKA and TALLY_DATABASE_URL ask for."""
    return StackOptions(
        data=arguments.data.resolve(),
        http_port=arguments.http_port,
        kafka_port=arguments.kafka_port,
        postgres_port=arguments.postgres_port,
        workers=arguments.workers,
        partitions=arguments.partitions,
        grace_seconds=arguments.grace_seconds,
        kafka=os.environ.get("TALLY_KAFKA"),
        database_url=os.environ.get("TALLY_DATABASE_URL"),
    )


def say(sentence: str) -> None:
    """Progress, on stderr: stdout holds only what a program may want to read."""
    print(f"tally: {sentence}", file=sys.stderr, flush=True)


def stop_asked() -> asyncio.Event:
    """An event that SIGINT or SIGTERM sets."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    return stop


async def main(arguments: argparse.Namespace) -> None:
    """Run everything until SIGINT or SIGTERM."""
    stop = stop_asked()
    starting = asyncio.create_task(_run(options_of(arguments), stop))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    await starting


async def _run(options: StackOptions, stop: asyncio.Event) -> None:
    async with Stack(options, say) as stack, announced(stack, options.data):
        print(stack.ready_line(), flush=True)
        await stop.wait()
        say("stopping")
