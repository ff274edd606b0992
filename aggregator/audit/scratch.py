"""Temporary databases: what is too much to hold in memory is sorted and joined by SQLite, on disk."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import Any, Final

CACHE_KIB: Final = 64 * 1024
"""Of one database. A partition of more than about a million events is on disk."""

ROWS_MAX: Final = 2_000
"""Rows that are written at a time."""

_NAMED = re.compile(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", re.MULTILINE | re.DOTALL)


@cache
def queries(file: str) -> dict[str, str]:
    """The named statements of a SQL file of this package."""
    text = files(__package__).joinpath(file).read_text()
    return {name: statement.strip() for name, statement in _NAMED.findall(text)}


@contextmanager
def open_scratch(path: str) -> Iterator[sqlite3.Connection]:
    """A temporary database. It is lost with its process, so nothing is done for its durability."""
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.executescript(
            f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA temp_store = FILE;"
            f"PRAGMA cache_size = -{CACHE_KIB}; PRAGMA locking_mode = EXCLUSIVE"
        )
        database.execute("BEGIN")
        yield database
        database.execute("COMMIT")
    finally:
        database.close()


class Rows:
    """Rows on their way into a table."""

    def __init__(self, database: sqlite3.Connection, statement: str) -> None:
        self._database = database
        self._statement = statement
        self._rows: list[tuple[Any, ...]] = []

    def __enter__(self) -> "Rows":
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def add(self, *row: Any) -> None:
        """One more."""
        self._rows.append(row)
        if len(self._rows) >= ROWS_MAX:
            self.flush()

    def flush(self) -> None:
        """Write those that wait."""
        self._database.executemany(self._statement, self._rows)
        self._rows.clear()


def execute_all(database: sqlite3.Connection, statements: str) -> None:
    """Statements that return nothing, within the transaction that is open."""
    for statement in statements.split(";\n"):
        database.execute(statement)
