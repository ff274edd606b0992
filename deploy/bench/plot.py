"""The cost curve as a picture: throughput, and beneath it memory, by the size of a batch and by the number of stored
keys.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter

from deploy.bench.curve import USUAL, Curve
from schemas.errors import OperatorError

INCHES: Final = (10.0, 6.0)
DOTS_PER_INCH: Final = 120

BLUE, ORANGE = "#0072B2", "#D55E00"
"""Of Okabe and Ito's palette, which those see apart who see red and green alike."""

GREY: Final = "#555555"
LINEAR_KEYS: Final = 500_000
"""Below this the axis of stored keys is linear, so that it has a place for 0."""

HEADROOM: Final = 1.15
MARGIN: Final = 1.3
"""On a logarithm, a factor."""

HALO: Final = [withStroke(linewidth=3, foreground="white")]
"""So that a line behind a number does not cross it out."""

Drawn = Sequence[tuple[int, dict[str, Any]]]


def draw(curve: Curve, file: Path) -> None:
    """Draw it into a PNG file. Raises OperatorError where the point is missing in which the lines meet."""
    if USUAL not in curve.measured:
        raise OperatorError(f"The point of {USUAL} is not in the file; measure it with 'tally bench curve'.")
    figure = Figure(figsize=INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    rates, memory = figure.subplots(2, 2, sharex="col", sharey="row", height_ratios=(3, 2))
    by_batch, by_keys = curve.along("batch_records"), curve.along("stored_keys")
    for column, drawn in enumerate((by_batch, by_keys)):
        _series(rates[column], drawn, "events_per_s", BLUE, "o", thousands)
        _series(memory[column], drawn, "resident_peak_mib", ORANGE, "s", str)
    for row, name in ((rates, "events_per_s"), (memory, "resident_peak_mib")):
        row[0].set_ylim(0, HEADROOM * max(figures[name] for _, figures in by_batch + by_keys))
    _scale_by_batch(memory[0], [value for value, _ in by_batch])
    _scale_by_keys(memory[1], [value for value, _ in by_keys])
    rates[0].set_ylabel("events per second")
    rates[0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: thousands(value)))
    rates[0].set_title("on an empty store", fontsize=10)
    rates[1].set_title(f"with batches of at most {USUAL.batch_records:,} records", fontsize=10)
    memory[0].set_ylabel("memory at most, MiB")
    figure.suptitle(_title(curve), fontsize=11, color=GREY)
    figure.savefig(file, format="png")


def thousands(number: float) -> str:
    """A count in short: 0, 62.5 k, 1.5 M."""
    if number >= 1_000_000:
        return f"{number / 1_000_000:.3g} M"
    return f"{number / 1_000:.3g} k" if number >= 1_000 else f"{number:g}"


def _series(axes: Axes, drawn: Drawn, name: str, color: str, marker: str, text: Callable[[Any], str]) -> None:
    """A line through what was measured, with each figure beside its mark."""
    points = [(value, figures[name]) for value, figures in drawn]
    axes.plot(*zip(*points, strict=True), color=color, marker=marker)
    for value, figure in points:
        label = axes.annotate(text(figure), (value, figure), (0, 8), textcoords="offset points", ha="center")
        label.set(fontsize=9, color=color, path_effects=HALO)
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)


def _scale_by_batch(axes: Axes, values: Sequence[int]) -> None:
    axes.set_xlabel("records in a batch at most")
    axes.set_xscale("log")
    axes.set_xlim(values[0] / MARGIN, values[-1] * MARGIN)
    _ticks(axes, values)


def _scale_by_keys(axes: Axes, values: Sequence[int]) -> None:
    axes.set_xlabel("keys in the store before")
    axes.set_xscale("symlog", linthresh=LINEAR_KEYS)
    axes.set_xlim(-LINEAR_KEYS / 4, max(values[-1], LINEAR_KEYS) * MARGIN)
    _ticks(axes, values)


def _ticks(axes: Axes, values: Sequence[int]) -> None:
    """One at each value that was measured, and no others."""
    axes.set_xticks(values, [thousands(value) for value in values])
    axes.set_xticks([], minor=True)


def _title(curve: Curve) -> str:
    *_, latest = (entry["circumstances"] for entry in curve.measured.values())
    usual = f"{USUAL.partitions} partitions, {USUAL.subscriptions:,} subscriptions"
    return f"One worker process, {usual}; {latest['cores']} cores ({latest['cpu']}), commit {latest['commit']}"
