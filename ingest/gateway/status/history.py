"""How many events got which verdict in the last quarter of an hour, step by step, from the ledgers of the log.

Each record of `aggregator-positions` has the whole ledger of its partition up to there, and its append time. So a
ledger at each step's border is all that is needed, and the log has those of the time before this gateway began, too.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from aiokafka import TopicPartition

from ingest.gateway.status.log import Asking
from ingest.gateway.status.positions import position_of
from schemas.position import Ledger

STEP_SECONDS: Final = 10
STEPS: Final = 90
"""15 minutes."""

_STEP_MS: Final = STEP_SECONDS * 1_000
_LOOK_SECONDS: Final = 1.0
"""For borders that are not known yet, in one look; what is left is for the next one."""

Ledgers = Mapping[TopicPartition, Ledger]


@dataclass(slots=True, frozen=True)
class Verdicts:
    """What became of events. One that was forwarded gets its verdict where it arrives, and is counted there."""

    received: int = 0
    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0

    def since(self, before: "Verdicts") -> "Verdicts":
        """Those that came after `before`."""
        return Verdicts(
            self.received - before.received,
            self.accepted - before.accepted,
            self.duplicate - before.duplicate,
            self.rejected - before.rejected,
        )


@dataclass(slots=True, frozen=True)
class Step:
    """The verdicts of one step; it ends at a time in ms."""

    end: int
    verdicts: Verdicts


def verdicts_of(ledgers: Iterable[Ledger]) -> Verdicts:
    """All verdicts of these partitions, since the beginning."""
    ledgers = list(ledgers)
    return Verdicts(
        sum(ledger.received for ledger in ledgers),
        sum(ledger.accepted + ledger.forwarded_in_accepted for ledger in ledgers),
        sum(ledger.duplicate + ledger.forwarded_in_duplicate for ledger in ledgers),
        sum(ledger.rejected + ledger.forwarded_in_rejected for ledger in ledgers),
    )


def borders(now: int) -> list[int]:
    """The times between and around the steps that are over at `now`, in ms, oldest first."""
    last = now // _STEP_MS * _STEP_MS
    return [last - number * _STEP_MS for number in range(STEPS, -1, -1)]


def ledger_at(records: Sequence[Any], at: int) -> Ledger:
    """The ledger at a time in ms, of records in a row around it: that of the last one before, or else of the first one
    since, unless nothing was ever before that. Raises UnreadablePosition."""
    before = [record for record in records if record.timestamp < at]
    position = position_of((before[-1] if before else records[0]).value)
    is_first = not any((position.prev or {}).values())
    return Ledger() if is_first and not before else position.ledger


class History:
    """Keeps the verdicts at each border that it has once looked up."""

    def __init__(self) -> None:
        self._known: dict[int, Verdicts] = {}

    async def look(self, asking: Asking, now: int, ledgers: Ledgers) -> list[Step]:
        """The steps up to `now`, oldest first; `ledgers` are the newest. The newest borders are looked up first, and
        the oldest steps may be missing until the next look. Raises UnreadablePosition."""
        loop = asyncio.get_running_loop()
        due = loop.time() + _LOOK_SECONDS
        wanted = borders(now)
        self._known = {at: verdicts for at, verdicts in self._known.items() if at in wanted}
        for at in reversed(wanted):
            if at not in self._known and loop.time() < due:
                self._known[at] = await _verdicts_at(asking, at, ledgers)
        return list(steps(self._known))


def steps(known: Mapping[int, Verdicts]) -> Iterable[Step]:
    """The steps both of whose borders are known, oldest first."""
    for start, end in pairwise(sorted(known)):
        if end - start == _STEP_MS:
            yield Step(end, known[end].since(known[start]))


async def _verdicts_at(asking: Asking, at: int, newest: Ledgers) -> Verdicts:
    around = await asking.around(newest, at)
    return verdicts_of(ledger_at(around[place], at) if place in around else ledger for place, ledger in newest.items())
