"""`tally bench latency`."""

import argparse
from typing import Any

from aggregator.settings import AggregatorSettings
from deploy.bench import latency
from deploy.flags import checked_settings, whole_number


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    count, counts = whole_number(1), whole_number(0)
    add = parser.add_argument
    add("--rate", type=count, default=500, help="events a second (500)")
    add("--seconds", type=count, default=20, help="how long they are measured, s (20)")
    add("--warm-up-seconds", type=counts, default=100, help="how long they come before that, s (100)")
    add(
        "--linger-ms",
        type=counts,
        nargs="+",
        help="compare these lingers, ms (that of TALLY_LINGER_MILLISECONDS, and 0)",
    )
    add("--subscriptions", type=count, default=1_000, help="subscriptions they belong to (1000)")
    add("--partitions", type=count, default=8, help="partitions of usage-events (8)")
    add("--seed", type=int, default=1, help="the same seed sends the same bytes (1)")
    add("--runs", type=count, default=3, help="runs, of which the medians count (3)")


async def bench(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure."""
    flow = latency.Flow(
        rate=arguments.rate,
        seconds=arguments.seconds,
        warm_up_seconds=arguments.warm_up_seconds,
        subscriptions=arguments.subscriptions,
        partitions=arguments.partitions,
        seed=arguments.seed,
    )
    lingers = arguments.linger_ms or (checked_settings(AggregatorSettings).linger_milliseconds, 0)
    return await latency.bench(flow, arguments.runs, tuple(dict.fromkeys(lingers)))
