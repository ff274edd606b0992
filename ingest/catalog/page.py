"""A page of a list, newest first, and the place after it where the next one begins."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import asyncpg

Item = TypeVar("Item")


@dataclass(slots=True, frozen=True)
class Place:
    """Where a page ended: the last row's time and id, which together are unique."""

    created_at: datetime
    id: str


@dataclass(slots=True, frozen=True)
class PageRequest:
    """Which rows are asked for: `limit` of them after a place, of these services (None: all)."""

    limit: int
    after: Place | None
    services: frozenset[str] | None

    def arguments(self) -> tuple[list[str] | None, datetime | None, str | None, int]:
        """The first four arguments of each list's query; one row more than asked for tells if there is another."""
        return (
            None if self.services is None else list(self.services),
            None if self.after is None else self.after.created_at,
            None if self.after is None else self.after.id,
            self.limit + 1,
        )

    def page(self, rows: "Sequence[asyncpg.Record]", item: "Callable[[asyncpg.Record], Item]") -> "Page[Item]":
        """The page of the rows that the query gave."""
        shown = rows[: self.limit]
        more = len(rows) > self.limit
        return Page(
            [item(row) for row in shown],
            Place(shown[-1]["created_at"], shown[-1]["id"]) if more else None,
        )


@dataclass(slots=True, frozen=True)
class Page(Generic[Item]):
    """Some items and the place where the next page begins, None after the last one."""

    items: list[Item]
    next: Place | None
