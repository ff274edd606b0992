"""`tally bench verdict`."""

import argparse
from typing import Any

from deploy.bench import verdict
from deploy.bench.figures import table_of_loads
from deploy.flags import whole_number


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    number = whole_number(1)
    parser.add_argument("--rate", type=number, nargs="+", default=[200, 500], help="requests a second (200 500)")
    parser.add_argument(
        "--clients", type=number, nargs="*", default=[64], help="clients that send one request after the other (64)"
    )
    parser.add_argument("--seconds", type=number, default=20, help="how long each load lasts, s (20)")
    parser.add_argument("--runs", type=number, default=3, help="runs, of which the median counts (3)")


async def bench(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure."""
    loads = verdict.VerdictLoads(tuple(arguments.rate), tuple(arguments.clients), arguments.seconds, arguments.runs)
    return await verdict.bench(loads)


table = table_of_loads
