"""The rows of Postgres that are audited, kept in a temporary database for the partitions to be compared with."""

import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

import asyncpg

from aggregator.audit.copied import digest_of
from aggregator.audit.evidence import AuditImpossible
from aggregator.audit.homes import home_of
from aggregator.audit.places import place_of_id
from aggregator.audit.scratch import Rows, execute_all, open_scratch, queries

EVENT_TABLES: Final = ("usage_events", "rejected_usage_events")
BILLED_TABLES: Final = ("invoices", "invoice_lines", "held_periods")
"""What there is to be read of one subscription, or of all."""
COPIED_TABLES: Final = ("usage_totals", "billing_periods", "ledger")
CONNECT_TIMEOUT_SECONDS: Final = 10
PREFETCHED: Final = 5_000

_POSTGRES: Final = queries("postgres.sql")
_COPIES: Final = queries("copies.sql")

Row = tuple[Any, ...]


class Snapshot(Protocol):
    """What Postgres says at one moment."""

    def rows(self, query: str, *arguments: str | None) -> AsyncIterator[Row]:
        """The rows of a query of postgres.sql."""


class PostgresSnapshot:
    """One transaction that sees one moment."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def rows(self, query: str, *arguments: str | None) -> AsyncIterator[Row]:
        """The rows of a query of postgres.sql."""
        async for row in self._connection.cursor(_POSTGRES[query], *arguments, prefetch=PREFETCHED):
            yield tuple(row)


@asynccontextmanager
async def postgres_snapshot(database_url: str) -> AsyncIterator[PostgresSnapshot]:
    """A snapshot of the database. Raises AuditImpossible where it can't be read."""
    try:
        connection = await asyncpg.connect(database_url, timeout=CONNECT_TIMEOUT_SECONDS)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                yield PostgresSnapshot(connection)
        finally:
            await connection.close(timeout=CONNECT_TIMEOUT_SECONDS)
    except asyncpg.UndefinedTableError as error:
        raise AuditImpossible(f"The database is not one of Tally ({error}): check TALLY_DATABASE_URL.") from error
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        what = f"Postgres can't be read ({type(error).__name__}: {error})"
        raise AuditImpossible(f"{what}: start it, or check TALLY_DATABASE_URL.") from error


async def write_copies(path: str, snapshot: Snapshot, partitions: int) -> dict[tuple[str, str, int], int]:
    """Keep the rows in a new temporary database. Returns up to where Postgres had followed the topics, by consumer,
    topic and partition."""
    with open_scratch(path) as database:
        execute_all(database, _COPIES["tables"])
        await _write_billed(database, snapshot, None)
        for table in COPIED_TABLES:
            with Rows(database, _COPIES[f"put_{table}"]) as copies:
                async for row in snapshot.rows(table):
                    copies.add(*(row if table == "ledger" else (home_of(row[0], partitions), *row)))
        await _write_events(database, snapshot, partitions)
        execute_all(database, _COPIES["indexes"])
    return await _followed(snapshot)


async def write_billed_copies(path: str, snapshot: Snapshot, subscription_id: str) -> dict[tuple[str, str, int], int]:
    """As write_copies(), but only what one subscription was invoiced."""
    with open_scratch(path) as database:
        execute_all(database, _COPIES["tables"])
        await _write_billed(database, snapshot, subscription_id)
    return await _followed(snapshot)


async def _write_billed(database: sqlite3.Connection, snapshot: Snapshot, subscription_id: str | None) -> None:
    for table in BILLED_TABLES:
        with Rows(database, _COPIES[f"put_{table}"]) as copies:
            async for row in snapshot.rows(table, subscription_id):
                copies.add(*row)


async def _followed(snapshot: Snapshot) -> dict[tuple[str, str, int], int]:
    return {(row[0], row[1], row[2]): row[3] async for row in snapshot.rows("stream_offsets")}


async def _write_events(database: sqlite3.Connection, snapshot: Snapshot, partitions: int) -> None:
    """Single events, of which a digest must do: there are too many of them."""
    with (
        Rows(database, _COPIES["put_usage_events"]) as events,
        Rows(database, _COPIES["put_misnamed_events"]) as misnamed,
    ):
        async for event_id, subscription_id, sequence, text in snapshot.rows("usage_events"):
            place = place_of_id(event_id)
            if place is None:
                misnamed.add(event_id)
            else:
                events.add(home_of(subscription_id, partitions), place, digest_of(text), sequence)
    with Rows(database, _COPIES["put_rejected_usage_events"]) as rejected:
        async for event_id, received_at, text in snapshot.rows("rejected_usage_events"):
            rejected.add(event_id, received_at, digest_of(text))


class Copies:
    """The rows as one partition asks for them."""

    def __init__(self, path: str) -> None:
        self._database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def select(self, query: str, *arguments: Any) -> Iterable[Row]:
        """The rows of a query of copies.sql."""
        return self._database.execute(_COPIES[query], arguments)
