"""Usage events. gateway.front answers these paths before the framework sees them; declared here they are documented,
and their other methods get a 405."""

import json
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from ingest.gateway.documentation import examples
from ingest.gateway.documentation.declaring import Sent, Shown, documented
from ingest.gateway.documentation.errors import Error, error_example
from ingest.gateway.parameters import Holder
from ingest.gateway.parts import PartsOf
from ingest.gateway.usage_views import UsageEventView
from ingest.keys import ApiKey, Scope
from schemas.catalog import WireModel
from schemas.rejection import Reason
from schemas.usage_event import BATCH_EVENTS_MAX, UsageEventShape

router = APIRouter(tags=["usage events"])

UsageWriter = Annotated[ApiKey, Depends(Holder(Scope.USAGE_WRITE))]

VERDICTS: Final = (
    *(Reason.SERVICE_NOT_FOUND, Reason.SUBSCRIPTION_NOT_FOUND, Reason.INVOICE_NOT_FOUND),
    *(Reason.SUBSCRIPTION_MISMATCH, Reason.INVOICE_MISMATCH),
    *(Reason.SUBSCRIPTION_NOT_ACTIVE, Reason.INVOICE_CLOSED),
    *(Reason.OCCURRED_AT_IN_FUTURE, Reason.OCCURRED_AT_TOO_OLD, Reason.DUPLICATE_EVENT_KEY),
    Reason.PROCESSING_FAILED,
)
"""Why a well-formed usage event does not count."""


class UsageEventAnswer(WireModel):
    """An event that was accepted."""

    usage_event: UsageEventView


class ReceiptView(WireModel):
    """The broker has the event on all in-sync replicas; what became of it is not known yet."""

    id: str
    status: Literal["PENDING"]


class ReceiptAnswer(WireModel):
    """An event that was published, and is not decided yet."""

    receipt: ReceiptView


class UsageEventBatch(WireModel):
    """Usage events that are sent together."""

    usage_events: Annotated[list[UsageEventShape], Field(min_length=1, max_length=BATCH_EVENTS_MAX)]


class AcceptedResult(UsageEventAnswer):
    """One event of a batch that was accepted."""

    status: Literal[201]


class PendingResult(ReceiptAnswer):
    """One event of a batch that was published, and is not decided yet."""

    status: Literal[202]


class RefusedResult(Error):
    """One event of a batch that does not count."""

    status: int


class BatchAnswer(WireModel):
    """The results, in the order of the events."""

    results: list[AcceptedResult | PendingResult | RefusedResult]


_BATCH_RESULTS: Final[list[dict[str, Any]]] = [
    {"status": 201, "usageEvent": examples.USAGE_EVENT},
    {"status": 409, **error_example(Reason.SUBSCRIPTION_NOT_ACTIVE)},
    {"status": 202, "receipt": {**examples.RECEIPT, "id": "ue_3_1043"}},
]


@router.post("/usage-events")
@documented(
    Shown(201, UsageEventAnswer, {"usageEvent": examples.USAGE_EVENT}, "Accepted: the event counts."),
    Shown(202, ReceiptAnswer, {"receipt": examples.RECEIPT}, "Published for good; the wait ended before the verdict."),
    body=Sent(UsageEventShape, examples.NEW_USAGE_EVENT),
    reasons=VERDICTS,
    waits_for_verdict=True,
)
async def post_usage_event(request: Request, key: UsageWriter, parts: PartsOf) -> Response:
    """Record one usage event. Sending it again is safe: a second event of the same key is never counted."""
    answer = await parts.usage.post_one(key, request.scope["headers"], request.receive, request.state.request_id)
    return answer.response()


@router.post("/usage-events/batch")
@documented(
    Shown(207, BatchAnswer, {"results": _BATCH_RESULTS}, "What became of each event, in order."),
    body=Sent(
        UsageEventBatch,
        {"usageEvents": [examples.NEW_USAGE_EVENT]},
        other_media_types={"application/x-ndjson": json.dumps(examples.NEW_USAGE_EVENT)},
        items_by_themselves=True,
    ),
    reasons=(Reason.BATCH_SIZE_INVALID,),
    waits_for_verdict=True,
)
async def post_usage_events(request: Request, key: UsageWriter, parts: PartsOf) -> Response:
    """Record up to 1,000 usage events, each of which is accepted or refused by itself."""
    answer = await parts.usage.post_batch(key, request.scope["headers"], request.receive, request.state.request_id)
    return answer.response()
