"""The void of a recorded usage event: published, decided by its worker, answered with what that did."""

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from ingest.catalog.services import find_service
from ingest.corrections import Corrections
from ingest.database import Database
from ingest.gateway.answer import Answer, json_bytes
from ingest.gateway.prefer import Preference
from ingest.gateway.usage import PATH
from ingest.gateway.usage_records import NotCounted, Recorded, UsageRecords
from ingest.gateway.usage_views import usage_event_view
from ingest.gateway.verdicts import Verdicts
from ingest.keys import ApiKey
from ingest.outcome import PublishError
from ingest.refused import Refused
from schemas.billing_period import BillingPeriod
from schemas.correction import Void
from schemas.decimals import scaled_of_own
from schemas.rejection import Reason, Rejection
from schemas.reply import Repeated, Verdict
from schemas.timestamps import milliseconds
from schemas.unique_key import unique_key
from schemas.usage_event import UsageEvent

if TYPE_CHECKING:
    import asyncpg

VOIDED: Final = "VOIDED"

_LOOK_EVERY_SECONDS: Final = 0.03
_NOT_YET: Final = "The event can't be read yet, and was not voided; send the same request again."


class Voids:
    """Voids events that Postgres shows as recorded: by then each of them has reached the worker of its subscription,
    also where it was forwarded there."""

    def __init__(self, database: Database, records: UsageRecords, corrections: Corrections, verdicts: Verdicts) -> None:
        self._database = database
        self._records = records
        self._corrections = corrections
        self._verdicts = verdicts

    async def void(self, event_id: str, reason: str, key: ApiKey, wish: Preference) -> Answer:
        """Void an event; one that is voided already stays as it is. Raises Refused and DatabaseAway."""
        deadline = asyncio.get_running_loop().time() + wish.seconds
        row = await self._recorded(event_id, key, deadline)
        if row["status"] == VOIDED:
            return _voided(_shown(row), wish)
        verdict = await self._decided(await self._void_of(row, reason), wish, deadline)
        if isinstance(verdict, Rejection):
            raise Refused(verdict)
        if isinstance(verdict, Repeated):
            verdict = await self._shown_voided(event_id, deadline)
        return _pending(event_id, wish) if verdict is None else _voided(verdict, wish)

    async def _recorded(self, event_id: str, key: ApiKey, deadline: float) -> "asyncpg.Record":
        """The row of an event, for which this waits where the log alone has it."""
        found = await self._records.find(event_id, key)
        while not isinstance(found, Recorded):
            if isinstance(found, NotCounted):
                what = f"This event was rejected ({found.row['code']}) and counts nowhere: there is nothing to void."
                raise Refused(Rejection(Reason.EVENT_NOT_RECORDED, what, "id"))
            if asyncio.get_running_loop().time() >= deadline:
                raise Refused(Rejection(Reason.UNAVAILABLE, _NOT_YET))
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
            found = await self._records.in_tables(event_id) or found
        return found.row

    async def _void_of(self, row: "asyncpg.Record", reason: str) -> Void:
        async with self._database.connection() as connection:
            service = await find_service(connection, row["service_id"])
        assert service is not None, "it was in the catalog when the event was accepted, and services are never deleted"
        end = row["period_end"]
        period = BillingPeriod(milliseconds(row["period_start"]), None if end is None else milliseconds(end))
        return Void.of_key(row["id"], unique_key(_event(row), service.event_key_scope, period), reason)

    async def _decided(self, void: Void, wish: Preference, deadline: float) -> Verdict | None:
        """Publish a void; what became of it, None where that takes longer than the wait."""
        expected = self._verdicts.expect(1) if wish.seconds else None
        with expected or contextlib.nullcontext():
            try:
                await self._corrections.publish(void, () if expected is None else expected.headers(0))
            except PublishError as error:
                raise Refused(Rejection(Reason.UNAVAILABLE, str(error))) from error
            if expected is None:
                return None
            left = max(0.0, deadline - asyncio.get_running_loop().time())
            (verdict,) = await expected.wait(left)
            return verdict

    async def _shown_voided(self, event_id: str, deadline: float) -> bytes | None:
        """The event once Postgres shows that it is voided, as its worker has said before; None where that takes longer
        than the wait."""
        while True:
            found = await self._records.in_tables(event_id)
            if isinstance(found, Recorded) and found.row["status"] == VOIDED:
                return _shown(found.row)
            if asyncio.get_running_loop().time() >= deadline:
                return None
            await asyncio.sleep(_LOOK_EVERY_SECONDS)


def _event(row: "asyncpg.Record") -> UsageEvent:
    return UsageEvent(
        service_id=row["service_id"],
        subscription_id=row["subscription_id"],
        user_id=row["user_id"],
        event_key=row["event_key"],
        quantity=scaled_of_own(f"{row['quantity']:f}"),
        event_id=row["event_id"],
    )


def _shown(row: "asyncpg.Record") -> bytes:
    return json_bytes(usage_event_view(row).wire())


def _voided(usage_event: bytes, wish: Preference) -> Answer:
    return Answer(200, b'{"usageEvent":%b}' % usage_event, wish.headers())


def _pending(event_id: str, wish: Preference) -> Answer:
    location = (b"location", f"{PATH}/{event_id}".encode())
    body = b'{"receipt":%b}' % json_bytes({"id": event_id, "status": "PENDING"})
    return Answer(202, body, [location, *wish.headers()])
