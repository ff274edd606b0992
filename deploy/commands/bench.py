"""`tally bench engine|gateway|closer|closing`."""

import argparse
import json
from typing import Any

from deploy.bench import closer, closing, engine, gateway
from deploy.bench.closed import ClosedWorkload
from deploy.bench.workload import Workload
from deploy.flags import whole_number


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parts = parser.add_subparsers(dest="part", required=True)
    part = parts.add_parser("engine", help="events per second through one worker process")
    part.add_argument("--events", type=whole_number(1), default=500_000, help="events in the topic (500000)")
    part.add_argument(
        "--subscriptions", type=whole_number(1), default=1_000, help="subscriptions they belong to (1000)"
    )
    part.add_argument("--partitions", type=whole_number(1), default=8, help="partitions of usage-events (8)")
    part.add_argument("--seed", type=int, default=1, help="the same seed sends the same bytes (1)")
    part.add_argument("--runs", type=whole_number(1), default=3, help="runs, of which the median counts (3)")
    part.set_defaults(bench=_engine)
    part = parts.add_parser("gateway", help="requests and batched events per second through one gateway process")
    part.add_argument("--seconds", type=whole_number(1), default=8, help="how long each load lasts, s (8)")
    part.add_argument("--connections", type=whole_number(1), default=64, help="open connections of single POSTs (64)")
    part.set_defaults(bench=_gateway)
    part = parts.add_parser("closer", help="invoices per second that one closer process writes")
    part.add_argument("--periods", type=whole_number(1), default=100_000, help="closed periods in the topic (100000)")
    part.add_argument("--lines", type=whole_number(0), default=3, help="lines of each invoice (3)")
    part.add_argument("--partitions", type=whole_number(1), default=8, help="partitions of closed-periods (8)")
    part.add_argument("--seed", type=int, default=1, help="the same seed closes the same periods (1)")
    part.add_argument("--runs", type=whole_number(1), default=3, help="runs, of which the median counts (3)")
    part.set_defaults(bench=_closer)
    part = parts.add_parser("closing", help="very many periods that end at one moment, while usage goes on")
    part.add_argument("--periods", type=whole_number(1), default=100_000, help="periods that end then (100000)")
    part.add_argument("--rate", type=whole_number(1), default=200, help="events a second that wait for verdicts (200)")
    part.add_argument(
        "--meters", type=whole_number(0), default=0, help="meters of one more period, such as 300000; 0 for none (0)"
    )
    part.set_defaults(bench=_closing)
    for part in parts.choices.values():
        part.add_argument("--json", action="store_true", help="print the result as one line of JSON")


async def main(arguments: argparse.Namespace) -> None:
    """Measure and print."""
    result = await arguments.bench(arguments)
    if arguments.json:
        print(json.dumps(result))
    else:
        _print_table(result)


async def _engine(arguments: argparse.Namespace) -> dict[str, Any]:
    workload = Workload(arguments.events, arguments.subscriptions, arguments.partitions, arguments.seed)
    return await engine.bench(workload, arguments.runs)


async def _gateway(arguments: argparse.Namespace) -> dict[str, Any]:
    return await gateway.bench(arguments.seconds, arguments.connections)


async def _closer(arguments: argparse.Namespace) -> dict[str, Any]:
    workload = ClosedWorkload(arguments.periods, arguments.lines, arguments.partitions, arguments.seed)
    return await closer.bench(workload, arguments.runs)


async def _closing(arguments: argparse.Namespace) -> dict[str, Any]:
    return await closing.bench(closing.Closings(arguments.periods, arguments.rate, arguments.meters))


def _print_table(result: dict[str, Any]) -> None:
    for section, figures in result.items():
        if isinstance(figures, dict):
            print(section)
            for name, figure in figures.items():
                print(f"  {name:<26} {figure}")
        else:
            print(f"{section}: {figures}")
