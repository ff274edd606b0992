"""The connection to Postgres: away is one exception, and never a hang."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import asyncpg

from schemas.errors import OperatorError

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]

GATEWAY_ROLE: Final = "tally_gateway"

_SESSION: Final = {
    "application_name": "tally-gateway",
    "role": GATEWAY_ROLE,
    "timezone": "UTC",
    # A list's optional filters are ORed with null: only a plan made for the values at hand uses the right index.
    "plan_cache_mode": "force_custom_plan",
    # A gateway that was stopped in the middle of a change holds up no other for longer.
    "idle_in_transaction_session_timeout": "60s",
}
_CONNECT_SECONDS: Final = 3
_AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # of a connection whose end, said by the server, is only half read
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)
_REFUSED: Final = (
    asyncpg.ClientConfigurationError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)
_NOT_MIGRATED: Final = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.InvalidParameterValueError,  # of a connection whose role does not exist
)
_FAILURES: Final = (*_AWAY, *_REFUSED, *_NOT_MIGRATED)


class DatabaseAway(Exception):
    """Postgres did not answer in time, or the connection broke: whether a change was stored is unknown."""


class DatabaseRefuses(DatabaseAway):
    """The URL is wrong, or Postgres does not let us in by it."""


class Database:
    """A pool of connections, each request's use of which is bounded by `seconds`."""

    def __init__(self, url: str, *, connections: int, seconds: float) -> None:
        self._url = url
        self._connections = connections
        self._seconds = seconds
        self._pool: Pool | None = None

    async def open(self) -> None:
        """Make the pool; it connects when it is used."""
        self._pool = await asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=self._connections,
            timeout=_CONNECT_SECONDS,
            server_settings=_SESSION,
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._pool is None:
            return
        try:
            async with asyncio.timeout(self._seconds):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator["Connection"]:
        """A connection without a transaction. Raises DatabaseAway."""
        assert self._pool is not None, "open() comes first"
        try:
            async with asyncio.timeout(self._seconds), self._pool.acquire() as connection:
                try:
                    yield connection
                except (asyncio.CancelledError, TimeoutError):
                    # Else the pool waits until a server that does not answer has cancelled the statement.
                    connection.terminate()
                    raise
        except _FAILURES as error:
            raise _failure(error) from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["Connection"]:
        """A connection in a transaction, which is committed at the end. Raises DatabaseAway."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def session(self) -> AsyncIterator["Connection"]:
        """A connection of its own, outside the pool and without a bound on its use. Raises DatabaseAway."""
        try:
            connection = await asyncpg.connect(
                self._url,
                timeout=_CONNECT_SECONDS,
                command_timeout=self._seconds,
                server_settings=_SESSION,
            )
            try:
                yield connection
            finally:
                connection.terminate()
        except _FAILURES as error:
            raise _failure(error) from error


def _failure(error: BaseException) -> DatabaseAway | OperatorError:
    if isinstance(error, _NOT_MIGRATED):
        return OperatorError(f"The database lacks Tally's tables or roles ({error}); run 'tally migrate'.")
    if isinstance(error, _REFUSED):
        return DatabaseRefuses(f"Postgres can't be used ({error})")
    return DatabaseAway(f"Postgres does not answer: {error or type(error).__name__}")
