"""Where a partition of the aggregator stands: what `aggregator-positions` holds, written with every batch.

The key is the partition's number as text. `prev` names the positions before the batch, so that the records form a
chain in which a gap (a lost batch) or a fork (two owners) can be seen.
"""

import json
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, NamedTuple

from pydantic.alias_generators import to_camel

from schemas.timestamps import timestamp_of_own, timestamp_text
from schemas.topics import Topic

SOURCES: Final = (Topic.USAGE_EVENTS, Topic.USAGE_FORWARDED, Topic.USAGE_CORRECTIONS)
"""In the order in which what was read of them is decided."""

Positions = dict[str, int]
"""The next offset to read, by source topic (without the deployment's prefix)."""


class Counts(NamedTuple):
    """What became of the records of a batch. Of corrections, `accepted` were applied and `repeated` changed nothing."""

    accepted: int
    duplicate: int
    rejected: int
    forwarded: int = 0
    repeated: int = 0


@dataclass(slots=True, frozen=True)
class Ledger:
    """Counts of the records of one partition, since its beginning (contract section 3): of `usage-events` up to
    `forwarded`, then of `usage-forwarded`, then of `usage-corrections`."""

    received: int = 0
    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0
    forwarded: int = 0
    forwarded_in: int = 0
    forwarded_in_accepted: int = 0
    forwarded_in_duplicate: int = 0
    forwarded_in_rejected: int = 0
    voids: int = 0
    voids_repeated: int = 0
    voids_rejected: int = 0

    def __post_init__(self) -> None:
        verdicts = self.accepted + self.duplicate + self.rejected + self.forwarded
        verdicts_in = self.forwarded_in_accepted + self.forwarded_in_duplicate + self.forwarded_in_rejected
        adds_up = self.received == verdicts and self.forwarded_in == verdicts_in
        assert adds_up, f"the ledger does not add up: {self}"

    def plus(self, source: Topic, counts: Counts) -> "Ledger":
        """The ledger after a batch of a source."""
        accepted, duplicate, rejected, forwarded, repeated = counts
        if source is Topic.USAGE_EVENTS:
            assert repeated == 0, counts
            return replace(
                self,
                received=self.received + accepted + duplicate + rejected + forwarded,
                accepted=self.accepted + accepted,
                duplicate=self.duplicate + duplicate,
                rejected=self.rejected + rejected,
                forwarded=self.forwarded + forwarded,
            )
        if source is Topic.USAGE_FORWARDED:
            assert forwarded == repeated == 0, counts
            return replace(
                self,
                forwarded_in=self.forwarded_in + accepted + duplicate + rejected,
                forwarded_in_accepted=self.forwarded_in_accepted + accepted,
                forwarded_in_duplicate=self.forwarded_in_duplicate + duplicate,
                forwarded_in_rejected=self.forwarded_in_rejected + rejected,
            )
        assert source is Topic.USAGE_CORRECTIONS, source
        assert forwarded == duplicate == 0, counts
        return replace(
            self,
            voids=self.voids + accepted,
            voids_repeated=self.voids_repeated + repeated,
            voids_rejected=self.voids_rejected + rejected,
        )

    def wire(self) -> dict[str, int]:
        """The counts by their names on the wire."""
        return {name: getattr(self, field) for name, field in _LEDGER_NAMES.items()}

    @classmethod
    def of_wire(cls, document: dict[str, int]) -> "Ledger":
        """The inverse of wire()."""
        return cls(**{field: document[name] for name, field in _LEDGER_NAMES.items()})


_LEDGER_NAMES: Final = {to_camel(field.name): field.name for field in fields(Ledger)}


@dataclass(slots=True, frozen=True)
class LastRecord:
    """The last record applied of a source: `at` is its append time in ms, `crc` the CRC-32C of its key and value."""

    offset: int
    at: int
    crc: int


@dataclass(slots=True, frozen=True)
class Position:
    """One record of `aggregator-positions`; `partitions` is how many the sources had, which never changes.

    `last` is by source topic; a source of which nothing was read has none.
    """

    positions: Positions
    partitions: int
    prev: Positions | None = None
    ledger: Ledger = field(default_factory=Ledger)
    last: dict[str, LastRecord] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """The value of the record."""
        document: dict[str, Any] = {
            "positions": self.positions,
            "partitions": self.partitions,
            "prev": self.prev,
            "ledger": self.ledger.wire(),
            "last": {
                topic: {"offset": last.offset, "time": timestamp_text(last.at), "crc": last.crc}
                for topic, last in self.last.items()
            },
        }
        return json.dumps(document, separators=(",", ":")).encode()

    @classmethod
    def of_json(cls, value: bytes) -> "Position":
        """The inverse of to_json()."""
        document = json.loads(value)
        return cls(
            positions=document["positions"],
            partitions=document["partitions"],
            prev=document["prev"],
            ledger=Ledger.of_wire(document["ledger"]),
            last={
                topic: LastRecord(last["offset"], timestamp_of_own(last["time"]), last["crc"])
                for topic, last in document["last"].items()
            },
        )


def first_position(partitions: int) -> Position:
    """The position before the first batch."""
    return Position(dict.fromkeys((topic.value for topic in SOURCES), 0), partitions)
