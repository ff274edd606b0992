"""The gateway without a network: its application called in memory, on a producer that keeps what it is given."""

import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import httpx

from ingest.catalog.change import Changes
from ingest.catalog.log import CatalogLog
from ingest.catalog.outbox import Outbox
from ingest.catalog.topic import CatalogTopic
from ingest.corrections import Corrections
from ingest.database import Database, DatabaseAway
from ingest.gateway.app import gateway_app
from ingest.gateway.first_events import FirstEvents
from ingest.gateway.hidden import Hidden
from ingest.gateway.idempotent_requests import IdempotentRequests
from ingest.gateway.keyring import Keyring
from ingest.gateway.log_reader import LogReader
from ingest.gateway.parts import Parts
from ingest.gateway.rate_limits import RateLimits
from ingest.gateway.readiness import Readiness
from ingest.gateway.status.look import Status
from ingest.gateway.usage import UsageEvents
from ingest.gateway.usage_records import UsageRecords
from ingest.gateway.verdicts import Verdicts
from ingest.gateway.voiding import Voids
from ingest.keys import Scope
from ingest.outcome import Outcome, PublishError, Receipt, Unavailable
from ingest.producer import UsageProducer
from schemas.forwarding import Headers
from schemas.usage_event import UsageEvent

BODY_SECONDS = 0.2


@dataclass
class ProducerInMemory:
    """Gives receipts in partition 3 from offset 0 on, or the outcomes that a test wants."""

    published: list[UsageEvent] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    headers: list[Headers] = field(default_factory=list)

    async def publish(self, event: UsageEvent) -> Receipt:
        (outcome,) = await self.publish_many([event])
        if isinstance(outcome, PublishError):
            raise outcome
        return outcome

    async def publish_many(self, events: Iterable[UsageEvent], headers: Sequence[Headers] = ()) -> list[Outcome]:
        given = list(events)
        start = len(self.published)
        self.published += given
        self.headers += headers
        return self.outcomes or [Receipt(3, start + number) for number in range(len(given))]

    async def partitions(self) -> int:
        raise Unavailable("Kafka at nowhere is away.")

    async def ping(self) -> None:
        raise Unavailable("Kafka at nowhere is away.")


@dataclass
class KeysInMemory:
    """A database that holds API keys and nothing else, and may be away."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    away: bool = False
    reads: int = 0

    def add(
        self,
        key: str,
        scopes: Iterable[str],
        services: list[str] | None = None,
        requests_per_second: int | None = None,
    ) -> str:
        key_hash = hashlib.sha256(key.encode()).digest()
        self.rows.append(
            {
                "id": f"key_{len(self.rows)}",
                "hash": key_hash,
                "scopes": scopes,
                "services": services,
                "requests_per_second": requests_per_second,
            }
        )
        return key

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        if self.away:
            raise DatabaseAway("Postgres does not answer")
        yield self

    async def fetch(self, query: str) -> list[dict[str, Any]]:
        assert "api_keys" in query
        self.reads += 1
        return list(self.rows)


def key_text(letter: str) -> str:
    """A key of the right form."""
    return f"tally_{letter * 43}"


class GatewayInMemory:
    """The application, and a client that holds a key with every scope."""

    def __init__(self) -> None:
        self.producer = ProducerInMemory()
        self.keys = KeysInMemory()
        self.key = self.keys.add(key_text("a"), list(Scope))
        database = cast(Database, self.keys)
        producer = cast(UsageProducer, self.producer)
        outbox = Outbox(database, cast(CatalogTopic, None), cast(CatalogLog, None))
        verdicts = Verdicts(database, "nowhere:1", "usage-replies", 0.2)  # it has no claim, so that all are receipts
        usage = UsageEvents(producer, verdicts, FirstEvents(database), Hidden(database), BODY_SECONDS)
        changes = Changes(database, outbox, 0.2)
        records = UsageRecords(database, producer, LogReader("nowhere:1", "usage-events", 0.2))
        parts = Parts(
            database=database,
            outbox=outbox,
            changes=changes,
            producer=producer,
            usage=usage,
            usage_records=records,
            voids=Voids(database, records, cast(Corrections, None), verdicts),
            verdicts=verdicts,
            status=Status(database, producer, "nowhere:1", str, 0.2),
            readiness=Readiness(database, producer, outbox),
            body_seconds=BODY_SECONDS,
        )
        self.keyring = Keyring(database, 5)
        self.app = gateway_app(parts, self.keyring, RateLimits(0), IdempotentRequests(database))

    async def request(self, method: str, path: str, body: bytes | None = None, **headers: str | None) -> httpx.Response:
        """One request; a header of None is left out, an underscore stands for a hyphen."""
        sent = {"authorization": f"Bearer {self.key}", "content_type": "application/json", **headers}
        named = {name.replace("_", "-"): value for name, value in sent.items() if value is not None}
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.request(method, path, content=body, headers=named)

    async def post_event(self, body: bytes, **headers: str | None) -> httpx.Response:
        """POST /usage-events."""
        return await self.request("POST", "/api/v1/usage-events", body, **headers)
