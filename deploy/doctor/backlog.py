"""What waits in Postgres for somebody: changes that are not published, periods that are held, events that
failed, webhooks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg

from deploy.doctor.database import SQL
from deploy.doctor.finding import Finding, fail, ok, warn

OUTBOX_SECONDS: Final = 30
"""A gateway publishes a change before it answers, and sweeps what a crash left every few seconds."""
WEBHOOK_SECONDS: Final = 900
"""A webhook is sent within seconds; one that was refused is tried again several times within a quarter of an hour."""


@dataclass(slots=True, frozen=True)
class Held:
    """Closed periods that are held for a reason."""

    reason: str
    count: int
    oldest: datetime


@dataclass(slots=True, frozen=True)
class Backlog:
    """What is there: the row of the query `backlog`, and the holds."""

    facts: Mapping[str, Any]
    holds: Sequence[Held]


async def find_backlog(connection: asyncpg.Connection) -> Backlog:
    """Ask the database."""
    facts = dict(await connection.fetchrow(SQL["backlog"]) or {})
    return Backlog(facts, [Held(**dict(row)) for row in await connection.fetch(SQL["holds"])])


def judge_backlog(backlog: Backlog) -> Iterator[Finding]:
    """What there is to say of it."""
    yield _outbox(backlog.facts["unpublished"], backlog.facts["oldest_seconds"])
    yield _holds(backlog.holds)
    failed = backlog.facts["processing_failed"]
    if failed:
        yield warn(
            "failed events",
            f"{failed:,} of the last 7 days were refused because deciding them failed (processing_failed)",
            "A defect of Tally: the worker's log has the traceback. Report it, and once it is mended:"
            " tally redrive --code processing_failed",
        )
    else:
        yield ok("failed events", "none of the last 7 days")
    yield _webhooks(
        backlog.facts["webhooks_parked"], backlog.facts["webhooks_waiting"], backlog.facts["webhooks_oldest_seconds"]
    )
    keys = backlog.facts["keys"]
    if keys:
        yield ok("api keys", f"{keys} in use")
    else:
        yield warn("api keys", "there is none: nobody can call the API", "tally keys create NAME --scope usage:write")


def _outbox(unpublished: int, oldest_seconds: float | None) -> Finding:
    if unpublished and (oldest_seconds or 0) >= OUTBOX_SECONDS:
        return fail(
            "outbox",
            f"{unpublished:,} changes of the catalog are not published, the oldest for {oldest_seconds:,.0f} s",
            "Gateways publish them: see that one runs, and that it reaches Kafka. What was acknowledged is safe.",
        )
    return ok("outbox", f"{unpublished:,} changes wait" if unpublished else "empty")


def _holds(holds: Sequence[Held]) -> Finding:
    if not holds:
        return ok("held periods", "none")
    counts = ", ".join(f"{held.count:,} {held.reason}" for held in holds)
    oldest = min(held.oldest for held in holds)
    return fail(
        "held periods",
        f"{counts}, the oldest since {oldest:%Y-%m-%d %H:%M} UTC: closed periods that have no invoice",
        "SELECT * FROM held_periods; the column detail says why, and 'Held periods' in docs/operations.md what to do.",
    )


def _webhooks(parked: int, waiting: int, oldest_seconds: float) -> Finding:
    check = "webhooks"
    if parked:
        return warn(
            check,
            f"{parked:,} were given up, {waiting:,} wait",
            "Mend the receiver at TALLY_WEBHOOK_URL; 'Insights' in docs/operations.md has the statements that show them"
            " and send them again.",
        )
    if waiting and oldest_seconds >= WEBHOOK_SECONDS:
        return warn(
            check,
            f"{waiting:,} wait, the oldest for {oldest_seconds:,.0f} s",
            "See that 'tally insights' runs and has TALLY_WEBHOOK_URL; its log has the receiver's words.",
        )
    return ok(check, f"{waiting:,} wait" if waiting else "none waits")
