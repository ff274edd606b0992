"""The key that an event takes, so that it is counted once (contract rule 4).

It is compared for ever, so it may not change: an event accepted years ago must still be recognised.
"""

from json.encoder import encode_basestring

from schemas.billing_period import BillingPeriod
from schemas.service import EventKeyScope
from schemas.usage_event import UsageEvent


def unique_key(event: UsageEvent, scope: EventKeyScope, period: BillingPeriod) -> bytes:
    """The key under which an event is unique (contract rule 4), as a JSON array."""
    pair = f"[{encode_basestring(event.subscription_id)},{encode_basestring(event.event_key)}"
    if scope is EventKeyScope.SUBSCRIPTION:
        return f"{pair}]".encode()
    if scope is EventKeyScope.PERIOD:
        return f'{pair},"{period.start_text}"]'.encode()
    assert event.event_id is not None, "the scope EVENT requires an eventId"
    return f"{pair},{encode_basestring(event.event_id)}]".encode()
