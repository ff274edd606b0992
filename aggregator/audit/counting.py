"""The sums of the events that count: for each running total, and for each line that was closed.

Which sequence of a closed period charges an event follows from where the event stands: those of the partition's own log
up to the `lastOffset` of a sequence, and after that of the one before. Of forwarded events and of voids no record says
into which sequence they fell. A period that has any of them is blurred: its lines are compared in total and not one by
one.
"""

import sqlite3
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from aggregator.audit.amounts import EXACT, ZERO
from aggregator.audit.places import id_of
from aggregator.audit.report import Check, Findings
from aggregator.audit.scratch import queries
from aggregator.audit.sources import OWN, TotalKey
from aggregator.audit.times import time_text

PeriodKey = tuple[str, int]
"""Subscription, and start of the billing period in ms."""

_SQL = queries("partition.sql")


@dataclass(slots=True)
class Sum:
    """A quantity, and of how many events."""

    quantity: Decimal = ZERO
    events: int = 0

    def add(self, quantity: Decimal) -> None:
        """One event more."""
        self.quantity = EXACT.add(self.quantity, quantity)
        self.events += 1


@dataclass(slots=True)
class Range:
    """The first and the last of some events in the partition's own log: offsets, and times (ms)."""

    first: int
    last: int
    first_at: int
    last_at: int

    def extend(self, seen: int, at: int) -> None:
        """One event more, which comes after the others."""
        self.last = seen
        self.last_at = max(self.last_at, at)


@dataclass(slots=True)
class Counted:
    """What a partition's events come to. Lines and ranges are by sequence; that after the last closed one has what is
    not charged yet."""

    totals: defaultdict[TotalKey, Sum] = field(default_factory=lambda: defaultdict(Sum))
    lines: defaultdict[tuple[PeriodKey, int], dict[str, Sum]] = field(default_factory=lambda: defaultdict(dict))
    ranges: dict[tuple[PeriodKey, int], Range] = field(default_factory=dict)
    times: dict[PeriodKey, tuple[int, int]] = field(default_factory=dict)
    """When the events and voids of a period were asked for: the first and the last time (ms)."""
    blurred: set[PeriodKey] = field(default_factory=set)

    def add(
        self, total: TotalKey, quantity: Decimal, source: int, seen: int, at: int, voided_at: int | None, sequence: int
    ) -> None:
        """One event more, in the order of its source."""
        period = (total.subscription_id, total.start)
        self._note_times(period, at, at if voided_at is None else voided_at)
        running = self.totals[total]
        if voided_at is None:
            running.add(quantity)
        if source != OWN or voided_at is not None:
            self.blurred.add(period)
        if source == OWN:
            self.lines[period, sequence].setdefault(total.meter, Sum()).add(quantity)
            found = self.ranges.get((period, sequence))
            if found is None:
                self.ranges[period, sequence] = Range(seen, seen, at, at)
            else:
                found.extend(seen, at)

    def _note_times(self, period: PeriodKey, first: int, last: int) -> None:
        known = self.times.get(period)
        self.times[period] = (first, last) if known is None else (min(first, known[0]), max(last, known[1]))


def count(
    database: sqlite3.Connection,
    totals: Mapping[TotalKey, int],
    charged_to: Mapping[PeriodKey, Sequence[int]],
    partition: int,
    findings: Findings,
) -> Counted:
    """Count all events, and compare which sequence each says that it is charged by. `charged_to` are the last offsets
    of the sequences that closed each period."""
    keys = list(totals)
    counted = Counted()
    for number, quantity, source, seen, at, voided_at, place, *told in database.execute(_SQL["counted"]):
        total = keys[number]
        ends = charged_to.get((total.subscription_id, total.start), ())
        sequence = bisect_left(ends, seen)
        counted.add(total, Decimal(quantity), source, seen, at, voided_at, sequence)
        # A forwarded event may be of any sequence that there is, or of the next one.
        possible = (sequence,) if source == OWN else range(len(ends) + 1)
        for found in told:
            if found is not None and found not in possible:
                what = f"The event {id_of(place)} says that another sequence charges it than the one that does."
                key = [total.subscription_id, time_text(total.start), found]
                findings.disagree(Check.LINES, what, partition=partition, id=id_of(place), key=key, expected=sequence)
    return counted
