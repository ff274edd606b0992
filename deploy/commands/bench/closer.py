"""`tally bench closer`."""

import argparse
from typing import Any

from deploy.bench import closer
from deploy.bench.closed import ClosedWorkload
from deploy.flags import whole_number


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("--periods", type=whole_number(1), default=100_000, help="closed periods in the topic (100000)")
    parser.add_argument("--lines", type=whole_number(0), default=3, help="lines of each invoice (3)")
    parser.add_argument("--partitions", type=whole_number(1), default=8, help="partitions of closed-periods (8)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed closes the same periods (1)")
    parser.add_argument("--runs", type=whole_number(1), default=3, help="runs, of which the median counts (3)")


async def bench(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure."""
    workload = ClosedWorkload(arguments.periods, arguments.lines, arguments.partitions, arguments.seed)
    return await closer.bench(workload, arguments.runs)
