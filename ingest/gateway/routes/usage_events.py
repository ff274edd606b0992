"""Usage events. gateway.front answers these paths before the framework sees them; declared here they are documented,
and their other methods get a 405."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response

from ingest.gateway.openapi import json_body
from ingest.gateway.parameters import holder
from ingest.gateway.parts import PartsOf
from ingest.keys import ApiKey, Scope
from schemas.catalog import WireModel

router = APIRouter(tags=["usage events"])

UsageWriter = Annotated[ApiKey, Depends(holder(Scope.USAGE_WRITE))]


class ReceiptView(WireModel):
    """The broker has the event on all in-sync replicas; what became of it is not known yet."""

    id: str
    status: Literal["PENDING"]


class ReceiptAnswer(WireModel):
    """An event that was published."""

    receipt: ReceiptView


class BatchResult(WireModel):
    """What became of one event: a receipt, or the fields of an error."""

    status: int
    receipt: ReceiptView | None = None
    error: str | None = None
    code: str | None = None


class BatchAnswer(WireModel):
    """The results, in the order of the events."""

    results: list[BatchResult]


@router.post("/usage-events", status_code=202, response_model=ReceiptAnswer, openapi_extra=json_body("UsageEvent"))
async def post_usage_event(request: Request, key: UsageWriter, parts: PartsOf) -> Response:
    """Record one usage event. Sending it again is safe: a second event of the same key is never counted."""
    answer = await parts.usage.post_one(key, request.scope["headers"], request.receive, request.state.request_id)
    return answer.response()


@router.post(
    "/usage-events/batch", status_code=207, response_model=BatchAnswer, openapi_extra=json_body("UsageEventBatch")
)
async def post_usage_events(request: Request, key: UsageWriter, parts: PartsOf) -> Response:
    """Record up to 1,000 usage events, each of which is accepted or refused by itself."""
    answer = await parts.usage.post_batch(key, request.scope["headers"], request.receive, request.state.request_id)
    return answer.response()
