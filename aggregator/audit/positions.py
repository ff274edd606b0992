"""The chain of a partition's positions, and its ledger, as `aggregator-positions` holds them.

Each record names the positions before it. Compaction takes links out of the chain, and an aborted transaction leaves
offsets behind; so only of two records that are next to each other (with one marker between them) the one must name the
other, and all others must not go backwards.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.record.util import calc_crc32c

from aggregator.audit.canonical import own_document
from aggregator.audit.evidence import SOURCES, Record
from aggregator.audit.report import Check, Findings
from aggregator.audit.times import time_text
from schemas.topics import Topic

NEIGHBOUR_MAX: Final = 2
LEDGER: Final = (
    *("received", "accepted", "duplicate", "rejected", "forwarded", "forwardedIn", "forwardedInAccepted"),
    *("forwardedInDuplicate", "forwardedInRejected", "voids", "voidsRepeated", "voidsRejected"),
)
_NOTHING: Final = dict.fromkeys(LEDGER, 0)


@dataclass(slots=True)
class Link:
    """A record of the topic."""

    offset: int
    appended_at: int
    positions: dict[str, int]
    before: dict[str, int] | None
    partitions: int
    ledger: dict[str, int]
    last: dict[str, dict[str, Any]]


@dataclass(slots=True)
class Chain:
    """Where a partition stands in the end; and what stood where Postgres had read it up to, if that is still there."""

    last: Link | None = None
    copied: Link | None = None

    @property
    def positions(self) -> dict[str, int]:
        """Up to where each source was decided."""
        return dict.fromkeys(SOURCES, 0) if self.last is None else self.last.positions

    @property
    def ledger(self) -> dict[str, int]:
        """The counts in the end."""
        return _NOTHING if self.last is None else self.last.ledger


def follow(records: Iterable[Record], copied_to: int, partition: int, partitions: int, findings: Findings) -> Chain:
    """Follow the chain to its end. `copied_to` is the offset that Postgres had read up to."""
    chain = Chain()
    for record in records:
        findings.compare(Check.POSITIONS)
        try:
            link = _link(record)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            what = f"A record is not one of a position: {error}."
            findings.disagree(Check.POSITIONS, what, partition=partition, offset=record.offset)
            continue
        for what, expected, found in _breaks(chain.last, link, record, partition, partitions):
            place = {"partition": partition, "offset": record.offset}
            findings.disagree(Check.POSITIONS, what, expected=expected, found=found, **place)
        chain.last = link
        if record.offset < copied_to:
            chain.copied = link
    return chain


def compare_last_records(chain: Chain, last: dict[Topic, Record], partition: int, findings: Findings) -> None:
    """Whether the log still holds, before each position, the record that the position remembers as its last."""
    remembered = {} if chain.last is None else chain.last.last
    for source in SOURCES:
        record = last.get(source)
        expected = None if record is None else _identity(record)
        what = f"The last record of {source} before the position is not the one that it remembers."
        findings.expect(Check.POSITIONS, what, expected, remembered.get(source), partition=partition)


def _identity(record: Record) -> dict[str, Any]:
    content = (record.key or b"") + (record.value or b"")
    return {"offset": record.offset, "time": time_text(record.timestamp), "crc": calc_crc32c(content)}


def _link(record: Record) -> Link:
    document = own_document(record.value)
    link = Link(
        record.offset,
        record.timestamp,
        {source: document["positions"][source] for source in SOURCES},
        document["prev"],
        document["partitions"],
        {name: document["ledger"][name] for name in LEDGER},
        document["last"],
    )
    numbers = [*link.positions.values(), *link.ledger.values()]
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError("its positions and counts are no whole numbers")
    return link


def _breaks(
    before: Link | None, link: Link, record: Record, partition: int, partitions: int
) -> Iterable[tuple[str, Any, Any]]:
    """Where a record does not fit: what is wrong, what should be and what is."""
    if record.key != b"%d" % partition:
        yield "Its key is not the partition.", str(partition), record.key
    if link.partitions != partitions:
        yield "It was written for another number of partitions.", partitions, link.partitions
    ledger = link.ledger
    if ledger["received"] != sum(ledger[name] for name in ("accepted", "duplicate", "rejected", "forwarded")):
        yield "The ledger does not add up: received is accepted + duplicate + rejected + forwarded.", None, ledger
    if ledger["forwardedIn"] != sum(ledger[f"forwardedIn{name}"] for name in ("Accepted", "Duplicate", "Rejected")):
        yield "The ledger does not add up: forwardedIn is its accepted + duplicate + rejected.", None, ledger
    named = link.positions if link.before is None else link.before
    if any(named.get(source, 0) > position for source, position in link.positions.items()):
        yield "It goes back behind the positions that it names before it.", link.before, link.positions
    if before is None:
        return
    is_neighbour = link.offset - before.offset <= NEIGHBOUR_MAX
    if link.before is None or (is_neighbour and link.before != before.positions):
        yield "It does not follow the record before it: the chain has a gap or a fork.", before.positions, link.before
    elif any(link.before.get(source, 0) < position for source, position in before.positions.items()):
        yield "It begins before the record before it ends: the chain has a fork.", before.positions, link.before
    if any(ledger[name] < count for name, count in before.ledger.items()):
        yield "The ledger goes backwards.", before.ledger, ledger
