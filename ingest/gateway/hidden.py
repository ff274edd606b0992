"""What a key that is bound to services may not learn from a verdict: that an id of another service exists (contract
section 2). The worker knows no keys, and says of such an id whose it is not."""

from collections.abc import Iterable, Sequence
from typing import Final

from ingest.database import Database, DatabaseAway
from ingest.keys import ApiKey
from ingest.queries import named_queries
from schemas.rejection import REASONS, Reason, Rejection
from schemas.reply import Verdict
from schemas.usage_event import UsageEvent

_SQL: Final = named_queries("ingest.gateway", "usage_records.sql")
_UNKNOWN: Final = {
    Reason.SUBSCRIPTION_MISMATCH: Rejection.of(Reason.SUBSCRIPTION_NOT_FOUND, "subscriptionId"),
    Reason.INVOICE_MISMATCH: Rejection.of(Reason.INVOICE_NOT_FOUND, "invoiceId"),
}

_Named = tuple[Reason, str]
"""A reason, and the id that it tells of."""


class Hidden:
    """Looks up whose an id is, where that matters."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def shown_to(
        self, key: ApiKey, events: Sequence[UsageEvent], verdicts: list[Verdict | None]
    ) -> list[Verdict | None]:
        """The verdicts of these events as the key may learn them. Where Postgres does not tell whose an id is, it is
        taken for hidden."""
        if key.services is None:
            return verdicts
        named = [_named(event, verdict) for event, verdict in zip(events, verdicts, strict=True)]
        if not (unsure := {name for name in named if name is not None}):
            return verdicts
        hidden = unsure - await self._seen(key, unsure)
        return [
            _UNKNOWN[name[0]] if name is not None and name in hidden else verdict
            for name, verdict in zip(named, verdicts, strict=True)
        ]

    async def _seen(self, key: ApiKey, named: Iterable[_Named]) -> set[_Named]:
        ids = {reason: [name for its, name in named if its is reason] for reason in _UNKNOWN}
        try:
            async with self._database.connection() as connection:
                rows = await connection.fetch(_SQL["whose"], *ids.values())
        except DatabaseAway:
            return set()
        return {(REASONS[row["reason"]], row["id"]) for row in rows if key.sees(row["service_id"])}


def _named(event: UsageEvent, verdict: Verdict | None) -> _Named | None:
    if not isinstance(verdict, Rejection):
        return None
    if verdict.reason is Reason.SUBSCRIPTION_MISMATCH:
        return verdict.reason, event.subscription_id
    if verdict.reason is Reason.INVOICE_MISMATCH and event.invoice_id is not None:
        return verdict.reason, event.invoice_id
    return None
