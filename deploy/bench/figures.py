"""One figure of many latencies, and the figures of several loads side by side."""

from collections.abc import Mapping, Sequence
from typing import Any


def percentile_ms(seconds: Sequence[float], share: float) -> float:
    """What this share of them took at the most, in ms: one that was measured, or 0 where none was."""
    ordered = sorted(seconds)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1_000, 1) if ordered else 0.0


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
