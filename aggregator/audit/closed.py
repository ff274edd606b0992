"""The closed periods of a partition, as `closed-periods` holds them: put together from their parts, and checked for
what they say of themselves."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from aggregator.audit.amounts import PRICE_PLACES, ZERO, own_decimal
from aggregator.audit.canonical import digest, own_document
from aggregator.audit.counting import PeriodKey
from aggregator.audit.evidence import Record
from aggregator.audit.prices import Price, price_in
from aggregator.audit.report import Check, Findings
from aggregator.audit.times import own_time

LINES_MAX: Final = 1_000
_OF_THE_PERIOD: Final = (
    *("subscriptionId", "serviceId", "userId", "planId", "pricingType", "invoicing", "currency", "periodStart"),
    *("periodEnd", "sequence", "parts", "firstOffset", "lastOffset"),
)


@dataclass(slots=True)
class Line:
    """A closed line, and what it says earlier sequences charged."""

    meter: str
    quantity: Decimal
    events: int
    before: tuple[Decimal, int, Decimal]


@dataclass(slots=True)
class Sequence:
    """A sequence of a closed period, whole; `offset` and `appended_at` are those of the last part's record."""

    document: dict[str, Any]
    """What all parts say of it."""
    offset: int
    appended_at: int
    start: int
    end: int
    amount: Decimal
    unit_prices: dict[str, Decimal]
    prices: dict[str, Price]
    lines: dict[str, Line]
    digest: str

    @property
    def number(self) -> int:
        """0 is the regular close, the others are adjustments."""
        return int(self.document["sequence"])

    @property
    def period(self) -> PeriodKey:
        """Whose it is."""
        return self.document["subscriptionId"], self.start

    @property
    def label(self) -> list[Any]:
        """What names it in a report."""
        return [self.document["subscriptionId"], self.document["periodStart"], self.number]


@dataclass(slots=True)
class ClosedPeriods:
    """The sequences of each period, as they follow one another."""

    partition: int
    findings: Findings
    periods: dict[PeriodKey, list[Sequence]] = field(default_factory=dict)

    def read(self, records: Iterator[Record]) -> None:
        """Put all of them together."""
        parts: list[tuple[Record, dict[str, Any]]] = []
        for record in records:
            self.findings.compare(Check.CLOSED_PERIODS)
            try:
                document = _part(record)
                if parts and not _follows(document, parts):
                    self._disagree("Parts of a closed period are missing before this record.", record)
                    parts = []
                if document["part"] != len(parts):
                    self._disagree("A part of a closed period does not follow the part before it.", record)
                    continue
                parts.append((record, document))
                if len(parts) == document["parts"]:
                    self._add(_sequence(parts), record)
                    parts = []
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                self._disagree(f"A record is not one of a closed period: {error}.", record)
                parts = []
        if parts:
            self._disagree("A closed period ends without its last part.", parts[-1][0])

    def charged_to(self) -> dict[PeriodKey, list[int]]:
        """The last offset that each sequence charges, where a sequence without one charges none."""
        ends: dict[PeriodKey, list[int]] = {}
        for period, sequences in self.periods.items():
            last = -1
            for sequence in sequences:
                last = max(last, -1 if sequence.document["lastOffset"] is None else sequence.document["lastOffset"])
                ends.setdefault(period, []).append(last)
        return ends

    def _add(self, sequence: Sequence, record: Record) -> None:
        known = self.periods.setdefault(sequence.period, [])
        if sequence.number != len(known):
            what = "is closed twice" if sequence.number < len(known) else "leaves a sequence out"
            self._disagree(f"A period {what}.", record, expected=len(known), found=sequence.number)
            if sequence.number < len(known):
                return
        known.append(sequence)

    def _disagree(self, what: str, record: Record, **values: Any) -> None:
        self.findings.disagree(
            Check.CLOSED_PERIODS, what, partition=self.partition, offset=record.offset, key=record.key, **values
        )


def _part(record: Record) -> dict[str, Any]:
    """A part of which key and digest are right. Raises ValueError, LookupError or TypeError."""
    document: dict[str, Any] = own_document(record.value)
    if document["digest"] != digest(document):
        raise ValueError(f"its digest is {document['digest']}, and that of its content {digest(document)}")
    key = [document[name] for name in ("subscriptionId", "periodStart", "sequence", "part")]
    if own_document(record.key) != key:
        raise ValueError(f"its key is not {key}")
    offsets = (document["firstOffset"], document["lastOffset"])
    if offsets != (None, None) and not all(type(offset) is int for offset in offsets):
        raise ValueError(f"it charges the offsets {offsets}")
    lines = document["lines"]
    if len(lines) > LINES_MAX or (document["parts"] > 1 and not lines):
        raise ValueError(f"it has {len(lines)} lines")
    return document


def _follows(document: dict[str, Any], parts: list[tuple[Record, dict[str, Any]]]) -> bool:
    return all(document[name] == parts[0][1][name] for name in _OF_THE_PERIOD)


def _sequence(parts: list[tuple[Record, dict[str, Any]]]) -> Sequence:
    record, last = parts[-1]
    digests = [document["digest"] for _, document in parts[:-1]]
    if last["partDigests"] != digests:
        raise ValueError("its partDigests are not the digests of the parts before it")
    lines: dict[str, Line] = {}
    unit_prices: dict[str, Decimal] = {}
    prices: dict[str, Price] = {}
    for _, document in parts:
        named = document["prices"]
        unit_prices |= {meter: own_decimal(price, PRICE_PLACES) for meter, price in named["unitPrices"].items()}
        prices |= {meter: price_in(price, own_decimal) for meter, price in named.get("prices", {}).items()}
        for line in map(_line, document["lines"]):
            if line.meter in lines:
                raise ValueError(f"the meter {line.meter!r} has two lines")
            lines[line.meter] = line
        if named["amount"] != last["prices"]["amount"]:
            raise ValueError("its parts have different prices")
    return Sequence(
        document={name: last[name] for name in _OF_THE_PERIOD},
        offset=record.offset,
        appended_at=record.timestamp,
        start=own_time(last["periodStart"]),
        end=own_time(last["periodEnd"]),
        amount=own_decimal(last["prices"]["amount"]),
        unit_prices=unit_prices,
        prices=prices,
        lines=lines,
        digest=last["digest"],
    )


def _line(document: dict[str, Any]) -> Line:
    before = charge_of(document["chargedBefore"])
    return Line(document["meter"], own_decimal(document["quantity"]), document["eventCount"], before)


def charge_of(document: dict[str, Any] | None) -> tuple[Decimal, int, Decimal]:
    """What was charged of a meter: quantity, events, amount; nothing where nothing is said."""
    if document is None:
        return ZERO, 0, ZERO
    return own_decimal(document["quantity"]), document["eventCount"], own_decimal(document["amount"])
