"""What each closed period must say, and what it must cost: from the events, the plan in the catalog, and the sequences
before it (contract rules 6 to 8)."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from aggregator.audit.amounts import EXACT, ZERO, total_of
from aggregator.audit.catalog import Catalog, Plan, Subscription, plan_id_of
from aggregator.audit.closed import ClosedPeriods, Line, Sequence
from aggregator.audit.counting import Counted, PeriodKey, Sum
from aggregator.audit.homes import home_of
from aggregator.audit.periods import Period
from aggregator.audit.prices import of_each_unit
from aggregator.audit.report import Check, Findings
from aggregator.audit.times import time_text

NOTHING_CHARGED: Final = (ZERO, 0, ZERO)


@dataclass(slots=True, frozen=True)
class BilledLine:
    """A line of an invoice; `unit_price` is None where there is no single one to show."""

    meter: str
    quantity: Decimal
    unit_price: Decimal | None
    amount: Decimal
    events: int


@dataclass(slots=True, frozen=True)
class Bill:
    """What a sequence of a closed period costs. Without lines to explain it where it is a flat amount."""

    sequence: Sequence
    amount: Decimal
    lines: list[BilledLine]
    is_invoiced: bool


@dataclass(slots=True)
class Charged:
    """What all sequences of a period have charged: of each meter quantity, events and amount, and the sum issued."""

    meters: dict[str, tuple[Decimal, int, Decimal]] = field(default_factory=dict)
    issued: Decimal = ZERO
    bills: list[Bill] = field(default_factory=list)


class Billing:
    """Compares the closed periods of a partition, and prices them anew."""

    def __init__(
        self, closed: ClosedPeriods, counted: Counted, catalog: Catalog, partitions: int, findings: Findings
    ) -> None:
        self._closed = closed
        self._counted = counted
        self._catalog = catalog
        self._partitions = partitions
        self._findings = findings

    def run(self) -> dict[PeriodKey, Charged]:
        """What was charged in each period that was closed."""
        latest: dict[str, PeriodKey] = {}
        for period in self._closed.periods:
            if period not in self._counted.times:
                latest[period[0]] = max(period, latest.get(period[0], period))
        for period in latest.values():
            self._find_gaps(period)
        return {period: self._charge(period, sequences) for period, sequences in self._closed.periods.items()}

    def _find_gaps(self, latest: PeriodKey) -> None:
        """Of a subscription's life, the periods without usage are due one after the other. So where one was closed, all
        before it were."""
        subscription = self._catalog.subscription(latest[0])
        if subscription is None:
            return
        start = latest[1]
        while subscription.lives_in(period := subscription.calendar.period_at(start - 1)):
            start = period.start
            key = (latest[0], start)
            if subscription.plan_of(start).pricing_type == "ONE_TIME" and not subscription.begins_plan_in(period):
                continue
            if key not in self._closed.periods and key not in self._counted.times:
                self._findings.disagree(
                    Check.CLOSED_PERIODS,
                    "A period of the subscription's life was not closed, and a later one without usage was.",
                    partition=self._closed.partition,
                    key=[latest[0], time_text(start), 0],
                )

    def _charge(self, period: PeriodKey, sequences: list[Sequence]) -> Charged:
        charged = Charged()
        subscription = self._catalog.subscription(period[0])
        is_home = home_of(period[0], self._partitions) == self._closed.partition
        for number, sequence in enumerate(sequences):
            plan = self._catalog.plan(sequence.document["planId"])
            if subscription is None or plan is None or not is_home:
                what = "A period was closed of a subscription that is not at home here, or not in the catalog."
                self._disagree(Check.CLOSED_PERIODS, what, sequence)
                continue
            self._compare_with_catalog(sequence, subscription, plan)
            self._compare_lines(period, number, sequence, charged)
            self._add(charged, sequence, plan)
        return charged

    def _compare_with_catalog(self, sequence: Sequence, subscription: Subscription, plan: Plan) -> None:
        document, newest = sequence.document, subscription.document
        known = subscription.entry.versions_known(sequence.appended_at)
        plans = {plan_id_of(version.document, sequence.start) for version in known}
        expected = {
            "serviceId": newest["serviceId"],
            "userId": newest["userId"],
            "planId": plan.id if plan.id in plans else sorted(plans),
            "pricingType": plan.pricing_type,
            "invoicing": plan.invoicing,
            "currency": plan.currency,
            "amount": plan.amount,
            "unitPrices": {meter: price for meter, price in plan.unit_prices.items() if meter in sequence.lines},
            "prices": {meter: price for meter, price in plan.prices.items() if meter in sequence.lines},
            "period": subscription.calendar.period_at(sequence.start),
        }
        found = {name: document.get(name) for name in expected} | {
            "amount": sequence.amount,
            "unitPrices": sequence.unit_prices,
            "prices": sequence.prices,
            "period": Period(sequence.start, sequence.end),
        }
        for name, value in expected.items():
            self._expect(Check.CLOSED_PERIODS, f"Its {name} is not the catalog's.", value, found[name], sequence)
        if sequence.appended_at < sequence.end:
            self._disagree(Check.CLOSED_PERIODS, "The period was closed before it had ended.", sequence)
        if not self._is_due(sequence, subscription, plan):
            what = "This sequence had nothing to charge, and the subscription none of its life in the period."
            self._disagree(Check.CLOSED_PERIODS, what, sequence)

    @staticmethod
    def _is_due(sequence: Sequence, subscription: Subscription, plan: Plan) -> bool:
        """Whether there was a reason to close (rule 6): usage, or a share in the subscription's life."""
        period = Period(sequence.start, sequence.end)
        if plan.pricing_type == "ONE_TIME":
            return sequence.number == 0 and subscription.begins_plan_in(period)
        if sequence.number > 0:
            return plan.pricing_type == "USAGE_BASED" and bool(sequence.lines)
        return bool(sequence.lines) or subscription.lives_in(period)

    def _compare_lines(self, period: PeriodKey, number: int, sequence: Sequence, charged: Charged) -> None:
        """Each line with the events that it charges, and what it says was charged before."""
        for line in sequence.lines.values():
            before = charged.meters.get(line.meter, NOTHING_CHARGED)
            what = f"What the line of {line.meter!r} says was charged before is not what was."
            self._expect(Check.LINES, what, before, line.before, sequence)
        spread = self._counted.ranges.get((period, number))
        offsets = (None, None) if spread is None else (spread.first, spread.last)
        found = (sequence.document["firstOffset"], sequence.document["lastOffset"])
        self._expect(Check.LINES, "The offsets are not those of its first and last event.", offsets, found, sequence)
        if period in self._counted.blurred:
            return
        events = self._counted.lines.get((period, number), {})
        for meter in sorted(events.keys() | sequence.lines.keys()):
            self._expect(
                Check.LINES,
                f"The line of {meter!r} is not the sum of its events (quantity, events).",
                _sum(events.get(meter)),
                _sum(sequence.lines.get(meter)),
                sequence,
            )

    @staticmethod
    def _add(charged: Charged, sequence: Sequence, plan: Plan) -> None:
        is_by_usage = plan.pricing_type == "USAGE_BASED"
        lines = []
        for line in sequence.lines.values():
            quantity, events, amount = charged.meters.get(line.meter, NOTHING_CHARGED)
            price = plan.price(line.meter) if is_by_usage else of_each_unit(ZERO)
            through = EXACT.add(quantity, line.quantity)
            cost = price.cost(through)
            billed = EXACT.subtract(cost, amount)
            lines.append(BilledLine(line.meter, line.quantity, price.shown(through), billed, line.events))
            charged.meters[line.meter] = (through, events + line.events, cost)
        amount = total_of([line.amount for line in lines]) if is_by_usage else plan.amount
        charged.issued = EXACT.add(charged.issued, amount)
        is_nothing = sequence.number > 0 and not any(line.amount for line in lines)
        is_invoiced = plan.invoicing == "AUTOMATIC" and not is_nothing
        charged.bills.append(Bill(sequence, amount, lines, is_invoiced))

    def _expect(self, check: Check, what: str, expected: Any, found: Any, sequence: Sequence) -> None:
        place = {"partition": self._closed.partition, "offset": sequence.offset, "key": sequence.label}
        self._findings.expect(check, what, expected, found, **place)

    def _disagree(self, check: Check, what: str, sequence: Sequence) -> None:
        place = {"partition": self._closed.partition, "offset": sequence.offset, "key": sequence.label}
        self._findings.disagree(check, what, **place)


def _sum(of: Sum | Line | None) -> tuple[Decimal, int]:
    return (ZERO, 0) if of is None else (of.quantity, of.events)
