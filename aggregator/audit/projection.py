"""The projector's copies in Postgres beside the topics, as these were up to the offsets that stand beside the rows.

Compaction may have taken the record that a row was copied from, where a later one of the same key is there: such a row
can't be compared, and is not counted as compared.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from aggregator.audit.copies import Copies
from aggregator.audit.counting import PeriodKey
from aggregator.audit.positions import Chain
from aggregator.audit.report import Check, Findings
from aggregator.audit.totals import PERIOD_METER, Kept, MeterKey, State, Total

MILLISECOND_US: Final = 1_000
COPIED_COUNTS: Final = ("received", "accepted", "duplicate", "rejected", "forwarded")


class ProjectionComparison:
    """Compares the copies of one partition."""

    def __init__(self, partition: int, copies: Copies, findings: Findings) -> None:
        self._partition = partition
        self._copies = copies
        self._findings = findings

    def compare_totals(self, kept: Kept) -> None:
        """Each row of usage_totals is the last record of its key that was copied, and each such record has a row."""
        missing = dict(kept.copied)
        for row in self._copies.select("usage_totals_of", self._partition):
            subscription_id, start_us, meter = row[:3]
            start, finer = divmod(start_us, MILLISECOND_US)
            key = MeterKey(subscription_id, start, meter)
            total = None if finer else missing.pop(key, None)
            if total is not None:
                self._compare_total(key, total, row)
            elif finer or key not in kept.totals:
                self._disagree("A row of usage_totals has no total.", key)
        for key in missing:
            self._disagree("A total has no row in usage_totals.", key)

    def compare_periods(self, kept: Kept) -> None:
        """Each row of billing_periods is the last state of its period that was copied, and each such state has a
        row."""
        missing = dict(kept.copied_states)
        for subscription_id, start_us, *row in self._copies.select("billing_periods_of", self._partition):
            start, finer = divmod(start_us, MILLISECOND_US)
            period = (subscription_id, start)
            state = None if finer else missing.pop(period, None)
            if state is not None:
                self._compare_state(period, state, row)
            elif finer or period not in kept.states:
                self._disagree("A row of billing_periods has no state.", MeterKey(*period, PERIOD_METER))
        for period in missing:
            self._disagree("The state of a period has no row in billing_periods.", MeterKey(*period, PERIOD_METER))

    def compare_ledger(self, chain: Chain) -> None:
        """The row of the ledger is the last position that was copied."""
        row = next(iter(self._copies.select("ledger_of", self._partition)), None)
        link = chain.copied
        if link is None:
            if row is not None and chain.last is None:
                what = "A row of ledger has no position."
                self._findings.disagree(Check.PROJECTION, what, partition=self._partition, found=list(row))
            return
        counts = [link.ledger[name] for name in COPIED_COUNTS]
        expected = [link.positions["usage-events"], *counts, link.appended_at * MILLISECOND_US]
        what = "The row of ledger is not the position that it was copied from (next offset, counts, time)."
        found = None if row is None else list(row)
        self._findings.expect(Check.PROJECTION, what, expected, found, partition=self._partition, offset=link.offset)

    def _compare_total(self, key: MeterKey, total: Total, row: tuple[Any, ...]) -> None:
        end_us, quantity, events, updated_at = row[3:]
        expected: Mapping[str, Any] = {
            "period_end": None if total.end is None else total.end * MILLISECOND_US,
            "quantity": total.quantity,
            "event_count": total.events,
            "updated_at": total.appended_at * MILLISECOND_US,
        }
        found = {"period_end": end_us, "quantity": Decimal(quantity), "event_count": events, "updated_at": updated_at}
        self._findings.expect(
            Check.PROJECTION,
            "A row of usage_totals is not the total that it was copied from.",
            expected,
            found,
            partition=self._partition,
            offset=total.offset,
            key=key.label,
        )

    def _compare_state(self, period: PeriodKey, state: State, row: list[Any]) -> None:
        end = None if state.end is None else state.end * MILLISECOND_US
        expected = [end, state.closed, state.next_sequence, state.appended_at * MILLISECOND_US]
        self._findings.expect(
            Check.PROJECTION,
            "A row of billing_periods is not the state that it was copied from (end, closed, next sequence, time).",
            expected,
            row,
            partition=self._partition,
            offset=state.offset,
            key=MeterKey(*period, PERIOD_METER).label,
        )

    def _disagree(self, what: str, key: MeterKey) -> None:
        self._findings.disagree(Check.PROJECTION, what, partition=self._partition, key=key.label)
