"""How far those who read the log have come: workers, closer and projector, all judged alike."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from aiokafka import TopicPartition

from aggregator.stream.offsets import Offsets
from deploy.doctor.finding import Finding, fail, named, ok, warn
from deploy.doctor.log import Log

BEHIND_MS: Final = 60_000
"""A record that has waited for so long shows that the readers are behind, though they move."""


@dataclass(slots=True, frozen=True)
class Standing:
    """Where a reader stands in a partition, and where the partition begins and ends. `waiting_since` is the append time
    in ms of the oldest record that it has not read; None where there is none."""

    place: TopicPartition
    position: int
    begin: int
    end: int
    waiting_since: int | None
    has_moved: bool = False

    @property
    def lag(self) -> int:
        """How many records are not read, at the most: the marks of transactions count among them."""
        return 0 if self.waiting_since is None else self.end - self.position


Positions = Callable[[], Awaitable[Offsets]]


async def find_standings(log: Log, positions: Positions, watch_seconds: float) -> list[Standing]:
    """Where a reader stands; where something waits for it, watched for some seconds to see whether it moves."""
    offsets = await positions()
    standings = await _standings(log, offsets)
    if all(standing.waiting_since is None for standing in standings):
        return standings
    await asyncio.sleep(watch_seconds)
    later = await positions()
    return [
        replace(standing, has_moved=later[standing.place] > offsets[standing.place])
        for standing in await _standings(log, later)
    ]


async def _standings(log: Log, offsets: Offsets) -> list[Standing]:
    begins, ends = await log.begins(offsets), await log.ends(offsets)
    inside = {place: offset for place, offset in offsets.items() if begins[place] <= offset < ends[place]}
    waiting = await log.first(inside, ends)
    return [
        Standing(
            place,
            offset,
            begins[place],
            ends[place],
            waiting[place].timestamp if place in waiting else None,
        )
        for place, offset in offsets.items()
    ]


@dataclass(slots=True, frozen=True)
class Reader:
    """Who reads: the check's name, what the reader does with a record, and what to do where it stands still, has lost
    records, or has read another log."""

    check: str
    does: str
    still: str
    truncated: str
    replaced: str


def judge_reading(reader: Reader, standings: Sequence[Standing], now: int, stalled_ms: int) -> Iterator[Finding]:
    """What there is to say of a reader. `now` is the brokers' time in ms; where a record has waited for `stalled_ms`
    and nothing moves, it waits for something that does not work."""
    check, wrong = reader.check, False
    if lost := [shown(standing) for standing in standings if standing.position < standing.begin]:
        wrong = True
        yield fail(check, f"records were deleted before they were {reader.does}: {named(lost)}", reader.truncated)
    if other := [shown(standing) for standing in standings if standing.position > standing.end]:
        wrong = True
        yield fail(check, f"the log ends before what was {reader.does}: {named(other)}", reader.replaced)
    still = [s for s in standings if not s.has_moved and _waits(s, now) >= stalled_ms]
    if still:
        wrong = True
        yield fail(check, f"nothing is {reader.does} though records wait: {_waiting(still, now)}", reader.still)
    behind = [s for s in standings if s.has_moved and _waits(s, now) >= BEHIND_MS]
    if behind:
        wrong = True
        yield warn(
            check,
            f"it gets on, and is behind: {_waiting(behind, now)}",
            "Watch whether the oldest gets younger. If not: more workers, up to one a partition; or see what slows the"
            " disk, Kafka or Postgres.",
        )
    if not wrong:
        lag = sum(standing.lag for standing in standings)
        fact = "nothing waits" if lag == 0 else f"{lag:,} records wait, the oldest for less than a minute"
        yield ok(check, f"{len(standings)} partitions, {fact}")


def shown(standing: Standing) -> str:
    """A partition with its offsets."""
    place = standing.place
    return f"{place.topic}-{place.partition} (position {standing.position}, log {standing.begin} to {standing.end})"


def _waits(standing: Standing, now: int) -> int:
    return 0 if standing.waiting_since is None else now - standing.waiting_since


def _waiting(standings: Sequence[Standing], now: int) -> str:
    oldest = max(_waits(standing, now) for standing in standings) // 1_000
    names = [f"{s.place.topic}-{s.place.partition} ({s.lag:,})" for s in standings]
    return f"{named(names)}, the oldest for {oldest:,} s"
