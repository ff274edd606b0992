"""`tally migrate`: brings a database to the tables of this version.

Migrations are the numbered files of schemas/sql. Each is applied in a transaction of its own and never changes once it
was released: a database that was migrated step by step and one that was made today are the same.
"""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from urllib.parse import urlsplit

import asyncpg

from schemas.errors import OperatorError

LOCK_KEY = 7_412_096_300_118_042_001
"""Any constant, the same in every version: of two that migrate at once, one waits for the other."""

CREATE_REGISTER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version integer PRIMARY KEY,
    title text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


@dataclass(slots=True, frozen=True)
class Migration:
    """A numbered file of schemas/sql: `0001_roles.sql`."""

    version: int
    title: str
    sql: str

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return f"{self.version:04d}_{self.title}"

    @property
    def checksum(self) -> str:
        """SHA-256 in hex of the text, the same for either kind of line ending."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """The migrations of this version, in order."""
    found = []
    for file in (files("schemas") / "sql").iterdir():
        if file.name.endswith(".sql"):
            number, _, title = file.name.removesuffix(".sql").partition("_")
            found.append(Migration(int(number), title, file.read_text(encoding="utf-8")))
    return sorted(found, key=lambda migration: migration.version)


async def migrate(database_url: str, known: list[Migration] | None = None) -> list[str]:
    """Apply what the database lacks and return the names; an empty list where it lacked nothing.

    Raises OperatorError where the database can't be reached, is newer than this version, was migrated by files that
    have changed since, or does not let the user create the tables and roles.
    """
    known = migrations() if known is None else known
    connection = await connect(database_url, "tally-migrate")
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
        await connection.execute(CREATE_REGISTER)
        return [await _apply(connection, migration) for migration in await _missing(connection, known)]
    except asyncpg.InsufficientPrivilegeError as error:
        raise OperatorError(
            f"The database user may not migrate ({str(error).splitlines()[0]}): "
            "connect as the database's owner with CREATEROLE, or let an administrator create the roles of "
            "0001_roles.sql, 0009_webhooks.sql and 0010_reader.sql in schemas/sql and grant them to the user."
        ) from error
    finally:
        await connection.close()


async def connect(database_url: str, application: str) -> asyncpg.Connection:
    """A connection as the database's owner. Raises OperatorError."""
    try:
        return await asyncpg.connect(database_url, timeout=10, server_settings={"application_name": application})
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.ClientConfigurationError) as error:
        place = urlsplit(database_url).netloc.rpartition("@")[2]  # without the password
        raise OperatorError(
            f"Postgres at {place or 'its default address'} can't be used ({error or type(error).__name__}): "
            "start it, or check TALLY_DATABASE_URL."
        ) from error


async def _missing(connection: asyncpg.Connection, known: list[Migration]) -> list[Migration]:
    applied = {row["version"]: row for row in await connection.fetch("SELECT * FROM schema_migrations")}
    newest = max(applied, default=0)
    if newest > max(migration.version for migration in known):
        raise OperatorError(
            f"The database is newer than this version of Tally (it has migration {newest:04d}): "
            "install the newer version."
        )
    for migration in known:
        row = applied.get(migration.version)
        if row is not None and row["checksum"] != migration.checksum:
            raise OperatorError(
                f"Migration {migration.name} is not the one that the database was migrated with: "
                "restore the released file; a change to the tables is a migration with a new number."
            )
    return [migration for migration in known if migration.version not in applied]


async def _apply(connection: asyncpg.Connection, migration: Migration) -> str:
    async with connection.transaction():
        await connection.execute(migration.sql)
        await connection.execute(
            "INSERT INTO schema_migrations (version, title, checksum) VALUES ($1, $2, $3)",
            migration.version,
            migration.title,
            migration.checksum,
        )
    return migration.name
