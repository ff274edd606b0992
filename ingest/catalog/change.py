"""A change of the catalog: stored in Postgres, published to the topic, and only then answered."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from ingest.catalog.outbox import Outbox, announce, unannounced
from ingest.database import Database, DatabaseAway
from ingest.refused import Refused
from schemas.catalog import WireModel
from schemas.invoice import CatalogInvoice
from schemas.plan import Plan
from schemas.rejection import Reason, Rejection
from schemas.service import Service
from schemas.subscription import Subscription

if TYPE_CHECKING:
    from ingest.database import Connection

Entity = TypeVar("Entity", Service, Plan, Subscription, CatalogInvoice)

KINDS: Final[dict[type[WireModel], str]] = {
    Service: "service",
    Plan: "plan",
    Subscription: "subscription",
    CatalogInvoice: "invoice",
}
"""What an entity is called in its key."""

STORED_BUT_UNPUBLISHED = (
    "The change is stored, but Kafka did not acknowledge it in time; send the same request again to learn when it is"
    " in force."
)
NOT_COMPARED = "Kafka or Postgres does not answer, and nothing was stored; send the same request again."


@dataclass(slots=True, frozen=True)
class Saved(Generic[Entity]):
    """An entity as it is stored now. `seq` is the outbox row to wait for, None where all is published."""

    entity: Entity
    created: bool
    seq: int | None


async def saved(connection: "Connection", entity: Entity, *, created: bool = False) -> Saved[Entity]:
    """Announce a new version of an entity, in the transaction that stores it."""
    return Saved(entity, created, await announce(connection, key_of(entity), entity.version, entity.wire()))


async def unchanged(connection: "Connection", entity: Entity) -> Saved[Entity]:
    """What is there already; an earlier request may have stored it and not have published it yet."""
    return Saved(entity, created=False, seq=await unannounced(connection, key_of(entity)))


def key_of(entity: Service | Plan | Subscription | CatalogInvoice) -> str:
    """The key of an entity's record in the topic `catalog`."""
    return f"{KINDS[type(entity)]}/{entity.id}"


class Changes:
    """Makes changes one at a time for each entity, and answers when the next usage event will see them."""

    def __init__(self, database: Database, outbox: Outbox, seconds: float) -> None:
        self._database = database
        self._outbox = outbox
        self._seconds = seconds

    async def make(self, change: Callable[["Connection"], Awaitable[Saved[Entity]]]) -> Saved[Entity]:
        """Make the change in a transaction of its own. Raises Refused and DatabaseAway."""
        result: Saved[Entity] | None = None
        try:
            async with asyncio.timeout(self._seconds):
                await self._outbox.compared()
                async with self._database.transaction() as connection:
                    result = await change(connection)
                if result.seq is not None:
                    await self._outbox.published(result.seq)
        except TimeoutError as error:
            if not self._outbox.is_compared:
                raise Refused(Rejection(Reason.UNAVAILABLE, NOT_COMPARED)) from error
            if result is None:
                raise DatabaseAway("Postgres does not answer") from error
            raise Refused(Rejection(Reason.UNAVAILABLE, STORED_BUT_UNPUBLISHED)) from error
        return result
