"""The usage of the last quarter of an hour, by service and meter, in steps of five seconds.

A window is a whole number of steps and ends with a step, so that it is as long as it says. Times are in ms; a record
belongs to the step of its append time, and comes to be read a while later, which `settled_end` allows for.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from schemas.timestamps import SECOND_MS
from schemas.usage_rate import OTHER_METERS, UsageRate

STEP_MS: Final = 5 * SECOND_MS
KEPT_MS: Final = 900 * SECOND_MS
SETTLE_MS: Final = 3 * SECOND_MS
"""A batch takes well under a second to commit, and a fetch waits 1.5 s at the most for company."""

Pair = tuple[str, str]
"""Service and meter."""


@dataclass(slots=True)
class Usage:
    """Accepted events, and their quantity in millionths."""

    event_count: int = 0
    quantity: int = 0

    def add(self, event_count: int, quantity: int) -> None:
        """More of it."""
        self.event_count += event_count
        self.quantity += quantity


def settled_end(at: int) -> int:
    """The end of the newest step whose records have all been read by now, unless the reader is behind."""
    return (at - SETTLE_MS) // STEP_MS * STEP_MS


class Rates:
    """What was accepted of at most `pairs_max` meters; of services that have more, the rest is gathered under the meter
    "", and beyond twice as many under the service "" too. The `reserved` have a place of their own at any time."""

    def __init__(self, pairs_max: int, reserved: Iterable[Pair] = ()) -> None:
        self._pairs_max = pairs_max
        self._reserved = frozenset(reserved)
        self._steps: dict[Pair, dict[int, Usage]] = {}

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, rate: UsageRate, at: int) -> None:
        """Add what a batch accepted, at its append time."""
        steps = self._steps.setdefault(self._pair(rate), {})
        steps.setdefault(at // STEP_MS * STEP_MS, Usage()).add(rate.event_count, rate.quantity)

    def expire(self, at: int) -> None:
        """Forget all steps that no window ending at `at` or later can reach."""
        kept = settled_end(at) - KEPT_MS
        for pair, steps in list(self._steps.items()):
            for start in [start for start in steps if start < kept]:
                del steps[start]
            if not steps:
                del self._steps[pair]

    def within(self, start: int, end: int) -> dict[Pair, Usage]:
        """The usage in [start, end), both ends of steps; only of those that had any."""
        sums: dict[Pair, Usage] = {}
        for pair, steps in self._steps.items():
            for at, usage in steps.items():
                if start <= at < end:
                    sums.setdefault(pair, Usage()).add(usage.event_count, usage.quantity)
        return sums

    def series(self, start: int, end: int) -> list[int]:
        """The events of each step in [start, end), of all services together."""
        counts = dict.fromkeys(range(start, end, STEP_MS), 0)
        for steps in self._steps.values():
            for at in steps.keys() & counts.keys():
                counts[at] += steps[at].event_count
        return list(counts.values())

    def _pair(self, rate: UsageRate) -> Pair:
        pair, others = (rate.service_id, rate.meter), (rate.service_id, OTHER_METERS)
        if pair in self._steps or pair in self._reserved or len(self._steps) < self._pairs_max:
            return pair
        if others in self._steps or len(self._steps) < 2 * self._pairs_max:
            return others
        return ("", OTHER_METERS)


def total_of(usages: Mapping[Pair, Usage]) -> Usage:
    """All of it together."""
    total = Usage()
    for usage in usages.values():
        total.add(usage.event_count, usage.quantity)
    return total
