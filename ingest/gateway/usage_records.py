"""What is known of one usage event: that it was counted, that it was refused, or only that the log holds it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ingest.broker import BrokerAway
from ingest.database import Database
from ingest.gateway.log_reader import LogReader
from ingest.keys import ApiKey
from ingest.outcome import Unavailable
from ingest.producer import UsageProducer
from ingest.queries import named_queries
from ingest.refused import Refused
from schemas.document import parse_object
from schemas.rejection import Reason, Rejection
from schemas.text import text
from schemas.usage_event import place_of_id

if TYPE_CHECKING:
    import asyncpg

SQL: Final = named_queries("ingest.gateway", "usage_records.sql")

_KAFKA_AWAY: Final = "Kafka does not answer, which alone may know this event; send the same request again."


@dataclass(slots=True, frozen=True)
class Recorded:
    """It was counted: its row of `usage_events`."""

    row: "asyncpg.Record"


@dataclass(slots=True, frozen=True)
class NotCounted:
    """It was refused: its row of `rejected_usage_events`."""

    row: "asyncpg.Record"


@dataclass(slots=True, frozen=True)
class Pending:
    """The log holds it, and no table does yet."""


Found = Recorded | NotCounted | Pending


class UsageRecords:
    """Looks usage events up: in Postgres, and in the log where Postgres knows nothing."""

    def __init__(self, database: Database, producer: UsageProducer, log: LogReader) -> None:
        self._database = database
        self._producer = producer
        self._log = log

    async def find(self, event_id: str, key: ApiKey) -> Found:
        """What is known of the event. Raises Refused where nothing was logged or the key may not know of it, or where
        Kafka is away, and DatabaseAway."""
        place = place_of_id(event_id)
        if place is None:
            raise Refused.of(Reason.USAGE_EVENT_NOT_FOUND)
        found = await self.in_tables(event_id)
        service_id = await self._service_in_log(*place) if found is None else found.row["service_id"]
        if not sees(key, service_id):
            raise Refused.of(Reason.USAGE_EVENT_NOT_FOUND)
        return found or Pending()

    async def in_tables(self, event_id: str) -> Recorded | NotCounted | None:
        """What Postgres knows of the event. Raises DatabaseAway."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(SQL["usage_event"], event_id)
            if row is not None:
                return Recorded(row)
            row = await connection.fetchrow(SQL["rejected_event"], event_id)
            return None if row is None else NotCounted(row)

    async def _service_in_log(self, partition: int, offset: int) -> str | None:
        """The service that a record of the log names; None where it names none. Raises Refused."""
        try:
            exists = partition < await self._producer.partitions()
            logged = await self._log.record(partition, offset) if exists else None
        except (BrokerAway, Unavailable) as error:
            raise Refused(Rejection(Reason.UNAVAILABLE, _KAFKA_AWAY)) from error
        if logged is None:
            raise Refused.of(Reason.USAGE_EVENT_NOT_FOUND)
        return _service_of(logged.value)


def sees(key: ApiKey, service_id: str | None) -> bool:
    """Whether the key may know of what belongs to a service; of what names none only a key for all services may."""
    return key.services is None if service_id is None else key.sees(service_id)


def _service_of(value: bytes | None) -> str | None:
    document = parse_object(value or b"")
    try:
        return None if isinstance(document, Rejection) else text(document.get("serviceId"))
    except ValueError:
        return None
