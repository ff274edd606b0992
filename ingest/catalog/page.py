"""A page of a list, in the order of a time and an id, and the place after it where the next one begins."""

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

    at: datetime
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
            None if self.after is None else self.after.at,
            None if self.after is None else self.after.id,
            self.limit + 1,
        )

    def page(
        self, rows: "Sequence[asyncpg.Record]", item: "Callable[[asyncpg.Record], Item]", order: str = "created_at"
    ) -> "Page[Item]":
        """The page of the rows that the query gave; `order` is the column of the time that they are in the order of."""
        shown = rows[: self.limit]
        more = len(rows) > self.limit
        return Page(
            [item(row) for row in shown],
            Place(shown[-1][order], shown[-1]["id"]) if more else None,
        )


@dataclass(slots=True, frozen=True)
class Page(Generic[Item]):
    """Some items and the place where the next page begins, None after the last one."""

    items: list[Item]
    next: Place | None
