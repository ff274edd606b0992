"""An invoice as a text that a person can follow: from what is owed to the price of each line, and on to the log."""

from collections.abc import Iterator
from shlex import quote as quoted
from typing import Any, Final
from urllib.parse import quote

from deploy.breakdown import breakdown, short
from schemas.decimals import PRICE_PLACES, QUANTITY_PLACES, decimal_text, scaled_of_own
from schemas.invoice import InvoiceSource
from schemas.price import Price
from schemas.pricing import line_amount

EXACT_PLACES: Final = QUANTITY_PLACES + PRICE_PLACES
"""Of a quantity times a unit price."""

_LABEL: Final = 14
_WORDS: Final = 46
_AMOUNT: Final = 26

Document = dict[str, Any]


def statement(invoice: Document) -> str:
    """The statement of an invoice as GET /invoices/{id} shows it."""
    sections = [_header(invoice), *(_line(line) for line in invoice["lines"]), _total(invoice), _evidence(invoice)]
    return "\n\n".join("\n".join(section) for section in sections)


def _header(invoice: Document) -> Iterator[str]:
    yield f"{_kind(invoice)} {invoice['id']}, {invoice['status']}"
    for name, label in (
        ("serviceId", "service"),
        ("userId", "user"),
        ("subscriptionId", "subscription"),
        ("paymentPlanId", "plan"),
    ):
        if invoice[name] is not None:
            yield _labelled(label, invoice[name])
    if invoice["periodStart"] is not None:
        yield _labelled("period", f"{invoice['periodStart']} to {invoice['periodEnd']}, its end excluded")
    if invoice["sequence"] is not None:
        yield _labelled("sequence", f"{invoice['sequence']}{_origin(invoice['sequence'])}")
    for name, label in (("createdAt", "written"), ("dueAt", "due"), ("paidAt", "paid")):
        if invoice[name] is not None:
            yield _labelled(label, invoice[name])


def _kind(invoice: Document) -> str:
    return "Credit note" if _is_credit(invoice) else "Invoice"


def _origin(sequence: int) -> str:
    if sequence == 0:
        return ", the regular invoice of the period"
    return ", an adjustment: usage that came, or was taken back, after the period had closed"


def _is_credit(invoice: Document) -> bool:
    return scaled_of_own(invoice["amount"]) < 0


def _line(line: Document) -> Iterator[str]:
    yield line["meter"]
    quantity, before = scaled_of_own(line["quantity"]), line["chargedBefore"]
    total = quantity if before is None else quantity + scaled_of_own(before["quantity"])
    if before is not None:
        yield _labelled("before", _used(before["quantity"], before["eventCount"]))
    yield _labelled("quantity", _used(line["quantity"], line["eventCount"]))
    if before is not None:
        yield _labelled("in all", short(total))
    if line["price"] is None:
        yield _labelled("price", "none of its own: the plan's amount is flat")
        yield _labelled("amount", "", line["amount"])
        return
    yield from _priced(line, Price.model_validate(line["price"]), total)


def _priced(line: Document, price: Price, total: int) -> Iterator[str]:
    """How the line comes to its amount: the price of the whole, rounded once, less what was charged before."""
    label = "price"
    for words, exact in breakdown(price, total):
        yield _labelled(label, words, "" if exact is None else short(exact, EXACT_PLACES, QUANTITY_PLACES))
        label = ""
    rounded, before = line_amount(total, price), line["chargedBefore"]
    charged = 0 if before is None else scaled_of_own(before["amount"])
    if before is not None:
        yield _labelled("price in all", "rounded", decimal_text(rounded))
        yield _labelled("less", "charged before", before["amount"])
    yield _labelled("amount", "", line["amount"])
    if rounded - charged != scaled_of_own(line["amount"]):
        yield _labelled("", f"The price comes to {decimal_text(rounded - charged)}, which is not this amount: recount.")


def _total(invoice: Document) -> Iterator[str]:
    amount = scaled_of_own(invoice["amount"])
    if amount < 0:
        yield f"Credit of {decimal_text(-amount)} {invoice['currency']} to the user, who owes nothing for it"
        yield "It can't be paid; it can be voided."
        return
    yield f"Total {invoice['amount']} {invoice['currency']}"
    if invoice["source"] == InvoiceSource.MANUAL:
        yield "Made by hand: the amount is the one that the caller gave."


def _evidence(invoice: Document) -> Iterator[str]:
    events = f"GET /api/v1/usage-events?invoiceId={quote(invoice['id'], safe='')}"
    if invoice["source"] == InvoiceSource.MANUAL:
        yield _labelled("events", f"those that are linked to it: {events}")
        return
    first, last = invoice["firstOffset"], invoice["lastOffset"]
    span = (
        "none" if first is None else f"offsets {first} to {last} of partition {invoice['logPartition']}, usage-events"
    )
    yield _labelled("log", span)
    yield _labelled("digest", invoice["digest"])
    yield _labelled("events", events)
    yield _labelled(
        "recount", f"tally recount --subscription {quoted(invoice['subscriptionId'])} --period {invoice['periodStart']}"
    )


def _labelled(label: str, words: str, amount: str = "") -> str:
    return f"  {label:<{_LABEL}}{words:<{_WORDS}}{amount:>{_AMOUNT}}".rstrip()


def _used(quantity: str, events: int) -> str:
    return f"{short(scaled_of_own(quantity))} in {events} event{'' if events == 1 else 's'}"
