"""The running totals and the states of billing periods, as `usage-totals` holds them, beside what was counted."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, NamedTuple

from aggregator.audit.amounts import own_decimal
from aggregator.audit.billing import NOTHING_CHARGED, Charged
from aggregator.audit.canonical import own_document
from aggregator.audit.catalog import Catalog, Subscription
from aggregator.audit.closed import charge_of
from aggregator.audit.counting import Counted, PeriodKey
from aggregator.audit.evidence import Record
from aggregator.audit.periods import Period
from aggregator.audit.report import Check, Findings
from aggregator.audit.sources import TotalKey
from aggregator.audit.times import optional_own_time, own_time, time_text

PERIOD_METER: Final = ""


class MeterKey(NamedTuple):
    """The key of a record; the meter "" is the period's own state."""

    subscription_id: str
    start: int
    meter: str

    @property
    def label(self) -> list[Any]:
        """What names it in a report."""
        return [self.subscription_id, time_text(self.start), self.meter]


class Total(NamedTuple):
    """The running total of a meter. `appended_at` is the append time of its record."""

    quantity: Decimal
    events: int
    end: int | None
    charged: tuple[Decimal, int, Decimal]
    offset: int
    appended_at: int


class State(NamedTuple):
    """The state of a billing period."""

    closed: bool
    next_sequence: int
    issued: Decimal
    end: int | None
    first_at: int | None
    last_at: int | None
    first_offset: int | None
    last_offset: int | None
    offset: int
    appended_at: int


@dataclass(slots=True)
class Kept:
    """What the topic says in the end, and what it said where Postgres had read it up to."""

    totals: dict[MeterKey, Total] = field(default_factory=dict)
    states: dict[PeriodKey, State] = field(default_factory=dict)
    copied: dict[MeterKey, Total] = field(default_factory=dict)
    copied_states: dict[PeriodKey, State] = field(default_factory=dict)

    def copy(self) -> None:
        """Postgres has read up to here."""
        self.copied, self.copied_states = dict(self.totals), dict(self.states)


def read_totals(records: Iterable[Record], copied_to: int, partition: int, findings: Findings) -> Kept:
    """Read the topic to its end; `copied_to` is the offset that Postgres had read up to."""
    kept = Kept()
    is_copied = False
    for record in records:
        if record.offset >= copied_to and not is_copied:
            kept.copy()
            is_copied = True
        try:
            subscription_id, start, meter = own_document(record.key)
            key = MeterKey(subscription_id, own_time(start), meter)
            document = own_document(record.value)
            if key.meter == PERIOD_METER:
                kept.states[key[:2]] = _state(document, record)
            else:
                kept.totals[key] = _total(document, record)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            what = f"A record of usage-totals is not one that a worker wrote: {error}."
            findings.disagree(Check.TOTALS, what, partition=partition, offset=record.offset, key=record.key)
    if not is_copied:
        kept.copy()
    return kept


def _total(document: dict[str, Any], record: Record) -> Total:
    return Total(
        own_decimal(document["quantity"]),
        document["eventCount"],
        optional_own_time(document["periodEnd"]),
        charge_of(document.get("charged")),
        record.offset,
        record.timestamp,
    )


def _state(document: dict[str, Any], record: Record) -> State:
    return State(
        closed=document["closed"],
        next_sequence=document["nextSequence"],
        issued=own_decimal(document["issued"]),
        end=optional_own_time(document["periodEnd"]),
        first_at=optional_own_time(document["firstAt"]),
        last_at=optional_own_time(document["lastAt"]),
        first_offset=document["firstOffset"],
        last_offset=document["lastOffset"],
        offset=record.offset,
        appended_at=record.timestamp,
    )


class TotalsComparison:
    """The totals and states of a partition beside what was counted and what was charged."""

    def __init__(
        self,
        partition: int,
        kept: Kept,
        counted: Counted,
        charged: dict[PeriodKey, Charged],
        catalog: Catalog,
        findings: Findings,
    ) -> None:
        self._partition = partition
        self._kept = kept
        self._counted = counted
        self._charged = charged
        self._catalog = catalog
        self._findings = findings

    def run(self) -> None:
        """Compare all of them."""
        expected: dict[PeriodKey, dict[str, TotalKey]] = {}
        for total in self._counted.totals:
            expected.setdefault((total.subscription_id, total.start), {})[total.meter] = total
        meters: dict[PeriodKey, set[str]] = {}
        for key in self._kept.totals:
            meters.setdefault(key[:2], set()).add(key.meter)
        for period in sorted(expected.keys() | meters.keys() | self._kept.states.keys() | self._charged.keys()):
            counted = expected.get(period, {})
            for meter in sorted(counted.keys() | meters.get(period, set())):
                self._compare_total(MeterKey(*period, meter), counted.get(meter))
            self._compare_state(period, sorted(meters.get(period, ())))

    def _compare_total(self, key: MeterKey, counted: TotalKey | None) -> None:
        found = self._kept.totals.get(key)
        offset = None if found is None else found.offset
        if found is None or counted is None:
            self._findings.compare(Check.TOTALS)
            what = "Events count, and have no total." if found is None else "A total has no events."
            self._disagree(Check.TOTALS, what, key, offset)
            return
        total = self._counted.totals[counted]
        self._expect(
            Check.TOTALS, "Its quantity is not the sum of its events.", total.quantity, found.quantity, key, offset
        )
        self._expect(Check.TOTALS, "Its eventCount is not that of its events.", total.events, found.events, key, offset)
        self._expect(Check.TOTALS, "Its periodEnd is not the calendar's.", counted.end, found.end, key, offset)
        charged = self._charged.get(key[:2], Charged()).meters.get(key.meter, NOTHING_CHARGED)
        what = "What it says was charged is not the sum of the closed lines (quantity, events, amount)."
        self._expect(Check.TOTALS, what, charged, found.charged, key, offset)

    def _compare_state(self, period: PeriodKey, meters: list[str]) -> None:
        key = MeterKey(*period, PERIOD_METER)
        state, charged = self._kept.states.get(period), self._charged.get(period, Charged())
        self._findings.compare(Check.PERIODS)
        subscription = self._catalog.subscription(period[0])
        if state is None or subscription is None:
            what = "The period has no state." if state is None else "Its subscription is not in the catalog."
            self._disagree(Check.PERIODS, what, key, None)
            return
        sequences, issued = len(charged.bills), charged.issued
        spread = self._counted.ranges.get((period, sequences))
        offsets = (None, None) if spread is None else (spread.first, spread.last)
        expected = {
            "periodEnd": (subscription.calendar.period_at(period[1]).end, state.end),
            "nextSequence": (sequences, state.next_sequence),
            "issued": (issued, state.issued),
            "firstOffset and lastOffset": (offsets, (state.first_offset, state.last_offset)),
        }
        for name, (value, found) in expected.items():
            self._expect(Check.PERIODS, f"Its {name} is not what was counted.", value, found, key, state.offset)
        for what in self._contradictions(period, state, subscription, meters):
            self._disagree(Check.PERIODS, what, key, state.offset)

    def _contradictions(
        self, period: PeriodKey, state: State, subscription: Subscription, meters: list[str]
    ) -> Iterator[str]:
        """What a state says, and can't be."""
        if state.next_sequence and not state.closed:
            yield "It was closed, and says that it was not."
        if (state.first_at is None) != (state.last_at is None):
            yield "It has only one of firstAt and lastAt."
        uncharged = [meter for meter in meters if self._is_uncharged(MeterKey(*period, meter))]
        if state.first_at is None:
            if uncharged and not state.closed:
                yield "It has usage to charge, and no time of it."
            if state.closed and any(self._would_cost(MeterKey(*period, meter), subscription) for meter in uncharged):
                yield "It has usage to charge, and waits for nothing."
            spans = Period(period[1], state.end)
            if state.closed and not state.next_sequence and self._must_be_invoiced(subscription, spans, uncharged):
                yield "It was closed, and has no sequence 0."
        elif not self._times_fit(period, state):
            yield "Its firstAt and lastAt are not those of the usage that it has to charge."

    def _is_uncharged(self, key: MeterKey) -> bool:
        total = self._kept.totals[key]
        return (total.quantity, total.events) != total.charged[:2]

    def _would_cost(self, key: MeterKey, subscription: Subscription) -> bool:
        """Whether an adjustment would have a line that is not 0 (rule 7): without one it waits for the next."""
        total, plan = self._kept.totals[key], subscription.plan_of(key.start)
        if plan.pricing_type != "USAGE_BASED":
            return False
        return plan.price(key.meter).cost(total.quantity) != total.charged[2]

    @staticmethod
    def _must_be_invoiced(subscription: Subscription, period: Period, uncharged: list[str]) -> bool:
        if subscription.plan_of(period.start).pricing_type == "ONE_TIME":
            return subscription.begins_plan_in(period)
        return bool(uncharged) or subscription.lives_in(period)

    def _times_fit(self, period: PeriodKey, state: State) -> bool:
        """The first and the last request since the latest close. Where a period is blurred, or had an adjustment of
        nothing, its events only bound them."""
        assert state.first_at is not None
        assert state.last_at is not None
        known = self._counted.times.get(period)
        if known is None or not known[0] <= state.first_at <= state.last_at <= known[1]:
            return False
        spread = self._counted.ranges.get((period, state.next_sequence))
        if period in self._counted.blurred or spread is None:
            return True
        is_first = state.first_at == spread.first_at if not state.closed else state.first_at >= spread.first_at
        return is_first and state.last_at == spread.last_at

    def _expect(self, check: Check, what: str, expected: Any, found: Any, key: MeterKey, offset: int | None) -> None:
        place = {"partition": self._partition, "offset": offset, "key": key.label}
        self._findings.expect(check, what, expected, found, **place)

    def _disagree(self, check: Check, what: str, key: MeterKey, offset: int | None) -> None:
        self._findings.disagree(check, what, partition=self._partition, offset=offset, key=key.label)
