"""What those who run the gateway ask of it: is it alive, is it ready, what does it measure."""

from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ingest.gateway.answer import json_answer
from ingest.gateway.documentation.declaring import Shown, documented, shown
from ingest.gateway.parts import PartsOf
from ingest.refused import Refused
from schemas.catalog import WireModel
from schemas.rejection import FieldError, Reason, Rejection

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
    if sentences := await parts.readiness.unready():
        raise Refused(Rejection.of_fields(FieldError(None, Reason.UNAVAILABLE, sentence) for sentence in sentences))
    return json_answer(200, Health(status="ready").wire()).response()


@router.get("/metrics")
@documented(Shown(200, None, _METRICS_EXAMPLE, "Prometheus' text format.", "text/plain"))
async def get_metrics() -> Response:
    """The measurements, for Prometheus."""
    return Response(generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})
