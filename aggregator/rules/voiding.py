"""What becomes of each correction: the void of an event takes its quantity out of its period's total, once."""

from collections.abc import Mapping, Sequence

from aggregator.rules.account import Catalog
from aggregator.rules.uniqueness import Place
from aggregator.rules.verdicts import Accepted, Decisions, Record, Rejected, Tables
from schemas.correction import Void, parse_void
from schemas.rejection import Reason, Rejection
from schemas.usage_event import AcceptedUsageEvent, UsageEvent, parse_usage_event

EventPlace = tuple[int, int]
"""Partition and offset of an event in `usage-events`."""

_EVENT_DELETED = "The event is no longer in usage-events, so its quantity is not known: keep that topic for ever."


def voids_of(records: Sequence[Record], tables: Tables) -> set[EventPlace]:
    """The events that these corrections may take back: whoever decides the records needs those events again."""
    voids = [void for record in records if isinstance(void := parse_void(record.value), Void)]
    places = tables.places([void.key_bytes() for void in voids])
    return {void.place for void, packed in zip(voids, places, strict=True) if _may_be_voided(void, packed)}


def decide_voids(
    records: Sequence[Record], originals: Mapping[EventPlace, Record], tables: Tables, catalog: Catalog
) -> Decisions:
    """The verdict of each correction, in the order of the log. `originals` are the records of voids_of() that the log
    still holds."""
    decisions = Decisions()
    voided = decisions.taken
    for record in records:
        void = parse_void(record.value)
        if isinstance(void, Rejection):
            decisions.rejected.append(Rejected(record, void))
            continue
        key = void.key_bytes()
        packed = voided.get(key) or tables.places([key])[0]
        if packed is None or Place.unpack(packed)[:2] != void.place:
            decisions.rejected.append(Rejected(record, Rejection.of(Reason.EVENT_NOT_RECORDED, "id")))
        elif Place.unpack(packed).is_voided:
            decisions.repeated.append(record)
        elif (original := originals.get(void.place)) is None:
            decisions.rejected.append(Rejected(record, Rejection(Reason.PROCESSING_FAILED, _EVENT_DELETED, "id")))
        else:
            accepted = _take_back(record, key, Place.unpack(packed), original, tables, catalog, decisions)
            voided[key] = accepted.place
    return decisions


def _may_be_voided(void: Void, packed: bytes | None) -> bool:
    return packed is not None and Place.unpack(packed)[:2] == void.place and not Place.unpack(packed).is_voided


def _take_back(
    record: Record,
    key: bytes,
    place: Place,
    original: Record,
    tables: Tables,
    catalog: Catalog,
    decisions: Decisions,
) -> Accepted:
    event = parse_usage_event(original.value)
    assert isinstance(event, UsageEvent), "it was well-formed when it was accepted"
    account = catalog.account(event.subscription_id)
    assert account is not None, "it was in the catalog when the event was accepted, and the catalog loses nothing"
    occurred_at = original.timestamp if event.occurred_at is None else event.occurred_at
    voided_event = AcceptedUsageEvent(
        event=event,
        partition=place.partition,
        offset=place.offset,
        request_at=original.timestamp,
        occurred_at=occurred_at,
        meter=event.meter,
        period=account.calendar.period_at(occurred_at),
        fingerprint=place.fingerprint,
        catalog_version=account.subscription.version,
        sequence=None,
        voided_at=record.timestamp,
    )
    state = decisions.accumulate(voided_event, account, tables, record.timestamp, -1)
    if state.next_sequence == 0:  # later ones may have charged it as well, which RocksDB does not keep
        voided_event.sequence = 0
    accepted = Accepted(key, place.voided(), voided_event.to_json(), record)
    decisions.accepted.append(accepted)
    return accepted
