"""The event that took a key: what the answer to a duplicate shows of it (contract rule 4)."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from ingest.database import Database, DatabaseAway
from ingest.gateway.usage_views import usage_event_view
from ingest.queries import named_queries
from schemas.rejection import Reason, Rejection

_SQL: Final = named_queries("ingest.gateway", "usage_records.sql")
_PROJECTED_SECONDS: Final = 1.0
"""How long a first event may take to reach Postgres. It was counted a moment ago at the latest."""
_LOOK_EVERY_SECONDS: Final = 0.03


class FirstEvents:
    """Looks them up in Postgres."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def shown(self, rejections: Iterable[Rejection]) -> dict[str, dict[str, Any]]:
        """The first events that these rejections of duplicates name, by id, as callers see them. One that Postgres
        does not show in time has its id alone."""
        ids = {first for rejection in rejections if (first := first_id(rejection)) is not None}
        found: dict[str, dict[str, Any]] = {}
        if ids:
            try:
                async with asyncio.timeout(_PROJECTED_SECONDS):
                    while missing := ids - found.keys():
                        found |= await self._look_up(missing)
                        if missing - found.keys():
                            await asyncio.sleep(_LOOK_EVERY_SECONDS)
            except (TimeoutError, DatabaseAway):
                pass
        return {first: found.get(first, {"id": first}) for first in ids}

    async def _look_up(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["usage_events_of_ids"], list(ids))
        return {row["id"]: usage_event_view(row).wire() for row in rows}


def first_id(rejection: Rejection) -> str | None:
    """The id of the event that took the key; None where the record was refused for something else."""
    return rejection.extra.get("existingId") if rejection.reason is Reason.DUPLICATE_EVENT_KEY else None


def with_first_event(rejection: Rejection, shown: dict[str, dict[str, Any]]) -> Rejection:
    """The rejection as the caller gets it: with the first event instead of its id alone."""
    if (first := first_id(rejection)) is None:
        return rejection
    extra = {"identical": rejection.extra["identical"], "existing": shown[first]}
    return Rejection(rejection.reason, rejection.error, rejection.field, rejection.details, extra)
