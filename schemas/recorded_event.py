"""A usage event as `accepted-usage` holds it, read back: what was counted, and what counts no more."""

from typing import Final

import msgspec

VOIDED: Final = "VOIDED"


class RecordedPeriod(msgspec.Struct, gc=False):
    """The billing period that an event was counted in."""

    start: str
    end: str | None


class RecordedUsageEvent(msgspec.Struct, gc=False, rename="camel"):
    """The value of a record. Times and the quantity are the text that stands there: who reads this copies it."""

    id: str
    service_id: str
    subscription_id: str
    user_id: str
    event_key: str
    event_id: str | None
    meter: str
    quantity: str
    occurred_at: str
    sent_occurred_at: str | None
    invoice_id: str | None
    billing_period: RecordedPeriod
    status: str
    created_at: str
    updated_at: str
    sequence: int | None = None


recorded_usage_event: Final = msgspec.json.Decoder(RecordedUsageEvent).decode
"""The event in a value. Raises ValueError for what no worker wrote."""
