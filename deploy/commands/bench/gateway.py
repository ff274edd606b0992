"""`tally bench gateway`."""

import argparse
from typing import Any

from deploy.bench import gateway
from deploy.bench.figures import table_of_loads
from deploy.flags import whole_number


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    number = whole_number(1)
    parser.add_argument("--seconds", type=number, default=5, help="how long each load lasts, s (5)")
    parser.add_argument(
        "--connections", type=number, nargs="+", default=[64, 256], help="open connections of single POSTs (64 256)"
    )
    parser.add_argument("--batches", type=number, nargs="+", default=[100, 1_000], help="events of a batch (100 1000)")
    parser.add_argument("--runs", type=number, default=3, help="runs, of which the median counts (3)")


async def bench(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure."""
    loads = gateway.GatewayLoads(
        tuple(arguments.connections), tuple(arguments.batches), arguments.seconds, arguments.runs
    )
    return await gateway.bench(loads)


table = table_of_loads
