"""`tally bench curve`."""

import argparse
from pathlib import Path
from typing import Any

from deploy.bench import curve
from deploy.flags import whole_number

FIGURES = ("events_per_s", "cpu_us_per_event", "broker_cpu_us_per_event", "resident_peak_mib", "audited")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    count, counts = whole_number(1), whole_number(0)
    add = parser.add_argument
    add("--file", type=Path, required=True, help="JSON file of all points; those that it has are not measured again")
    varied = parser.add_argument_group("what is varied, one at a time")
    vary = varied.add_argument
    millions = [0, 1_000_000, 10_000_000, 50_000_000]
    vary("--stored-keys", type=counts, nargs="*", default=millions, help="events in the store before (0 1M 10M 50M)")
    vary("--partitions", type=count, nargs="*", default=[1, 2, 4, 8, 16, 64], help="of one worker (1 2 4 8 16 64)")
    vary("--subscriptions", type=count, nargs="*", default=[1, 100_000], help="that events belong to (1 100000)")
    sizes = [500, 2_000, 6_000, 20_000, 40_000]
    vary("--batch-records", type=count, nargs="*", default=sizes, help="at the most (500 2000 6000 20000 40000)")
    add("--events", type=count, default=500_000, help="events that are measured for each point (500000)")
    add("--warm-up", type=counts, default=500_000, help="events before those, which are not measured (500000)")
    add("--seed", type=int, default=1, help="the same seed sends the same bytes (1)")
    add("--runs", type=count, default=1, help="runs of each point, of which the medians count (1)")


async def bench(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure what is missing; all points, whenever they were measured."""
    varied = {name: getattr(arguments, name) for name in curve.DIMENSIONS}
    usage = curve.Usage(arguments.events, arguments.warm_up, arguments.seed, arguments.runs)
    found = await curve.bench(varied, usage, arguments.file)
    return {name: [{name: value, **figures} for value, figures in found.along(name)] for name in curve.DIMENSIONS}


def table(result: dict[str, Any]) -> str:
    """A block for each dimension."""
    lines = []
    for dimension, rows in result.items():
        lines.append(f"{dimension:>14}" + "".join(f"{name:>25}" for name in FIGURES))
        for row in rows:
            lines.append(f"{row[dimension]:>14,}" + "".join(f"{row[name]!s:>25}" for name in FIGURES))
    return "\n".join(lines)
