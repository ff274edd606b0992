"""`tally bench engine`."""

import argparse
from typing import Any

from deploy.bench import engine
from deploy.bench.workload import Workload
from deploy.flags import whole_number


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("--events", type=whole_number(1), default=500_000, help="events in the topic (500000)")
    parser.add_argument(
        "--subscriptions", type=whole_number(1), default=1_000, help="subscriptions they belong to (1000)"
    )
    parser.add_argument("--partitions", type=whole_number(1), default=8, help="partitions of usage-events (8)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed sends the same bytes (1)")
    parser.add_argument("--runs", type=whole_number(1), default=3, help="runs, of which the median counts (3)")


async def bench(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure."""
    workload = Workload(arguments.events, arguments.subscriptions, arguments.partitions, arguments.seed)
    return await engine.bench(workload, arguments.runs)
