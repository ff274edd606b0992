"""`tally bench gateway`."""

import argparse
from typing import Any

from deploy.bench import gateway
from deploy.flags import whole_number


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("--seconds", type=whole_number(1), default=8, help="how long each load lasts, s (8)")
    parser.add_argument("--connections", type=whole_number(1), default=64, help="open connections of single POSTs (64)")


async def bench(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure."""
    return await gateway.bench(arguments.seconds, arguments.connections)
