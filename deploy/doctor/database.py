"""Postgres: the server, and whether its tables are those of this version."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from aggregator.sql import queries
from deploy.doctor.finding import Finding, fail, named, ok, warn
from deploy.migrate import Migration

SQL: Final = queries(__package__)

TESTED: Final = 180_000
"""PostgreSQL 18, by its own number: Tally is tested with this."""
SUPPORTED: Final = 150_000
CONNECTIONS_SHARE: Final = 80
"""Percent of the connections, of which those in use should leave the rest free."""
MIB: Final = 1024 * 1024


@dataclass(slots=True, frozen=True)
class Applied:
    """A migration as the database remembers it."""

    version: int
    title: str
    checksum: str


@dataclass(slots=True, frozen=True)
class Server:
    """What the server says of itself, and what was applied to the database: None where it is no database of Tally's."""

    facts: Mapping[str, Any]
    applied: Sequence[Applied] | None


async def find_server(connection: asyncpg.Connection) -> Server:
    """Ask it."""
    facts = dict(await connection.fetchrow(SQL["server"]) or {})
    if not await connection.fetchval(SQL["has_register"]):
        return Server(facts, None)
    return Server(facts, [Applied(**dict(row)) for row in await connection.fetch(SQL["migrations"])])


def judge_server(server: Server) -> Iterator[Finding]:
    """What there is to say of the server itself."""
    facts = server.facts
    version = f"PostgreSQL {facts['version']}, the database has {facts['bytes'] / MIB:,.0f} MiB"
    if facts["is_standby"]:
        yield fail("postgres", f"{version}; it is a standby", "Let TALLY_DATABASE_URL name the primary.")
    elif facts["version_number"] < SUPPORTED:
        yield fail("postgres", version, "Upgrade it: Tally is tested with PostgreSQL 18.")
    elif facts["version_number"] < TESTED:
        yield warn("postgres", version, "Tally is tested with PostgreSQL 18.")
    else:
        yield ok("postgres", version)
    yield _durability(facts)
    used, most = facts["connections"], facts["connections_max"]
    fact = f"{used} of {most} in use"
    if used * 100 > most * CONNECTIONS_SHARE:
        remedy = "Raise max_connections, or lower TALLY_DATABASE_CONNECTIONS of the gateways: each holds as many."
        yield warn("connections", fact, remedy)
    else:
        yield ok("connections", fact)


def _durability(facts: Mapping[str, Any]) -> Finding:
    off = [name for name in ("fsync", "full_page_writes", "synchronous_commit") if facts[name] == "off"]
    if off:
        return fail(
            "durability",
            f"{named(off)} off: invoices and changes of the catalog that were acknowledged can be lost",
            f"Set {' and '.join(off)} to on.",
        )
    return ok("durability", "what is committed is on the disk")


def judge_migrations(applied: Sequence[Applied] | None, known: Sequence[Migration]) -> Finding:
    """Whether the tables are those of this version."""
    check = "migrations"
    if applied is None:
        return fail(
            check,
            "the database has none of Tally's tables",
            "Run 'tally migrate' as its owner, or check TALLY_DATABASE_URL.",
        )
    by_version = {migration.version: migration for migration in known}
    if newer := [f"{one.version:04d}_{one.title}" for one in applied if one.version not in by_version]:
        return fail(
            check,
            f"the database has {named(newer)}, which this version does not know",
            "This 'tally' is older than the database: install the version that migrated it.",
        )
    changed = [one for one in applied if one.checksum != by_version[one.version].checksum]
    if changed:
        return fail(
            check,
            f"{named([by_version[one.version].name for one in changed])} was applied with another text",
            "Install a released version: its migrations never change. See what the difference did to the tables.",
        )
    missing = [migration.name for migration in known if migration.version not in {one.version for one in applied}]
    if missing:
        return fail(check, f"{named(missing)} is not applied", "Run 'tally migrate' as the owner, before the parts.")
    return ok(check, f"all {len(known)} are applied")
