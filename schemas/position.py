"""Where a partition of the aggregator stands: what `aggregator-positions` holds, written with every batch.

The key is the partition's number as text. `prev` names the positions before the batch, so that the records form a
chain in which a gap (a lost batch) or a fork (two owners) can be seen.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from schemas.timestamps import timestamp_of_own, timestamp_text
from schemas.topics import Topic

SOURCES = (Topic.USAGE_EVENTS, Topic.USAGE_CORRECTIONS, Topic.USAGE_FORWARDED)

Positions = dict[str, int]
"""The next offset to read, by source topic (without the deployment's prefix)."""


@dataclass(slots=True, frozen=True)
class Ledger:
    """Counts of the records of one partition of `usage-events`, since its beginning (contract section 3)."""

    received: int = 0
    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0
    forwarded: int = 0
    forwarded_in: int = 0
    voids: int = 0

    def __post_init__(self) -> None:
        verdicts = self.accepted + self.duplicate + self.rejected + self.forwarded
        assert self.received == verdicts, f"the ledger does not add up: {self}"

    def plus(self, accepted: int, duplicate: int, rejected: int) -> "Ledger":
        """The ledger after a batch with these verdicts."""
        return Ledger(
            received=self.received + accepted + duplicate + rejected,
            accepted=self.accepted + accepted,
            duplicate=self.duplicate + duplicate,
            rejected=self.rejected + rejected,
            forwarded=self.forwarded,
            forwarded_in=self.forwarded_in,
            voids=self.voids,
        )

    def wire(self) -> dict[str, int]:
        """The counts by their names on the wire."""
        return {
            "received": self.received,
            "accepted": self.accepted,
            "duplicate": self.duplicate,
            "rejected": self.rejected,
            "forwarded": self.forwarded,
            "forwardedIn": self.forwarded_in,
            "voids": self.voids,
        }


@dataclass(slots=True, frozen=True)
class LastRecord:
    """The last record applied: `at` is its append time in ms, `crc` the CRC-32C of its key and value."""

    topic: str
    offset: int
    at: int
    crc: int


@dataclass(slots=True, frozen=True)
class Position:
    """One record of `aggregator-positions`; `partitions` is how many the sources had, which never changes."""

    positions: Positions
    partitions: int
    prev: Positions | None = None
    ledger: Ledger = field(default_factory=Ledger)
    last: LastRecord | None = None

    def to_json(self) -> bytes:
        """The value of the record."""
        last = self.last
        document: dict[str, Any] = {
            "positions": self.positions,
            "partitions": self.partitions,
            "prev": self.prev,
            "ledger": self.ledger.wire(),
            "last": None
            if last is None
            else {"topic": last.topic, "offset": last.offset, "time": timestamp_text(last.at), "crc": last.crc},
        }
        return json.dumps(document, separators=(",", ":")).encode()

    @classmethod
    def of_json(cls, value: bytes) -> "Position":
        """The inverse of to_json()."""
        document = json.loads(value)
        ledger, last = document["ledger"], document["last"]
        return cls(
            positions=document["positions"],
            partitions=document["partitions"],
            prev=document["prev"],
            ledger=Ledger(
                ledger["received"],
                ledger["accepted"],
                ledger["duplicate"],
                ledger["rejected"],
                ledger["forwarded"],
                ledger["forwardedIn"],
                ledger["voids"],
            ),
            last=None
            if last is None
            else LastRecord(last["topic"], last["offset"], timestamp_of_own(last["time"]), last["crc"]),
        )


def first_position(partitions: int) -> Position:
    """The position before the first batch."""
    return Position(dict.fromkeys((topic.value for topic in SOURCES), 0), partitions)
