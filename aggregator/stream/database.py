"""The connection of a process to Postgres, in the role that bounds what it may write."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import asyncpg

CONNECT_TIMEOUT_SECONDS: Final = 10
STATEMENT_TIMEOUT_SECONDS: Final = 60
"""A statement of a batch takes well under a second: after this long the server is gone, not slow."""
IDLE_SECONDS: Final = 60
"""The rows of a batch are made within the transaction, of one with very many lines for some seconds."""

REFUSED: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)
"""What Postgres raises because of the rows themselves: they would be refused again."""

Row = TypeVar("Row")


@asynccontextmanager
async def connected(
    database_url: str, role: str, idle_seconds: int = IDLE_SECONDS
) -> AsyncIterator[asyncpg.Connection]:
    """A connection in this role. Postgres ends it where a transaction is idle for `idle_seconds`: a process that was
    stopped, or a host that is cut off, in the middle of one would else hold its rows against every other."""
    connection = await asyncpg.connect(
        database_url,
        timeout=CONNECT_TIMEOUT_SECONDS,
        command_timeout=STATEMENT_TIMEOUT_SECONDS,
        server_settings={
            "application_name": role.replace("_", "-"),
            "idle_in_transaction_session_timeout": f"{idle_seconds}s",
        },
    )
    try:
        await connection.execute(f"SET ROLE {role}")
        yield connection
    except BaseException:
        connection.terminate()  # close() would wait for an answer from a server that may be gone
        raise
    await connection.close(timeout=CONNECT_TIMEOUT_SECONDS)


async def write_bisecting(
    connection: asyncpg.Connection, rows: Sequence[Row], write: Callable[[Sequence[Row]], Awaitable[None]]
) -> list[tuple[Row, Exception]]:
    """Write the rows in the caller's transaction; return those that Postgres refuses, each with the reason.

    `write` is called with all rows, and with ever smaller halves of those that it fails for; what a failed call has
    written is undone.
    """
    if not rows:
        return []
    try:
        async with connection.transaction():
            await write(rows)
    except REFUSED as error:
        if len(rows) == 1:
            return [(rows[0], error)]
    else:
        return []
    half = len(rows) // 2
    return [
        *await write_bisecting(connection, rows[:half], write),
        *await write_bisecting(connection, rows[half:], write),
    ]


def columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows as the arrays that unnest() takes."""
    return [list(column) for column in zip(*rows, strict=True)]
