"""Usage events as they were recorded, and taking one back."""

import heapq
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from ingest.gateway.answer import json_answer
from ingest.gateway.cursor import cursor_of
from ingest.gateway.documentation import examples
from ingest.gateway.documentation.declaring import Sent, Shown, documented, shown
from ingest.gateway.parameters import (
    BillingWriter,
    PageAsked,
    PathId,
    Reader,
    ServiceFilter,
    SubscriptionFilter,
    UserFilter,
)
from ingest.gateway.parts import PartsOf
from ingest.gateway.prefer import preference
from ingest.gateway.rejected_views import RejectedEventView, rejected_event_view
from ingest.gateway.requests import body_of
from ingest.gateway.routes.usage_events import ReceiptAnswer, ReceiptView, UsageEventAnswer
from ingest.gateway.usage_records import SQL, NotCounted, Pending
from ingest.gateway.usage_views import UsageEventView, usage_event_view
from schemas.catalog import WireModel
from schemas.correction import NewVoid
from schemas.rejection import Reason
from schemas.text import OptionalText
from schemas.timestamps import OptionalTimestamp, optional_datetime

if TYPE_CHECKING:
    import asyncpg

    from ingest.database import Connection

router = APIRouter(tags=["usage events"])

_NOT_BILLED: Final = (None, None, None, None)


class RejectedEventAnswer(WireModel):
    """A usage event that was not counted."""

    rejected_event: RejectedEventView


class UsageEventsAnswer(WireModel):
    """A page of usage events."""

    usage_events: list[UsageEventView]
    next_cursor: str | None


@router.get("/usage-events/{id:event_id}")
@documented(
    shown(UsageEventAnswer | RejectedEventAnswer | ReceiptAnswer, {"usageEvent": examples.USAGE_EVENT}),
    reasons=(Reason.USAGE_EVENT_NOT_FOUND,),
)
async def get_usage_event(key: Reader, event_id: PathId, parts: PartsOf) -> Response:
    """What became of a usage event: it was recorded, or rejected, or it is PENDING: not decided yet, or not to be read
    yet."""
    found = await parts.usage_records.find(event_id, key)
    answer: WireModel
    if isinstance(found, Pending):
        answer = ReceiptAnswer(receipt=ReceiptView(id=event_id, status="PENDING"))
    elif isinstance(found, NotCounted):
        answer = RejectedEventAnswer(rejected_event=rejected_event_view(found.row))
    else:
        answer = UsageEventAnswer(usage_event=usage_event_view(found.row))
    return json_answer(200, answer.wire()).response()


@router.get("/usage-events")
@documented(shown(UsageEventsAnswer, {"usageEvents": [examples.USAGE_EVENT], "nextCursor": None}))
async def get_usage_events(
    asked: PageAsked,
    parts: PartsOf,
    subscription_id: SubscriptionFilter = None,
    service_id: ServiceFilter = None,
    user_id: UserFilter = None,
    event_key: Annotated[OptionalText, Query(alias="eventKey", description="Only of this key.")] = None,
    meter: Annotated[OptionalText, Query(description="Only of this meter.")] = None,
    invoice_id: Annotated[
        OptionalText, Query(alias="invoiceId", description="Only those linked to this invoice, or billed by it.")
    ] = None,
    occurred_from: Annotated[OptionalTimestamp, Query(alias="occurredFrom", description="Not before this.")] = None,
    occurred_to: Annotated[OptionalTimestamp, Query(alias="occurredTo", description="Before this.")] = None,
    status: Annotated[Literal["RECORDED", "VOIDED"] | None, Query(description="Only in this status.")] = None,
) -> Response:
    """Recorded usage events in the order of (occurredAt, id), the oldest first."""
    times = optional_datetime(occurred_from), optional_datetime(occurred_to)
    arguments = (*asked.arguments(), subscription_id, service_id, user_id, event_key, meter, *times, status)
    async with parts.database.connection() as connection:
        if invoice_id is None:
            rows = await connection.fetch(SQL["usage_events"], *arguments, None, *_NOT_BILLED)
        else:
            rows = await _of_invoice(connection, arguments, invoice_id)
    page = asked.page(rows, usage_event_view, "occurred_at")
    answer = UsageEventsAnswer(usage_events=page.items, next_cursor=cursor_of(page.next))
    return json_answer(200, answer.wire()).response()


@router.post("/usage-events/{id:id}/void")
@documented(
    shown(UsageEventAnswer, {"usageEvent": {**examples.USAGE_EVENT, "status": "VOIDED"}}, "It counts no more."),
    Shown(202, ReceiptAnswer, {"receipt": examples.RECEIPT}, "Published for good; the wait ended before the verdict."),
    body=Sent(NewVoid, {"reason": "metered twice by a faulty client"}),
    reasons=(Reason.USAGE_EVENT_NOT_FOUND, Reason.EVENT_NOT_RECORDED, Reason.PROCESSING_FAILED),
    waits_for_verdict=True,
)
async def post_void(
    request: Request,
    key: BillingWriter,
    event_id: PathId,
    new: Annotated[NewVoid, Depends(body_of(NewVoid))],
    parts: PartsOf,
) -> Response:
    """Void a recorded usage event: its quantity counts no more, its key stays taken. Where its period is closed the
    invoice stays as it is, and a credit follows. Voiding it again changes nothing."""
    wish = preference(request.scope["headers"])
    return (await parts.voids.void(event_id, new.reason, key, wish)).response()


async def _of_invoice(connection: "Connection", arguments: tuple[Any, ...], invoice_id: str) -> "list[asyncpg.Record]":
    """What is linked to an invoice or billed by it. Each has an index of its own, in the order of the list, which one
    query for both could not use."""
    linked = await connection.fetch(SQL["usage_events"], *arguments, invoice_id, *_NOT_BILLED)
    billed = await connection.fetchrow(SQL["billed_by"], invoice_id)
    if billed is None:
        return linked
    others = await connection.fetch(SQL["usage_events"], *arguments, None, *billed, invoice_id)
    return list(heapq.merge(linked, others, key=lambda row: (row["occurred_at"], row["id"])))
