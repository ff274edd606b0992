"""What an audit found: for each check how much was compared, and where it disagrees."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

KEPT_MAX: Final = 100
"""Disagreements of one check that are listed; all are counted."""


class Check(StrEnum):
    """What is compared with what. The order is that of the report."""

    VERDICTS = "verdicts"
    """Every record has exactly one verdict, and every verdict is of a record."""
    JUDGEMENTS = "judgements"
    """The verdict is the one that the rules give."""
    UNIQUENESS = "uniqueness"
    """A key counts once, for its first valid event."""
    ACCEPTED = "accepted events"
    """What is recorded of an event follows from the record as it arrived."""
    REJECTED = "rejected events"
    """What was refused is kept as it arrived."""
    FORWARDING = "forwarding"
    """An event in another partition than its subscription's arrives there, once, as it was."""
    CORRECTIONS = "corrections"
    """Every void is applied, repeated or refused."""
    POSITIONS = "positions"
    """The positions of a partition chain, and stand where the log has what they say."""
    LEDGER = "ledger"
    """The ledger adds up, and is what was counted."""
    TOTALS = "totals"
    """The running total of each meter is the sum of its events."""
    PERIODS = "periods"
    """The state of each billing period is what its events and its closed sequences say."""
    CLOSED_PERIODS = "closed periods"
    """Whole, with the right digests, each sequence once, and of the catalog's plan."""
    LINES = "lines"
    """A closed line is the sum of the events that it charges."""
    INVOICES = "invoices"
    """A closed period has its one invoice, and an invoice its closed period."""
    INVOICE_LINES = "invoice lines"
    """The lines of an invoice are those of its closed period, priced."""
    HELD = "held"
    """No closed period is held back from being invoiced."""
    PROJECTION = "projection"
    """The copies in Postgres are what the topics said when they were made."""
    USAGE_EVENTS = "usage events"
    """The rows of usage_events are the accepted events that were copied."""
    REJECTED_COPIES = "rejected events copies"
    """The rows of rejected_usage_events are the rejected records that were copied."""


@dataclass(slots=True, frozen=True)
class Disagreement:
    """One place where what is recorded is not what was recounted. `what` is a sentence."""

    check: Check
    what: str
    partition: int | None = None
    offset: int | None = None
    id: str | None = None
    key: Any = None
    expected: Any = None
    found: Any = None

    def wire(self) -> dict[str, Any]:
        """As it is printed."""
        return asdict(self)


@dataclass(slots=True)
class Findings:
    """The findings of one partition, or of all."""

    compared: Counter[Check] = field(default_factory=Counter)
    disagreeing: Counter[Check] = field(default_factory=Counter)
    kept: list[Disagreement] = field(default_factory=list)

    def compare(self, check: Check, count: int = 1) -> None:
        """So many more were compared."""
        self.compared[check] += count

    def disagree(self, check: Check, what: str, **place: Any) -> None:
        """One of them disagrees."""
        self.disagreeing[check] += 1
        if self.disagreeing[check] <= KEPT_MAX:
            self.kept.append(Disagreement(check, what, **place))

    def expect(self, check: Check, what: str, expected: Any, found: Any, **place: Any) -> None:
        """Compare two values that should be equal."""
        self.compared[check] += 1
        if expected != found:
            self.disagree(check, what, expected=expected, found=found, **place)

    def merge(self, other: "Findings") -> None:
        """Take in those of another partition."""
        self.compared += other.compared
        self.disagreeing += other.disagreeing
        kept = Counter(disagreement.check for disagreement in self.kept)
        for disagreement in other.kept:
            kept[disagreement.check] += 1
            if kept[disagreement.check] <= KEPT_MAX:
                self.kept.append(disagreement)


@dataclass(slots=True)
class Report:
    """All that an audit says."""

    cut: dict[str, Any]
    findings: Findings
    counts: dict[str, int]
    seconds: int

    @property
    def agrees(self) -> bool:
        """Whether nothing disagrees."""
        return not self.findings.disagreeing.total()

    def wire(self) -> dict[str, Any]:
        """The report as it is printed."""
        findings = self.findings
        return {
            "agrees": self.agrees,
            "cut": self.cut,
            "counts": self.counts,
            "checks": [
                {"name": check, "compared": findings.compared[check], "disagreements": findings.disagreeing[check]}
                for check in Check
            ],
            "disagreements": [disagreement.wire() for disagreement in findings.kept],
            "seconds": self.seconds,
        }

    @property
    def summary(self) -> str:
        """One line for a person."""
        compared, disagreeing = self.findings.compared.total(), self.findings.disagreeing
        events = f"{self.counts['received']:,} usage events, {compared:,} comparisons in {self.seconds} s"
        if self.agrees:
            return f"all agrees: {events}"
        checks = ", ".join(f"{disagreeing[check]} of {check}" for check in Check if disagreeing[check])
        return f"{disagreeing.total():,} disagreements ({checks}): {events}"
