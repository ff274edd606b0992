"""Usage events as callers see them, from the table `usage_events`."""

from typing import TYPE_CHECKING, Literal

from ingest.gateway.columns import number_text, optional_time_text, time_text
from schemas.catalog import WireModel
from schemas.decimals import DecimalText
from schemas.timestamps import TimestampText

if TYPE_CHECKING:
    import asyncpg


class BillingPeriodView(WireModel):
    """[start, end); the end is null where the plan's interval is NONE."""

    start: TimestampText
    end: TimestampText | None


class UsageEventView(WireModel):
    """A usage event that was accepted; VOIDED, it counts no more."""

    id: str
    service_id: str
    subscription_id: str
    user_id: str
    event_key: str
    event_id: str | None
    meter: str
    quantity: DecimalText
    occurred_at: TimestampText
    invoice_id: str | None
    billing_period: BillingPeriodView
    status: Literal["RECORDED", "VOIDED"]
    created_at: TimestampText
    updated_at: TimestampText


def usage_event_view(row: "asyncpg.Record") -> UsageEventView:
    """The view of a row of `usage_events`: the same as the worker's own answer to the event."""
    return UsageEventView(
        id=row["id"],
        service_id=row["service_id"],
        subscription_id=row["subscription_id"],
        user_id=row["user_id"],
        event_key=row["event_key"],
        event_id=row["event_id"],
        meter=row["meter"],
        quantity=number_text(row["quantity"]),
        occurred_at=time_text(row["occurred_at"]),
        invoice_id=row["invoice_id"],
        billing_period=BillingPeriodView(
            start=time_text(row["period_start"]), end=optional_time_text(row["period_end"])
        ),
        status=row["status"],
        created_at=time_text(row["created_at"]),
        updated_at=time_text(row["updated_at"]),
    )
