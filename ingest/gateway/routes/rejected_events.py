"""Rejected events, and sending one on its way again."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from msgspec import structs

from ingest.gateway.answer import json_answer
from ingest.gateway.cursor import cursor_of
from ingest.gateway.documentation import examples
from ingest.gateway.documentation.declaring import Shown, documented, shown
from ingest.gateway.documentation.errors import DECIMAL, TIMESTAMP
from ingest.gateway.parameters import PageAsked, PathId, Reader, SubscriptionFilter
from ingest.gateway.parts import Parts, PartsOf
from ingest.gateway.prefer import preference
from ingest.gateway.rejected_views import RejectedEventView, rejected_event_view
from ingest.gateway.routes.usage_events import VERDICTS, ReceiptAnswer, UsageEventAnswer, UsageWriter
from ingest.gateway.routes.usage_records import RejectedEventAnswer
from ingest.gateway.tracing import trace_headers
from ingest.gateway.usage_records import SQL, sees
from ingest.keys import ApiKey
from ingest.refused import Refused
from schemas.catalog import WireModel
from schemas.rejection import Reason, Rejection
from schemas.text import OptionalText
from schemas.timestamps import OptionalTimestamp, milliseconds, optional_datetime
from schemas.topics import MIB, Topic
from schemas.usage_event import UsageEvent, parse_usage_event

if TYPE_CHECKING:
    import asyncpg

router = APIRouter(tags=["rejected events"])

PAGE_BYTES_MAX: Final = 4 * MIB
"""Of keys and values together. Anybody's record may have 1 MiB, and a page 100 of them."""

_NO_EVENT: Final = {
    Topic.USAGE_CORRECTIONS: "This is a void that was refused, and no usage event; void the event again instead.",
    Topic.USAGE_FORWARDED: "No worker forwarded this record, so it is no usage event; send the event to usage-events.",
}


class RejectedEventsAnswer(WireModel):
    """A page of rejected events; where they are large it has fewer than were asked for."""

    rejected_events: list[RejectedEventView]
    next_cursor: str | None


@router.get("/rejected-events")
@documented(shown(RejectedEventsAnswer, {"rejectedEvents": [examples.REJECTED_EVENT], "nextCursor": None}))
async def get_rejected_events(
    asked: PageAsked,
    parts: PartsOf,
    subscription_id: SubscriptionFilter = None,
    code: Annotated[OptionalText, Query(description="Only rejected with this code.")] = None,
    received_from: Annotated[OptionalTimestamp, Query(alias="from", description="Not received before.")] = None,
    received_to: Annotated[OptionalTimestamp, Query(alias="to", description="Received before.")] = None,
) -> Response:
    """Rejected events, also duplicates and voids that were refused, newest first."""
    times = optional_datetime(received_from), optional_datetime(received_to)
    async with parts.database.connection() as connection:
        rows = await connection.fetch(
            SQL["rejected_events"], *asked.arguments(), subscription_id, code, *times, PAGE_BYTES_MAX
        )
    fitting = sum(not row["is_beyond"] for row in rows)
    page = replace(asked, limit=min(asked.limit, max(fitting, 1))).page(rows, rejected_event_view, "received_at")
    answer = RejectedEventsAnswer(rejected_events=page.items, next_cursor=cursor_of(page.next))
    return json_answer(200, answer.wire()).response()


@router.get("/rejected-events/{id:id}")
@documented(
    shown(RejectedEventAnswer, {"rejectedEvent": examples.REJECTED_EVENT}), reasons=(Reason.USAGE_EVENT_NOT_FOUND,)
)
async def get_rejected_event(key: Reader, event_id: PathId, parts: PartsOf) -> Response:
    """A rejected event."""
    row = await _rejected(parts, key, event_id)
    return json_answer(200, RejectedEventAnswer(rejected_event=rejected_event_view(row)).wire()).response()


@router.post("/rejected-events/{id:id}/redrive")
@documented(
    Shown(201, UsageEventAnswer, {"usageEvent": examples.USAGE_EVENT}, "Accepted now: the event counts."),
    Shown(202, ReceiptAnswer, {"receipt": examples.RECEIPT}, "Published for good; the wait ended before the verdict."),
    reasons=(
        *(Reason.USAGE_EVENT_NOT_FOUND, Reason.EVENT_NOT_RECORDED),
        *(Reason.INVALID_BODY, Reason.BODY_TOO_LARGE, Reason.FIELD_REQUIRED, Reason.FIELD_INVALID),
        *(*DECIMAL, *TIMESTAMP, *VERDICTS),
    ),
    waits_for_verdict=True,
)
async def post_redrive(request: Request, key: UsageWriter, event_id: PathId, parts: PartsOf) -> Response:
    """Send a rejected event again, once what it was refused for is mended; answered as a new event is.

    Where it has no occurredAt, it keeps the time at which it was first received. All else is judged anew: the event
    gets an id of its own, and the rejected one stays as it is.
    """
    row = await _rejected(parts, key, event_id)
    if row["origin_topic"] != Topic.USAGE_EVENTS:
        raise Refused(Rejection(Reason.EVENT_NOT_RECORDED, _NO_EVENT[row["origin_topic"]], "id"))
    event = parse_usage_event(row["value"])
    if isinstance(event, Rejection):
        raise Refused(event)
    if not key.sees(event.service_id):
        raise Refused.of(Reason.SERVICE_NOT_FOUND, "serviceId")
    wish = preference(request.scope["headers"])
    trace = trace_headers(request.scope["headers"])
    answer = await parts.usage.publish(_dated(event, row), key, wish, request.state.request_id, trace)
    return answer.response()


async def _rejected(parts: Parts, key: ApiKey, event_id: str) -> "asyncpg.Record":
    async with parts.database.connection() as connection:
        row = await connection.fetchrow(SQL["rejected_event"], event_id)
    if row is None or not sees(key, row["service_id"]):
        raise Refused.of(Reason.USAGE_EVENT_NOT_FOUND)
    return row


def _dated(event: UsageEvent, row: "asyncpg.Record") -> UsageEvent:
    return (
        event if event.occurred_at is not None else structs.replace(event, occurred_at=milliseconds(row["received_at"]))
    )
