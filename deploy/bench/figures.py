"""Figures of several runs made into one, and of many latencies into three."""

from collections.abc import Mapping, Sequence
from statistics import median_low
from typing import Final

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
