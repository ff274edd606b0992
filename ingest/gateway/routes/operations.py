"""What those who run the gateway ask of it: is it alive, is it ready, what does it measure."""

import asyncio
import logging
from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ingest.database import Database, DatabaseAway
from ingest.gateway.answer import json_answer
from ingest.gateway.documentation.declaring import Shown, documented, shown
from ingest.gateway.parts import PartsOf
from ingest.metrics import READY
from ingest.outcome import Unavailable
from ingest.producer import UsageProducer
from ingest.refused import Refused
from schemas.catalog import WireModel
from schemas.rejection import FieldError, Reason, Rejection

logger = logging.getLogger(__name__)

router = APIRouter(tags=["operations"])

_METRICS_EXAMPLE = 'tally_gateway_usage_events_total{outcome="published"} 1042.0'


class Health(WireModel):
    """All is well."""

    status: Literal["live", "ready"]


@router.get("/health/live")
@documented(shown(Health, {"status": "live"}, "The process answers."))
async def get_live() -> Response:
    """The process answers. It says nothing of what is behind it: restarting would not bring that back."""
    return json_answer(200, Health(status="live").wire()).response()


@router.get("/health/ready")
@documented(shown(Health, {"status": "ready"}, "All is well."), reasons=(Reason.UNAVAILABLE,))
async def get_ready(parts: PartsOf) -> Response:
    """Kafka and Postgres answer, and Postgres has all that the catalog's topic holds; else 503."""
    answers = await asyncio.gather(_kafka_away(parts.producer), _postgres_away(parts.database))
    sentences = [sentence for sentence in answers if sentence is not None]
    if not sentences and not parts.outbox.is_compared:
        sentences = ["Postgres has not been compared with the catalog's topic yet."]
    READY.set(not sentences)
    if sentences:
        raise Refused(Rejection.of_fields(FieldError(None, Reason.UNAVAILABLE, sentence) for sentence in sentences))
    return json_answer(200, Health(status="ready").wire()).response()


@router.get("/metrics")
@documented(Shown(200, None, _METRICS_EXAMPLE, "Prometheus' text format.", "text/plain"))
async def get_metrics() -> Response:
    """The measurements, for Prometheus."""
    return Response(generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})


async def _kafka_away(producer: UsageProducer) -> str | None:
    try:
        await producer.ping()
    except Unavailable as error:
        logger.warning("not ready: %s", error)
        return "Kafka does not answer."
    return None


async def _postgres_away(database: Database) -> str | None:
    try:
        async with database.connection() as connection:
            await connection.execute("SELECT 1")
    except DatabaseAway as error:
        logger.warning("not ready: %s", error)
        return "Postgres does not answer."
    return None
