"""`tally bench curve`: what throughput and memory depend on. The benchmark of the engine, again and again, with one
thing varied at a time and everything else as usual.

The file has a point for each, in JSON, and is written anew after every one. So whoever stops this goes on where it was.
"""

import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from aggregator.settings import AggregatorSettings
from deploy.bench import engine
from deploy.bench.workload import Workload
from schemas.errors import OperatorError

Measure = Callable[[Workload, engine.Options], Awaitable[dict[str, Any]]]


@dataclass(frozen=True)
class Point:
    """What is varied, as usual where nothing else is said."""

    stored_keys: int = 0
    partitions: int = 8
    subscriptions: int = 1_000
    batch_records: int = AggregatorSettings.model_fields["batch_records_max"].default

    def __str__(self) -> str:
        return ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in asdict(self).items())


USUAL = Point()
DIMENSIONS = tuple(field.name for field in fields(Point))


@dataclass(frozen=True)
class Usage:
    """How each point is measured."""

    events: int
    warm_up: int
    seed: int
    runs: int

    async def measured(self, point: Point, measure: Measure) -> dict[str, Any]:
        """The point with its figures, and where they were measured. Raises OperatorError where a count is wrong."""
        workload = Workload(
            self.events, point.subscriptions, point.partitions, self.seed, self.warm_up, point.stored_keys
        )
        result = await measure(workload, engine.Options(runs=self.runs, batch_records=point.batch_records))
        if not result["engine"]["audited"]:
            raise OperatorError(f"What was counted at {point} is not what was sent; its figures are worth nothing.")
        return {**asdict(point), "engine": result["engine"], "circumstances": result["circumstances"]}


def points(varied: dict[str, list[int]]) -> Iterator[Point]:
    """The usual point, and for each value of each dimension the one that has it and is as usual otherwise."""
    found = {USUAL} | {replace(USUAL, **{name: value}) for name, values in varied.items() for value in values}
    yield from sorted(found, key=lambda point: (point.stored_keys, point != USUAL, str(point)))


@dataclass(frozen=True)
class Curve:
    """What was measured."""

    usage: Usage
    measured: dict[Point, dict[str, Any]]

    def along(self, dimension: str) -> list[tuple[int, dict[str, Any]]]:
        """The values of a dimension with the engine's figures, in order, everything else as usual."""
        usual = getattr(USUAL, dimension)
        return sorted(
            (getattr(point, dimension), entry["engine"])
            for point, entry in self.measured.items()
            if replace(point, **{dimension: usual}) == USUAL
        )

    def save(self, file: Path) -> None:
        """Write it, whole or not at all."""
        document = {"usage": asdict(self.usage), "points": list(self.measured.values())}
        beside = file.with_name(f"{file.name}.new")
        beside.write_text(json.dumps(document, indent=1) + "\n")
        beside.replace(file)


def read(file: Path) -> Curve:
    """The curve of a file. Raises OperatorError where there is none."""
    try:
        text = file.read_text()
    except OSError as error:
        raise OperatorError(f"{file} can't be read ({error.strerror}); name a file of 'tally bench curve'.") from error
    try:
        document = json.loads(text)
        measured = {Point(**{name: entry[name] for name in DIMENSIONS}): entry for entry in document["points"]}
        return Curve(Usage(**document["usage"]), measured)
    except (ValueError, LookupError, TypeError) as error:
        raise OperatorError(f"{file} is no file of 'tally bench curve'; name another.") from error


def _begun(file: Path, usage: Usage) -> Curve:
    """What the file has, which is there afterwards: that it can't be written is known before anything is measured."""
    curve = read(file) if file.exists() else Curve(usage, {})
    if curve.usage != usage:
        raise OperatorError(f"The points in {file} were measured with {curve.usage}; use the same, or another --file.")
    try:
        curve.save(file)
    except OSError as error:
        raise OperatorError(f"{file} can't be written ({error.strerror}); name another --file.") from error
    return curve


async def bench(varied: dict[str, list[int]], usage: Usage, file: Path, measure: Measure = engine.bench) -> Curve:
    """Measure all points that the file does not have yet. Raises OperatorError where its points are of other usage,
    or it can't be written."""
    curve = _begun(file, usage)
    missing = [point for point in points(varied) if point not in curve.measured]
    for number, point in enumerate(missing, start=1):
        print(f"point {number} of {len(missing)}: {point}", file=sys.stderr)
        curve.measured[point] = await usage.measured(point, measure)
        curve.save(file)
    return curve
