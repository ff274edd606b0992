"""`tally bench recovery`."""

import argparse
from typing import Any

from deploy.bench import recovery
from deploy.flags import whole_number


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    count, add = whole_number(1), parser.add_argument
    add("--keys", type=count, default=500_000, help="accepted events whose state is restored (500000)")
    add("--subscriptions", type=count, default=1_000, help="subscriptions they belong to (1000)")
    add("--partitions", type=count, default=8, help="partitions of usage-events (8)")
    add("--seed", type=int, default=1, help="the same seed sends the same bytes (1)")
    add("--runs", type=count, default=3, help="restores, of which the medians count (3)")


async def bench(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure."""
    state = recovery.Recovery(arguments.keys, arguments.subscriptions, arguments.partitions, arguments.seed)
    return await recovery.bench(state, arguments.runs)
