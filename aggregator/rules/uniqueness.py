"""Which events are the same: the place of the one that took a key, and the fingerprint by which a repeat is identical.

A fingerprint is compared for ever, as a unique key is (schemas.unique_key), so it may not change: an event accepted
years ago must still be recognised.
"""

import hashlib
import struct
from typing import NamedTuple

from msgspec.structs import astuple

from schemas.billing_period import BillingPeriod
from schemas.plain import compiled
from schemas.service import EventKeyScope
from schemas.unique_key import unique_key
from schemas.usage_event import UsageEvent, meter_of

_SUBSCRIPTION_SCOPE = EventKeyScope.SUBSCRIPTION
_PLACE = struct.Struct(">IQ16s")
_VOIDED = 1 << 31
"""The highest bit of the partition's number, which no partition needs."""


class Place(NamedTuple):
    """Where an accepted event stands in the log, its fingerprint, and whether it was voided: all that is kept of it to
    decide by."""

    partition: int
    offset: int
    fingerprint: bytes
    is_voided: bool = False

    @classmethod
    def unpack(cls, packed: bytes) -> "Place":
        """The inverse of packed_place() and of voided()."""
        partition, offset, content = _PLACE.unpack(packed)
        return cls(partition & ~_VOIDED, offset, content, bool(partition & _VOIDED))

    def voided(self) -> bytes:
        """The place, packed, of the same event once it is voided: its key stays taken."""
        return _PLACE.pack(self.partition | _VOIDED, self.offset, self.fingerprint)


def packed_place(partition: int, offset: int, fingerprint: bytes) -> bytes:
    """A Place in 28 bytes, the same in RocksDB and in the changelog's header."""
    return _PLACE.pack(partition, offset, fingerprint)


def fingerprint(event: UsageEvent) -> bytes:
    """16 bytes that two events with equal content share: service, user, quantity by value, invoiceId, eventId, and
    occurredAt as sent (omitted equals omitted). No field can hold a line break, so the joined text is unambiguous."""
    content = (
        f"{event.service_id}\n{event.user_id}\n{event.quantity}\n{event.invoice_id or ''}\n{event.event_id or ''}"
        f"\n{'' if event.occurred_at is None else event.occurred_at}"
    )
    return hashlib.blake2b(content.encode(), digest_size=16).digest()


def identity(event: UsageEvent, scope: EventKeyScope, period: BillingPeriod) -> tuple[bytes, bytes, str]:
    """The unique key of an event, its fingerprint, and its meter."""
    if compiled is not None and scope is _SUBSCRIPTION_SCOPE:
        plain = compiled.identity(*astuple(event))
        if plain is not None:
            return plain
    return unique_key(event, scope, period), fingerprint(event), meter_of(event.event_key)
