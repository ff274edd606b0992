"""Running totals: what `usage-totals` holds for each meter of a billing period, and for the period itself.

Keys are `[subscriptionId, periodStart, meter]`; the meter "" is the period's own state, since no event key is empty.
"""

import json
from dataclasses import dataclass
from json.encoder import encode_basestring

from schemas.closed_period import NOTHING_CHARGED, Charge
from schemas.decimals import decimal_text, scaled_of_own
from schemas.timestamps import optional_timestamp, optional_timestamp_text, timestamp_text

PERIOD_METER = ""


def total_key(subscription_id: str, period_start_text: str, meter: str) -> bytes:
    """The key of a meter's total; of the period's own state where the meter is ""."""
    return period_prefix(subscription_id, period_start_text) + f"{encode_basestring(meter)}]".encode()


def period_prefix(subscription_id: str, period_start_text: str) -> bytes:
    """What the keys of all totals of a period begin with."""
    return f'[{encode_basestring(subscription_id)},"{period_start_text}",'.encode()


@dataclass(slots=True)
class MeterTotal:
    """What one meter of a period has gathered, and what its invoices have charged so far."""

    period_end: int | None
    quantity: int = 0
    event_count: int = 0
    charged: Charge = NOTHING_CHARGED

    def to_json(self) -> bytes:
        """The value on `usage-totals`."""
        end = "null" if self.period_end is None else f'"{timestamp_text(self.period_end)}"'
        charged = "" if self.charged is NOTHING_CHARGED else f',"charged":{json.dumps(self.charged.wire())}'
        return (
            f'{{"quantity":"{decimal_text(self.quantity)}","eventCount":{self.event_count},"periodEnd":{end}{charged}}}'
        ).encode()

    @classmethod
    def of_json(cls, value: bytes) -> "MeterTotal":
        """The inverse of to_json()."""
        document = json.loads(value)
        charged = document.get("charged")
        return cls(
            period_end=optional_timestamp(document["periodEnd"]),
            quantity=scaled_of_own(document["quantity"]),
            event_count=document["eventCount"],
            charged=NOTHING_CHARGED if charged is None else Charge.of_wire(charged),
        )


@dataclass(slots=True)
class PeriodState:
    """A billing period's own state. `closed` never goes back to false.

    The times (ms) and offsets are those of the first and last event accepted since the latest close: the events that
    the next sequence will charge.
    """

    period_end: int | None
    closed: bool = False
    next_sequence: int = 0
    issued: int = 0
    first_at: int | None = None
    last_at: int | None = None
    first_offset: int | None = None
    last_offset: int | None = None

    def to_json(self) -> bytes:
        """The value on `usage-totals`."""
        return json.dumps(
            {
                "closed": self.closed,
                "nextSequence": self.next_sequence,
                "issued": decimal_text(self.issued),
                "periodEnd": optional_timestamp_text(self.period_end),
                "firstAt": optional_timestamp_text(self.first_at),
                "lastAt": optional_timestamp_text(self.last_at),
                "firstOffset": self.first_offset,
                "lastOffset": self.last_offset,
            },
            separators=(",", ":"),
        ).encode()

    @classmethod
    def of_json(cls, value: bytes) -> "PeriodState":
        """The inverse of to_json()."""
        document = json.loads(value)
        return cls(
            period_end=optional_timestamp(document["periodEnd"]),
            closed=document["closed"],
            next_sequence=document["nextSequence"],
            issued=scaled_of_own(document["issued"]),
            first_at=optional_timestamp(document["firstAt"]),
            last_at=optional_timestamp(document["lastAt"]),
            first_offset=document["firstOffset"],
            last_offset=document["lastOffset"],
        )
