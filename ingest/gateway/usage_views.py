"""Usage events as callers see them."""

from typing import Literal

from schemas.catalog import WireModel
from schemas.decimals import DecimalText
from schemas.timestamps import TimestampText


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
