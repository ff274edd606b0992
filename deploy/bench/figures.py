"""Figures of several runs made into one, of many latencies into three, and of several loads into a table."""

from collections.abc import Mapping, Sequence
from statistics import median_low
from typing import Any, Final

Figures = Mapping[str, float]

_SHARES: Final = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}


def medians(runs: Sequence[Figures]) -> dict[str, float]:
    """Of each figure its own median over the runs that have it: a figure that was measured."""
    names = dict.fromkeys(name for run in runs for name in run)
    return {name: median_low(run[name] for run in runs if name in run) for name in names}


def latencies_ms(seconds: Sequence[float]) -> dict[str, float]:
    """What half, 99 in 100 and all of them took at the most, in ms; nothing of none."""
    ordered = sorted(seconds)
    return {
        name: round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1_000, 1)
        for name, share in _SHARES.items()
        if ordered
    }


def table_of_loads(result: Mapping[str, Any]) -> str:
    """The figures of the loads side by side, and the rest of the result beneath."""
    loads = {name: result[name] for name in result["runs"]}
    names = dict.fromkeys(name for figures in loads.values() for name in figures)
    lines = [f"{'medians':<32}" + "".join(f"{load:>14}" for load in loads)]
    lines += [
        f"{name:<32}" + "".join(f"{figures.get(name, '-')!s:>14}" for figures in loads.values()) for name in names
    ]
    for section in (name for name in result if name not in loads):
        lines += ["", section, *(f"  {name:<30}{figure}" for name, figure in result[section].items())]
    return "\n".join(lines)
