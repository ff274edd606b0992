"""Forwarded events, when they arrive in their own partition: each is decided as what it was at its origin."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aggregator.rules.account import Catalog
from aggregator.rules.deciding import decide
from aggregator.rules.verdicts import Decisions, Record, Rejected, Tables
from schemas.forwarding import Headers, split_origin
from schemas.rejection import Reason, Rejection

_NOT_FORWARDED = "Only workers may write usage-forwarded, and this record was not written by one."


@dataclass(slots=True, frozen=True)
class Arrival:
    """A record of `usage-forwarded`, seen as the record of `usage-events` that it was: partition, offset and append
    time (ms) are those of its origin, and the headers those it was sent with."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    record: Any
    """The record of `usage-forwarded` itself."""


def decide_arrivals(
    records: Sequence[Any],
    partition: int,
    partitions: int,
    tables: Tables,
    catalog: Catalog,
    decisions: Decisions | None = None,
) -> Decisions:
    """As decide(), of a batch of `usage-forwarded`. An event is forwarded once: what is not at home here was put there
    by somebody else."""
    arrivals: list[Arrival] = []
    strays: list[Record] = []
    for record in records:
        split = split_origin(record.headers)
        if split is None:
            strays.append(record)
        else:
            headers, origin = split
            at = origin.at
            arrivals.append(Arrival(origin.partition, origin.offset, at, record.key, record.value, headers, record))
    origins = [arrival.partition for arrival in arrivals]
    decisions = decide(arrivals, partition, partitions, tables, catalog, origins, decisions)
    strays += [arrival.record for arrival, _ in decisions.forwarded if isinstance(arrival, Arrival)]
    decisions.forwarded = []
    decisions.rejected += [Rejected(stray, Rejection(Reason.PROCESSING_FAILED, _NOT_FORWARDED)) for stray in strays]
    return decisions
