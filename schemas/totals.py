"""Running totals: what `usage-totals` holds for each meter of a billing period, and for the period itself.

Keys are `[subscriptionId, periodStart, meter]`; the meter "" is the period's own state, since no event key is empty.
"""

import json
from dataclasses import dataclass
from json.encoder import encode_basestring

from schemas.closed_period import NOTHING_CHARGED, Charge
from schemas.decimals import decimal_text, scaled_of_own
from schemas.timestamps import frequent_timestamp_text, optional_timestamp_of_own

PERIOD_METER = ""


def total_key(subscription_id: str, period_start_text: str, meter: str) -> bytes:
    """The key of a meter's total; of the period's own state where the meter is ""."""
    return period_prefix(subscription_id, period_start_text) + f"{encode_basestring(meter)}]".encode()


def period_prefix(subscription_id: str, period_start_text: str) -> bytes:
    """What the keys of all totals of a period begin with."""
    return f'[{encode_basestring(subscription_id)},"{period_start_text}",'.encode()


_OF_A_PERIOD = b',"%b"]' % PERIOD_METER.encode()
"""What the key of a period's own state ends with. No meter's does: quotes within a meter are escaped."""


def is_of_a_period(key: bytes) -> bool:
    """Whether it is the key of a period's own state."""
    return key.endswith(_OF_A_PERIOD)


@dataclass(slots=True)
class MeterTotal:
    """What one meter of a period has gathered, and what its invoices have charged so far."""

    period_end: int | None
    quantity: int = 0
    event_count: int = 0
    charged: Charge = NOTHING_CHARGED

    def copy(self) -> "MeterTotal":
        """Another with equal fields."""
        return MeterTotal(self.period_end, self.quantity, self.event_count, self.charged)

    def to_json(self) -> bytes:
        """The value on `usage-totals`."""
        charged = "" if self.charged is NOTHING_CHARGED else f',"charged":{self.charged.to_json()}'
        return (
            f'{{"quantity":"{decimal_text(self.quantity)}","eventCount":{self.event_count}'
            f',"periodEnd":{_time_json(self.period_end)}{charged}}}'
        ).encode()

    @classmethod
    def of_json(cls, value: bytes) -> "MeterTotal":
        """The inverse of to_json()."""
        document = json.loads(value)
        charged = document.get("charged")
        return cls(
            period_end=optional_timestamp_of_own(document["periodEnd"]),
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

    def reached(self, first_offset: int, last_offset: int) -> None:
        """Note the offsets of events that were accepted later than those it knows of."""
        if self.first_offset is None:
            self.first_offset = first_offset
        self.last_offset = last_offset

    def copy(self) -> "PeriodState":
        """Another with equal fields."""
        return PeriodState(
            self.period_end,
            self.closed,
            self.next_sequence,
            self.issued,
            self.first_at,
            self.last_at,
            self.first_offset,
            self.last_offset,
        )

    def to_json(self) -> bytes:
        """The value on `usage-totals`."""
        return (
            f'{{"closed":{"true" if self.closed else "false"},"nextSequence":{self.next_sequence}'
            f',"issued":"{decimal_text(self.issued)}","periodEnd":{_time_json(self.period_end)}'
            f',"firstAt":{_time_json(self.first_at)},"lastAt":{_time_json(self.last_at)}'
            f',"firstOffset":{_offset_json(self.first_offset)},"lastOffset":{_offset_json(self.last_offset)}}}'
        ).encode()

    @classmethod
    def of_json(cls, value: bytes) -> "PeriodState":
        """The inverse of to_json()."""
        document = json.loads(value)
        return cls(
            period_end=optional_timestamp_of_own(document["periodEnd"]),
            closed=document["closed"],
            next_sequence=document["nextSequence"],
            issued=scaled_of_own(document["issued"]),
            first_at=optional_timestamp_of_own(document["firstAt"]),
            last_at=optional_timestamp_of_own(document["lastAt"]),
            first_offset=document["firstOffset"],
            last_offset=document["lastOffset"],
        )


def _time_json(at: int | None) -> str:
    return "null" if at is None else f'"{frequent_timestamp_text(at)}"'


def _offset_json(offset: int | None) -> str:
    return "null" if offset is None else str(offset)
