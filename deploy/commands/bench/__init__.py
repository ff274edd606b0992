"""`tally bench PART`: a module for each part, with its flags (`arguments(parser)`), what they lead to (`bench`) and,
where it is no plain list, how a person reads the result (`table`)."""

import argparse
import json
from types import ModuleType
from typing import Any, Final

from deploy.commands.bench import closer, closing, curve, engine, gateway, latency, plot, recovery, verdict

PARTS: Final[dict[str, tuple[str, ModuleType]]] = {
    "engine": ("events per second through worker processes, also beside a Kafka Streams program", engine),
    "latency": ("from the sending of an event to its commit, at a steady rate", latency),
    "recovery": ("records per second that a worker restores which has lost its state", recovery),
    "curve": ("the engine's throughput and memory as one thing after the other is varied", curve),
    "plot": ("a picture of what 'tally bench curve' has measured", plot),
    "gateway": ("requests and batched events per second through one gateway process", gateway),
    "verdict": ("how long a usage event waits for its verdict over HTTP", verdict),
    "closer": ("invoices per second that one closer process writes", closer),
    "closing": ("very many periods that end at one moment, while usage goes on", closing),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parts = parser.add_subparsers(dest="part", required=True)
    for name, (summary, module) in PARTS.items():
        part = parts.add_parser(name, help=summary, description=summary)
        module.arguments(part)
        part.add_argument("--json", action="store_true", help="print the result as one line of JSON")
        part.set_defaults(bench=module.bench, table=getattr(module, "table", _table))


async def main(arguments: argparse.Namespace) -> None:
    """Measure and print."""
    result = await arguments.bench(arguments)
    print(json.dumps(result) if arguments.json else arguments.table(result))


def _table(result: dict[str, Any]) -> str:
    lines = []
    for section, figures in result.items():
        if isinstance(figures, dict):
            lines += [section, *(f"  {name:<26} {figure}" for name, figure in figures.items())]
        else:
            lines.append(f"{section}: {figures}")
    return "\n".join(lines)
