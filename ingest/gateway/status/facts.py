"""How each part does, told by what it leaves behind: a fact with its age, and whether that is as it ought to be."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ingest.gateway.status.log import Standing
from ingest.gateway.status.tables import Lease, Tables

WAITS_MS: Final = 30_000
"""Longer than a part needs to take over from another that died: what waits for so long waits for nobody."""

CLOSER: Final = "closer"
PROJECTOR: Final = "projector"


@dataclass(slots=True, frozen=True)
class Fact:
    """What is known of a part; `is_well` None where nothing is."""

    part: str
    is_well: bool | None
    fact: str


def answered(part: str, milliseconds: int) -> Fact:
    """Of a server that answered."""
    return Fact(part, True, f"answered within {milliseconds:,} ms")


def is_away(part: str, error: Exception) -> Fact:
    """Of a server that did not."""
    return Fact(part, False, str(error))


def unknown(part: str, server: str) -> Fact:
    """Of a part that only a server could tell of."""
    return Fact(part, None, f"unknown: {server} does not answer")


def of_workers(standings: Sequence[Standing], written_at: int | None, now: int) -> Fact:
    """Of the workers, by their standing in the sources and the append time of their newest position."""
    is_well, waits = _waiting(standings, now)
    last = "nothing was ever decided" if written_at is None else f"the last batch was committed {_ago(now, written_at)}"
    return Fact("workers", is_well, f"{waits}; {last}")


def of_ledger(received: int, problems: Sequence[str]) -> Fact:
    """Of the ledgers of all partitions."""
    if problems:
        return Fact("ledger", False, problems[0])
    records = _counted(received, "record", "records")
    return Fact("ledger", True, f"adds up in all partitions: {records} received, one verdict each")


def of_closer(lease: Lease | None, held_periods: int, standings: Sequence[Standing], now: int) -> Fact:
    """Of the closer."""
    if lease is None:
        return Fact(CLOSER, False, "no closer has ever run")
    is_well, waits = _waiting(standings, now)
    held = f"; {_counted(held_periods, 'period is', 'periods are')} held" if held_periods else ""
    renewed = f"its lease was {'last ' if lease.is_over else ''}renewed {lease.seconds:,} s ago"
    return Fact(CLOSER, is_well and not lease.is_over and not held_periods, f"{renewed}; {waits}{held}")


def of_projector(standings: Sequence[Standing], now: int) -> Fact:
    """Of the projector."""
    if not standings:
        return Fact(PROJECTOR, False, "no projector has ever run")
    is_well, waits = _waiting(standings, now)
    return Fact(PROJECTOR, is_well, waits)


def of_outbox(tables: Tables) -> Fact:
    """Of the changes of the catalog that are on their way to the topic."""
    if not tables.outbox:
        return Fact("outbox", True, "every change of the catalog is published")
    changes = _counted(tables.outbox, "change of the catalog waits", "changes of the catalog wait")
    fact = f"{changes} to be published, {_oldest(tables.outbox)}for {tables.outbox_seconds:,} s"
    return Fact("outbox", tables.outbox_seconds * 1_000 < WAITS_MS, fact)


def _waiting(standings: Iterable[Standing], now: int) -> tuple[bool, str]:
    waiting = [standing for standing in standings if standing.lag]
    if not waiting:
        return True, "nothing waits"
    lag = sum(standing.lag for standing in waiting)
    records = _counted(lag, "record waits", "records wait")
    since = list(_since(waiting))
    if not since:
        return True, f"{records}, behind a transaction that is open"
    oldest = max(0, now - min(since))
    return oldest < WAITS_MS, f"{records}, {_oldest(lag)}for {_duration(oldest)}"


def _since(standings: Iterable[Standing]) -> Iterator[int]:
    for standing in standings:
        if standing.waiting_since is not None:
            yield standing.waiting_since


def _counted(count: int, one: str, many: str) -> str:
    return f"1 {one}" if count == 1 else f"{count:,} {many}"


def _oldest(count: int) -> str:
    return "" if count == 1 else "the oldest "


def _ago(now: int, at: int) -> str:
    return f"{_duration(max(0, now - at))} ago"


def _duration(milliseconds: int) -> str:
    seconds = milliseconds // 1_000
    if seconds < 10:
        return f"{seconds}.{milliseconds % 1_000 // 100} s"
    if seconds < 120:
        return f"{seconds} s"
    minutes = seconds // 60
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60:,} h"
