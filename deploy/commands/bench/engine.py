"""`tally bench engine`."""

import argparse
from pathlib import Path
from typing import Any

from deploy.bench import engine
from deploy.bench.workload import Workload
from deploy.flags import whole_number


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    count, counts = whole_number(1), whole_number(0)
    add = parser.add_argument
    add("--events", type=count, default=800_000, help="events that are measured (800000)")
    add("--warm-up", type=counts, default=500_000, help="events before those, which are not measured (500000)")
    add("--stored-keys", type=counts, default=0, help="events that the store has before the warm-up (0)")
    add("--subscriptions", type=count, default=1_000, help="subscriptions they belong to (1000)")
    add("--partitions", type=count, default=8, help="partitions of usage-events (8)")
    add("--processes", type=count, default=1, help="worker processes, and threads of the peer (1)")
    add("--batch-records", type=counts, default=0, help="records in a batch at the most; 0: as TALLY_BATCH_RECORDS_MAX")
    add("--seed", type=int, default=1, help="the same seed sends the same bytes (1)")
    add("--runs", type=count, default=3, help="runs, of which the medians count (3)")
    add(
        "--peer", type=Path, metavar="DIR", help="folder of a Kafka Streams program, to run in turn on the same records"
    )
    add("--peer-commit-ms", type=count, default=1_000, help="how often the peer commits, ms (1000)")


async def bench(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure."""
    workload = Workload(
        events=arguments.events,
        subscriptions=arguments.subscriptions,
        partitions=arguments.partitions,
        seed=arguments.seed,
        warm_up=arguments.warm_up,
        stored_keys=arguments.stored_keys,
    )
    options = engine.Options(
        runs=arguments.runs,
        processes=arguments.processes,
        batch_records=arguments.batch_records,
        peer=arguments.peer,
        peer_commit_ms=arguments.peer_commit_ms,
    )
    return await engine.bench(workload, options)


def table(result: dict[str, Any]) -> str:
    """The medians, and beside them those of the peer and Tally's share of it."""
    one, other = result["engine"], result.get("peer")
    lines = [f"{'medians of ' + str(len(result['runs']['engine'])):<26}{'Tally':>12}"]
    if other is not None:
        lines[0] += f"{'peer':>12}{'ratio':>8}  of each pair"
    for name, figure in one.items():
        line = f"{name:<26}{figure!s:>12}"
        if other is not None:
            line += f"{other[name]!s:>12}"
            if name in result["ratios"]:
                ratio = result["ratios"][name]
                line += f"{ratio['of_medians']:>8}  {' '.join(map(str, ratio['of_pairs']))}"
        lines.append(line)
    for section in ("workload", "options", "circumstances"):
        lines += ["", section, *(f"  {name:<24}{value}" for name, value in result[section].items())]
    return "\n".join(lines)
