"""The gateway's parts, made of its settings and put together; let go in the opposite order."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from starlette.types import ASGIApp

from ingest.broker import Broker
from ingest.catalog.change import Changes
from ingest.catalog.log import CatalogLog
from ingest.catalog.outbox import Outbox
from ingest.catalog.topic import CatalogTopic
from ingest.corrections import Corrections
from ingest.database import Database, DatabaseAway, DatabaseRefuses
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
from ingest.metrics import EVENTS_IN_FLIGHT
from ingest.outcome import Unavailable
from ingest.producer import UsageProducer
from ingest.settings import GatewaySettings
from schemas.errors import OperatorError
from schemas.topics import Topic

logger = logging.getLogger(__name__)

CLOSE_SECONDS: Final = 4
"""With TALLY_DRAIN_SECONDS before it (8 s), the gateway stops in less than 15 s whatever is away."""


ProducerOf = Callable[[GatewaySettings], UsageProducer]


@dataclass(slots=True, frozen=True)
class Gateway:
    """The application, the work that goes on beside it until it has answered its last request, and what makes it answer
    soon."""

    app: ASGIApp
    beside: set[asyncio.Task[None]]
    drain: Callable[[], None]


def usage_producer(settings: GatewaySettings) -> UsageProducer:
    """What publishes the usage events of a gateway."""
    return UsageProducer(
        settings.kafka,
        topic_prefix=settings.topic_prefix,
        seconds=settings.answer_seconds,
        events_max=settings.events_waiting,
        bytes_max=settings.bytes_waiting,
    )


@contextlib.asynccontextmanager
async def gateway(settings: GatewaySettings, producer_of: ProducerOf = usage_producer) -> AsyncIterator[Gateway]:
    """The gateway, connected to what is there. Raises OperatorError where that is not as it should be."""
    async with contextlib.AsyncExitStack() as stack:
        database = Database(
            settings.database_url, connections=settings.database_connections, seconds=settings.answer_seconds
        )
        await database.open()
        producer = producer_of(settings)
        EVENTS_IN_FLIGHT.set_function(lambda: producer.events_in_flight)
        broker = Broker(settings.kafka, settings.topic(Topic.CATALOG), settings.answer_seconds)
        corrections = Broker(settings.kafka, settings.topic(Topic.USAGE_CORRECTIONS), settings.answer_seconds)
        log_reader = LogReader(settings.kafka, settings.topic(Topic.USAGE_EVENTS), settings.answer_seconds)
        stack.push_async_callback(
            _close, database.close, producer.close, broker.close, corrections.close, log_reader.close
        )
        keyring = Keyring(database, settings.keys_seconds)
        await _greet(producer, keyring)
        log = CatalogLog(settings.kafka, settings.topic(Topic.CATALOG), settings.answer_seconds)
        outbox = Outbox(database, CatalogTopic(broker), log)
        verdicts = Verdicts(database, settings.kafka, settings.topic(Topic.USAGE_REPLIES), settings.answer_seconds)
        status = Status(database, producer, settings.kafka, settings.topic, settings.answer_seconds)
        stack.push_async_callback(status.close)
        readiness = Readiness(database, producer, outbox)
        records = UsageRecords(database, producer, log_reader)
        parts = Parts(
            database=database,
            outbox=outbox,
            changes=Changes(database, outbox, settings.answer_seconds),
            producer=producer,
            usage=UsageEvents(producer, verdicts, FirstEvents(database), Hidden(database), settings.body_seconds),
            usage_records=records,
            voids=Voids(database, records, Corrections(corrections, settings.answer_seconds), verdicts),
            verdicts=verdicts,
            status=status,
            readiness=readiness,
            body_seconds=settings.body_seconds,
        )
        requests = IdempotentRequests(database)
        beside = {asyncio.create_task(work.run()) for work in (outbox, keyring, verdicts, requests, readiness)}
        stack.push_async_callback(_cancel, beside)
        limits = RateLimits(settings.requests_per_second)
        yield Gateway(gateway_app(parts, keyring, limits, requests), beside, verdicts.stop_waiting)


async def _greet(producer: UsageProducer, keyring: Keyring) -> None:
    """What is away may come; what is there and not as it should be is said at once."""
    try:
        await producer.start()
    except Unavailable as error:
        logger.warning("starting without Kafka: %s", error)
    try:
        await keyring.load()
    except DatabaseRefuses as error:
        raise OperatorError(f"{error}; check TALLY_DATABASE_URL.") from error
    except DatabaseAway as error:
        logger.warning("starting without Postgres: %s", error)


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def _close(*closings: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Let go of all servers at once, and of none longer than it may take: every request is answered by now, so that
    nobody waits any more for what may still be in flight."""
    closing = {asyncio.create_task(close()) for close in closings}
    done, late = await asyncio.wait(closing, timeout=CLOSE_SECONDS)
    for task in late:
        task.cancel()
    if late:
        logger.warning("a server did not let go of the gateway within %d s", CLOSE_SECONDS)
        await asyncio.wait(late)
    for task in done:
        task.result()
