"""What a subscription was invoiced for each billing period, beside what its events come to.

What the written sequences of a period must have charged follows from the places of its events. Where forwarded events
or voids are among them, no record says into which sequence each fell: then it is what the closed periods charge, as
long as the worker's own state of the period says that usage waits for the next sequence; and when nothing waits, all of
it.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from aggregator.audit.amounts import EXACT, ZERO
from aggregator.audit.billing import Bill, Charged
from aggregator.audit.catalog import Plan, Subscription
from aggregator.audit.copies import Copies, Row
from aggregator.audit.counting import Counted, PeriodKey, Sum
from aggregator.audit.invoices import MILLISECOND_US, invoice_id_of
from aggregator.audit.periods import Period
from aggregator.audit.recounted import InvoiceRecount, MeterRecount, PeriodRecount, Usage
from aggregator.audit.totals import State

BY_HAND: Final = "MANUAL"
"""Invoices that the closer does not write: the invoicing of a plan, and the source of an invoice."""


class InvoiceRow(NamedTuple):
    """An invoice in Postgres; its start is in µs."""

    id: str
    subscription_id: str
    source: str
    status: str
    amount: str
    currency: str
    start: int | None
    sequence: int | None
    first_offset: int | None
    last_offset: int | None


class InvoicedPeriods:
    """Puts both beside each other. `passed` is the offset up to which the closer has written invoices."""

    def __init__(
        self,
        subscription: Subscription,
        counted: Counted,
        charged: Mapping[PeriodKey, Charged],
        states: Mapping[PeriodKey, State],
        copies: Copies,
        passed: int,
    ) -> None:
        self._subscription = subscription
        self._counted = counted
        self._charged = charged
        self._states = states
        self._copies = copies
        self._passed = passed
        self._rows: dict[int, list[InvoiceRow]] = {}

    def run(self, invoices: Iterable[Row], at: int | None) -> list[PeriodRecount]:
        """The period that holds a moment (ms), or all that have usage, were closed or have an invoice."""
        calendar = self._subscription.calendar
        for row in map(InvoiceRow._make, invoices):
            if row.start is not None:
                start = calendar.period_at(row.start // MILLISECOND_US).start
                self._rows.setdefault(start, []).append(row)
        if at is not None:
            return [self._period(calendar.period_at(at))]
        starts = {start for _, start in (*self._counted.times, *self._charged)} | self._rows.keys()
        return [self._period(calendar.period_at(start)) for start in sorted(starts)]

    def _period(self, period: Period) -> PeriodRecount:
        key = (self._subscription.id, period.start)
        plan = self._subscription.plan_of(period.start)
        bills = self._charged.get(key, Charged()).bills
        found = PeriodRecount(
            start=period.start,
            end=period.end,
            plan_id=plan.id,
            pricing_type=plan.pricing_type,
            invoicing=plan.invoicing,
            currency=plan.currency,
            sequences=len(bills),
            offsets=self._offsets(key),
        )
        rows = self._rows.get(period.start, [])
        found.meters = self._meters(key, plan, bills, [row for row in rows if row.source != BY_HAND])
        found.invoices = [*self._invoices(bills, rows)]
        return found

    def _offsets(self, key: PeriodKey) -> tuple[int, int] | None:
        spreads = [spread for (period, _), spread in self._counted.ranges.items() if period == key]
        if not spreads:
            return None
        return min(spread.first for spread in spreads), max(spread.last for spread in spreads)

    def _meters(
        self, key: PeriodKey, plan: Plan, bills: Sequence[Bill], rows: Sequence[InvoiceRow]
    ) -> list[MeterRecount]:
        is_by_hand = plan.invoicing == BY_HAND
        written = [bill for bill in bills if is_by_hand or bill.sequence.offset < self._passed]
        totals = {total.meter: of for total, of in self._counted.totals.items() if total[:2] == key}
        invoiced = self._invoiced(rows)
        closed = {meter for bill in bills for meter in bill.sequence.lines}
        found = []
        for meter in sorted(totals.keys() | invoiced.keys() | closed):
            total = _priced(totals.get(meter, Sum()), plan, meter)
            recounted = self._recounted(key, plan, meter, total, written, len(bills))
            charged = None if is_by_hand and not invoiced else invoiced.get(meter, Usage())
            found.append(MeterRecount(meter, recounted, charged, total.minus(recounted)))
        return found

    def _recounted(
        self, key: PeriodKey, plan: Plan, meter: str, total: Usage, written: Sequence[Bill], sequences: int
    ) -> Usage:
        """What the written sequences must have charged of a meter."""
        if key not in self._counted.blurred:
            parts = [self._counted.lines.get((key, bill.sequence.number), {}).get(meter, Sum()) for bill in written]
            return _priced(_sum(parts), plan, meter)
        lines = [bill.sequence.lines[meter] for bill in written if meter in bill.sequence.lines]
        closed = _priced(_sum(Sum(line.quantity, line.events) for line in lines), plan, meter)
        state = self._states.get(key)
        is_waiting = len(written) < sequences or not written or (state is not None and state.first_at is not None)
        return closed if is_waiting or closed.amount == total.amount else total

    def _invoiced(self, rows: Iterable[InvoiceRow]) -> dict[str, Usage]:
        """What all invoices together say of each meter."""
        found: dict[str, Usage] = {}
        for row in rows:
            for meter, quantity, _, amount, events in self._copies.select("lines", row.id):
                line = Usage(Decimal(quantity), events, Decimal(amount))
                found[meter] = found.get(meter, Usage()).plus(line)
        return found

    def _invoices(self, bills: Sequence[Bill], rows: Sequence[InvoiceRow]) -> Iterable[InvoiceRecount]:
        due = {invoice_id_of(bill): bill for bill in bills if bill.is_invoiced}
        for row in rows:
            bill = due.pop(row.id, None)
            is_by_hand = row.source == BY_HAND
            amount = None if is_by_hand else ZERO if bill is None else bill.amount
            offsets = (row.first_offset, row.last_offset)
            yield InvoiceRecount(row.sequence, row.id, row.status, Decimal(row.amount), amount, row.currency, *offsets)
        for invoice_id, bill in due.items():
            document = bill.sequence.document
            is_due = bill.sequence.offset < self._passed
            yield InvoiceRecount(
                bill.sequence.number,
                invoice_id if is_due else None,
                None,
                None,
                bill.amount,
                document["currency"],
                document["firstOffset"],
                document["lastOffset"],
            )


def _priced(of: Sum, plan: Plan, meter: str) -> Usage:
    is_by_usage = plan.pricing_type == "USAGE_BASED"
    return Usage(of.quantity, of.events, plan.price(meter).cost(of.quantity) if is_by_usage else ZERO)


def _sum(parts: Iterable[Sum]) -> Sum:
    found = Sum()
    for part in parts:
        found.quantity = EXACT.add(found.quantity, part.quantity)
        found.events += part.events
    return found
