"""Whether the gateway is ready, and who learns of it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from ingest.catalog.outbox import Outbox
from ingest.database import Database, DatabaseAway
from ingest.gateway.readiness import Readiness
from ingest.metrics import READY
from ingest.outcome import Unavailable
from ingest.producer import UsageProducer

KAFKA, POSTGRES = "Kafka does not answer.", "Postgres does not answer."
BEHIND = "Postgres has not been compared with the catalog's topic yet."


@dataclass
class Servers:
    """Kafka, Postgres and the outbox, as far as they are asked."""

    has_kafka: bool = True
    has_postgres: bool = True
    is_compared: bool = True
    looked: asyncio.Event = field(default_factory=asyncio.Event)

    async def ping(self) -> None:
        self.looked.set()
        if not self.has_kafka:
            raise Unavailable("Kafka at nowhere is away.")

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        if not self.has_postgres:
            raise DatabaseAway("Postgres is away")
        yield self

    async def execute(self, query: str) -> None:
        assert query == "SELECT 1"

    def readiness(self) -> Readiness:
        return Readiness(cast(Database, self), cast(UsageProducer, self), cast(Outbox, self))


def shown() -> float:
    """What Prometheus reads."""
    (family,) = READY.collect()
    return family.samples[0].value


@pytest.mark.parametrize(
    ("servers", "sentences"),
    [
        (Servers(), []),
        (Servers(has_kafka=False), [KAFKA]),
        (Servers(has_postgres=False), [POSTGRES]),
        (Servers(has_kafka=False, has_postgres=False, is_compared=False), [KAFKA, POSTGRES]),
        (Servers(is_compared=False), [BEHIND]),
    ],
)
async def test_what_is_wrong_is_said_and_shown(servers: Servers, sentences: list[str]) -> None:
    assert await servers.readiness().unready() == sentences
    assert shown() == (not sentences)


async def test_a_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ingest.gateway.readiness")
    servers = Servers()
    readiness = servers.readiness()
    for has_kafka, has_postgres in [(True, True), (False, True), (False, False), (True, True), (True, True)]:
        servers.has_kafka, servers.has_postgres = has_kafka, has_postgres
        await readiness.unready()
    assert [record.message for record in caplog.records] == [f"not ready: {KAFKA}", "ready again"]


async def test_it_is_shown_where_nobody_asks() -> None:
    servers = Servers()
    looking = asyncio.create_task(servers.readiness().run(look_seconds=0))
    for has_postgres in (True, False, True):
        servers.has_postgres = has_postgres
        for _ in range(2):  # once the second has begun, what the first has found is shown
            servers.looked.clear()
            async with asyncio.timeout(5):
                await servers.looked.wait()
        assert shown() == has_postgres
    looking.cancel()
    with suppress(asyncio.CancelledError):
        await looking
