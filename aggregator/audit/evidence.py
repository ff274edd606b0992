"""What the recount reads: the one seam between it and the world. Kafka is behind it, or records held in memory."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas.errors import OperatorError
from schemas.topics import Topic

SOURCES = (Topic.USAGE_EVENTS, Topic.USAGE_FORWARDED, Topic.USAGE_CORRECTIONS)
OUTPUTS = (
    *(Topic.ACCEPTED_USAGE, Topic.USAGE_TOTALS, Topic.REJECTED_USAGE, Topic.CLOSED_PERIODS),
    Topic.AGGREGATOR_POSITIONS,
)
"""What the owner of a partition writes in the same partition of these. (In usage-forwarded it writes everywhere.)"""


class AuditImpossible(OperatorError):
    """Why there can be no audit: nothing was found to disagree, and nothing to agree."""

    exit_code = 3


class Record(Protocol):
    """A record of a topic; `timestamp` is the broker's append time in ms."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class Log(Protocol):
    """The topics of a deployment."""

    def beginning(self, topic: Topic, partition: int) -> int:
        """The offset at which a partition begins: what stood before was deleted."""

    def read(
        self, topic: Topic, partition: int, end: int, *, begin: int = 0, committed: bool = True
    ) -> Iterator[Record]:
        """The records from `begin` below `end`, in order: the committed ones, or those of open and aborted
        transactions as well."""


OpenLog = Callable[[], Log]
"""How a process gets its own view of the log."""


@dataclass(slots=True, frozen=True)
class PartitionCut:
    """Up to where the topics of one partition are audited. The sources are audited up to the positions of their worker,
    which its own topics say; but what has arrived in `usage-forwarded` is looked at up to its end."""

    partition: int
    ends: dict[Topic, int]


@dataclass(slots=True, frozen=True)
class Cut:
    """Up to where a deployment is audited. `copied` are the offsets up to which Postgres had followed the topics when
    its snapshot was taken, by consumer, topic and partition."""

    partitions: tuple[PartitionCut, ...]
    catalog_end: int
    copied: dict[tuple[str, str, int], int]
