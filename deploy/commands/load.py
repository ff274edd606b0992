"""`tally load`: generated usage at a steady rate, until stopped or for a time."""

import argparse
import asyncio
import time
from collections.abc import Iterator
from itertools import islice

from deploy import month
from deploy.commands import up
from deploy.flags import whole_number
from deploy.progress import Progress
from deploy.sending import Api, Event, send_by_http, send_by_kafka
from deploy.target import Target, target_of


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.description = (
        "Send generated usage of now at a steady rate. Uses the Tally that runs on the data directory, or runs one"
        " meanwhile."
    )
    parser.add_argument("--rate", type=whole_number(1), default=500, help="events per second (500)")
    parser.add_argument("--seconds", type=whole_number(1), default=60, help="for how long, s (60)")
    parser.add_argument("--via", choices=["http", "kafka"], default="http", help="how it is sent (http)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed sends the same usage (1)")
    up.arguments(parser)
    parser.set_defaults(http_port=0, kafka_port=0, postgres_port=0)


async def main(arguments: argparse.Namespace) -> None:
    """Send, a second's worth each second."""
    await up.until_stopped(_run(arguments))


async def _run(arguments: argparse.Namespace) -> None:
    async with target_of(up.options_of(arguments), up.say) as target, Api(target) as api:
        await month.create_catalog(api)
        progress = Progress("events sent", arguments.rate * arguments.seconds)
        events = month.usage_of_now(arguments.seed, run=str(time.time_ns()))
        begun = time.monotonic()
        try:
            for second in range(1, arguments.seconds + 1):
                await _send(target, api, islice(events, arguments.rate), arguments.via, progress)
                await asyncio.sleep(max(begun + second - time.monotonic(), 0.0))
        finally:
            progress.finish()


async def _send(target: Target, api: Api, events: Iterator[Event], via: str, progress: Progress) -> None:
    if via == "http":
        await send_by_http(api, events, progress.add)
    else:
        await send_by_kafka(target, events, progress.add)
