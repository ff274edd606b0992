"""An exception while deciding is a defect that one record met: it is found by halving, and only that one is refused.

A batch is decided whole where it can be. Where it can't, its first half is decided, and the second only after the
caller has committed the first: each part sees the tables as the parts before it have left them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from aggregator.rules.verdicts import Decisions, Record, Rejected
from schemas.rejection import Reason, Rejection


@dataclass(slots=True, frozen=True)
class Part:
    """A part of a batch, its verdicts, and what was raised while deciding it where it is one record that failed."""

    records: Sequence[Record]
    decisions: Decisions
    failure: Exception | None = None


def bisected(
    records: Sequence[Record],
    decide: Callable[[Sequence[Record]], Decisions],
    fatal: tuple[type[Exception], ...],
) -> Iterator[Part]:
    """The parts of a batch, in order. What is `fatal` says nothing of a record and is raised."""
    try:
        decisions = decide(records)
    except fatal:
        raise
    except Exception as error:  # noqa: BLE001 - any: it is handed on with the part
        failure = error
    else:
        yield Part(records, decisions)
        return
    if len(records) == 1:
        rejected = Rejected(records[0], Rejection.of(Reason.PROCESSING_FAILED))
        yield Part(records, Decisions(rejected=[rejected]), failure)
        return
    middle = len(records) // 2
    yield from bisected(records[:middle], decide, fatal)
    yield from bisected(records[middle:], decide, fatal)
