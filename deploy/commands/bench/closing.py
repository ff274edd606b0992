"""`tally bench closing`."""

import argparse
from typing import Any

from deploy.bench import closing
from deploy.flags import whole_number


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("--periods", type=whole_number(1), default=100_000, help="periods that end then (100000)")
    parser.add_argument(
        "--rate", type=whole_number(1), default=200, help="events a second that wait for verdicts (200)"
    )
    parser.add_argument(
        "--meters", type=whole_number(0), default=0, help="meters of one more period, such as 300000; 0 for none (0)"
    )


async def bench(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure."""
    return await closing.bench(closing.Closings(arguments.periods, arguments.rate, arguments.meters))
