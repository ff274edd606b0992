"""The closer's invoices in Postgres beside the closed periods: each period that the closer has passed has its one
invoice, and each invoice its closed period."""

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from uuid import UUID, uuid5

from aggregator.audit.billing import Bill, Charged
from aggregator.audit.copies import Copies
from aggregator.audit.report import Check, Findings
from aggregator.audit.times import time_text

NAMESPACE: Final = UUID("6d1f5a52-5f0e-5c1c-9e9b-0a6f0c1f7a11")
"""Of the ids of invoices, as it has been since the first release."""
MILLISECOND_US: Final = 1_000


class InvoiceComparison:
    """Compares the invoices of one partition."""

    def __init__(self, partition: int, copies: Copies, passed: int, findings: Findings) -> None:
        """`passed` is the offset of `closed-periods` up to which the closer has written invoices."""
        self._partition = partition
        self._copies = copies
        self._passed = passed
        self._findings = findings

    def run(self, charged: Iterable[Charged]) -> None:
        """Compare all of them."""
        held = self._report_held()
        expected: set[str] = set()
        for bill in (bill for of_period in charged for bill in of_period.bills if bill.is_invoiced):
            invoice_id = invoice_id_of(bill)
            expected.add(invoice_id)
            if bill.sequence.offset < self._passed and bill.sequence.offset not in held:
                self._compare(invoice_id, bill)
        for invoice_id, subscription_id, start, sequence in self._copies.select("invoices_of", self._partition):
            if invoice_id not in expected:
                self._findings.disagree(
                    Check.INVOICES,
                    "An invoice has no closed period.",
                    partition=self._partition,
                    id=invoice_id,
                    key=[subscription_id, time_text(start // MILLISECOND_US), sequence],
                )

    def _report_held(self) -> set[int]:
        """Each held period is a disagreement of its own kind; returns their offsets."""
        held = set()
        for offset, reason, detail, subscription_id, start, sequence in self._copies.select("held", self._partition):
            held.add(offset)
            key = None if start is None else [subscription_id, time_text(start // MILLISECOND_US), sequence]
            what = f"A closed period is held ({reason}) and may have no invoice: {detail}"
            self._findings.disagree(Check.HELD, what, partition=self._partition, offset=offset, key=key)
        return held

    def _compare(self, invoice_id: str, bill: Bill) -> None:
        sequence, document = bill.sequence, bill.sequence.document
        place = {"partition": self._partition, "offset": sequence.offset, "id": invoice_id, "key": sequence.label}
        row = next(iter(self._copies.select("invoice", invoice_id)), None)
        self._findings.compare(Check.INVOICES)
        if row is None:
            self._findings.disagree(Check.INVOICES, "A closed period has no invoice.", **place)
            return
        expected = {
            "service_id": document["serviceId"],
            "payment_plan_id": document["planId"],
            "user_id": document["userId"],
            "subscription_id": document["subscriptionId"],
            "amount": bill.amount,
            "currency": document["currency"],
            "period_start": sequence.start * MILLISECOND_US,
            "period_end": sequence.end * MILLISECOND_US,
            "sequence": sequence.number,
            "digest": sequence.digest,
            "log_partition": self._partition,
            "first_offset": document["firstOffset"],
            "last_offset": document["lastOffset"],
        }
        found = dict(zip(expected, row, strict=True))
        found["amount"] = _decimal(found["amount"])
        for name, value in expected.items():
            what = f"The invoice's {name} is not that of the closed period."
            self._findings.expect(Check.INVOICES, what, value, found[name], **place)
        self._compare_lines(invoice_id, bill, place)

    def _compare_lines(self, invoice_id: str, bill: Bill, place: dict[str, Any]) -> None:
        expected = {line.meter: (line.quantity, line.unit_price, line.amount, line.events) for line in bill.lines}
        found = {
            meter: (_decimal(quantity), None if unit_price is None else _decimal(unit_price), _decimal(amount), events)
            for meter, quantity, unit_price, amount, events in self._copies.select("lines", invoice_id)
        }
        for meter in sorted(expected.keys() | found.keys()):
            what = f"The line of {meter!r} is not the priced one (quantity, unit price, amount, events)."
            self._findings.expect(Check.INVOICE_LINES, what, expected.get(meter), found.get(meter), **place)


def invoice_id_of(bill: Bill) -> str:
    """The id that follows from subscription, start of the period and sequence."""
    subscription_id, start, number = bill.sequence.label
    return str(uuid5(NAMESPACE, f"{subscription_id}\n{start}\n{number}"))


def _decimal(text: str) -> Decimal | str:
    try:
        return Decimal(text)
    except InvalidOperation:
        return text
