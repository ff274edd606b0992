"""From records of `closed-periods` to invoices ready to be written.

A worker writes all parts of a closed period in one transaction, so they follow one another in their partition; a fetch
may still end between two of them. What can't become an invoice becomes a hold, with its reason, and the rest goes on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from aggregator.rules.pricing import Bill, bill_of
from aggregator.stream.reader import UNREADABLE
from schemas.catalog import Transition
from schemas.closed_period import ClosedPart, parse_closed_part
from schemas.invoice import CatalogInvoice, InvoiceStatus, closer_invoice_id
from schemas.text import text

SEQUENCE_MAX: Final = 2**31 - 1


class HoldReason(StrEnum):
    """Why a closed period has no invoice."""

    UNREADABLE = "UNREADABLE"
    INCOMPLETE = "INCOMPLETE"
    DIVERGED = "DIVERGED"
    REFUSED = "REFUSED"


@dataclass(slots=True, frozen=True)
class PeriodKey:
    """Which closed period: its start is in ms."""

    subscription_id: str
    start: int
    sequence: int


@dataclass(slots=True, frozen=True)
class Hold:
    """A record of `closed-periods` that stays without an invoice until a person has looked at it."""

    partition: int
    offset: int
    reason: HoldReason
    detail: str
    key: PeriodKey | None = None


@dataclass(slots=True, frozen=True)
class Invoice:
    """The invoice of a closed period. `offset` is that of the period's last part, `part` that part itself."""

    id: str
    partition: int
    offset: int
    part: ClosedPart
    bill: Bill
    catalog_entry: str

    @property
    def key(self) -> PeriodKey:
        """The period that it is for."""
        return _key(self.part)

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands in `closed-periods`: partition and offset."""
        return self.partition, self.offset

    def held(self, reason: HoldReason, detail: str) -> Hold:
        """The hold that stands in for the invoice."""
        return Hold(self.partition, self.offset, reason, detail, self.key)


class Assembly:
    """Puts the closed periods of one partition together, in the order of the log."""

    def __init__(self, partition: int, next_offset: int) -> None:
        self._partition = partition
        self._next_offset = next_offset
        self._parts: list[ClosedPart] = []
        self._first_offset = next_offset

    @property
    def next_offset(self) -> int:
        """Where reading resumes: everything before it is settled, and the parts of an unfinished period are not."""
        return self._first_offset if self._parts else self._next_offset

    def add(self, offset: int, value: bytes | None) -> Iterator[Invoice | Hold]:
        """What the next record settles."""
        self._next_offset = offset + 1
        try:
            part = _parse(value)
        except UNREADABLE as error:
            yield from self._abandon(offset)
            detail = f"The record can't be read: {type(error).__name__}: {error}"
            yield Hold(self._partition, offset, HoldReason.UNREADABLE, detail)
            return
        if part.part == 0 or not self._continues(part):
            yield from self._abandon(offset)
        if part.part != len(self._parts):
            detail = f"Part {part.part} of {part.parts} does not follow the parts before it."
            yield Hold(self._partition, offset, HoldReason.INCOMPLETE, detail, _key(part))
            return
        if not self._parts:
            self._first_offset = offset
        self._parts.append(part)
        if len(self._parts) == part.parts:
            parts, self._parts = self._parts, []
            settled = self._settle(offset, parts)
            if settled is not None:
                yield settled

    def _continues(self, part: ClosedPart) -> bool:
        if not self._parts:
            return False
        last = self._parts[-1]
        return _key(part) == _key(last) and (part.part, part.parts) == (last.part + 1, last.parts)

    def _abandon(self, offset: int) -> Iterator[Hold]:
        if self._parts:
            first, count = self._parts[0], len(self._parts)
            self._parts = []
            detail = f"Only {count} of {first.parts} parts came before the record at offset {offset}."
            yield Hold(self._partition, self._first_offset, HoldReason.INCOMPLETE, detail, _key(first))

    def _settle(self, offset: int, parts: list[ClosedPart]) -> Invoice | Hold | None:
        last = parts[-1]
        if last.part_digests != tuple(part.digest for part in parts[:-1]):
            detail = "The last part was made with other parts than those before it."
            return Hold(self._partition, offset, HoldReason.INCOMPLETE, detail, _key(last))
        try:
            bill = bill_of(parts)
            if bill is None:
                return None
            invoice_id = closer_invoice_id(last.subscription_id, last.start, last.sequence)
            return Invoice(invoice_id, self._partition, offset, last, bill, _catalog_entry(invoice_id, last))
        except UNREADABLE as error:
            detail = f"The period can't be billed: {type(error).__name__}: {error}"
            return Hold(self._partition, offset, HoldReason.UNREADABLE, detail, _key(last))


def _parse(value: bytes | None) -> ClosedPart:
    part = parse_closed_part(value or b"")
    if text(part.subscription_id) != part.subscription_id:
        raise ValueError("the subscription id has blanks around it")
    if type(part.sequence) is not int or not 0 <= part.sequence <= SEQUENCE_MAX:
        raise ValueError(f"the sequence is {part.sequence!r}")
    if type(part.part) is not int or type(part.parts) is not int or not 0 <= part.part < part.parts:
        raise ValueError(f"it is part {part.part!r} of {part.parts!r}")
    return part


def _key(part: ClosedPart) -> PeriodKey:
    return PeriodKey(part.subscription_id, part.start, part.sequence)


def _catalog_entry(invoice_id: str, part: ClosedPart) -> str:
    entry = CatalogInvoice(
        id=invoice_id,
        service_id=part.service_id,
        user_id=part.user_id,
        transitions=(Transition(version=1, status=InvoiceStatus.OPEN),),
    )
    return entry.model_dump_json(by_alias=True)
