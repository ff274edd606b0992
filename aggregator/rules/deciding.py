"""What becomes of each usage event: the rules 1-5 of the contract, in the contract's order of precedence.

`decide` is a function of values: the records of a batch, the tables as they stand, the catalog. It changes neither
tables nor catalog; what the batch changes is in the `Decisions` that it returns, and a second call with the same
values returns the same. Of slices of one batch, all share one `Decisions`.
"""

from collections.abc import Iterable, Sequence
from itertools import repeat

from aggregator.rules.account import Account, Catalog
from aggregator.rules.standing import FUTURE_MS_MAX, Standings
from aggregator.rules.uniqueness import Place, identity, packed_place
from aggregator.rules.verdicts import Accepted, Decisions, Forwarded, Record, Rejected, Tables
from schemas.invoice import LINKABLE_STATUSES
from schemas.plain import Compiled, compiled
from schemas.rejection import FieldError, Reason, Rejection
from schemas.service import EventKeyScope
from schemas.subscription import SubscriptionStatus
from schemas.timestamps import SECOND_MS
from schemas.topics import partition_of
from schemas.usage_event import AcceptedUsageEvent, UsageEvent, parse_usage_event

_EVENT_SCOPE = EventKeyScope.EVENT  # to look a member up in its class costs more than the comparison
_EVENT_ID_REQUIRED = FieldError("eventId", Reason.FIELD_REQUIRED, "is required by this service's eventKeyScope EVENT")

_Candidate = tuple[AcceptedUsageEvent, Account, bytes, Record]
"""A well-formed event of a known account, of which uniqueness and state are not judged yet: what it will be if it is
accepted, its account, its unique key, its record. A plain tuple: there is one for each event."""


def decide(
    records: Sequence[Record],
    partition: int,
    partitions: int,
    tables: Tables,
    catalog: Catalog,
    origins: Iterable[int] | None = None,
    decisions: Decisions | None = None,
    *,
    has_more: bool = False,
) -> Decisions:
    """The verdict of each record of a batch, in the order of the log; `origins` are the partitions in which the records
    first stood, where that is not this one. A batch can be decided in slices: each goes on with the `decisions` that
    the one before returned, and where it `has_more`, totals and periods may still lack some of what counts."""
    decisions = Decisions() if decisions is None else decisions
    if compiled is None or origins is not None:
        origins = repeat(partition, len(records)) if origins is None else origins
        _decide_each(records, origins, partition, partitions, tables, catalog, decisions)
    else:
        _decide_many(compiled, records, partition, partitions, tables, catalog, decisions, has_more=has_more)
    decisions.rejected.sort(key=lambda rejected: rejected.record.offset)
    return decisions


def _decide_each(
    records: Sequence[Record],
    origins: Iterable[int],
    partition: int,
    partitions: int,
    tables: Tables,
    catalog: Catalog,
    decisions: Decisions,
) -> None:
    candidates = [
        candidate
        for record, origin in zip(records, origins, strict=True)
        if (candidate := _candidate(record, origin, partition, partitions, catalog, decisions)) is not None
    ]
    places = tables.places([key for _, _, key, _ in candidates])
    for candidate, place in zip(candidates, places, strict=True):
        _judge(candidate, place, partition, tables, catalog, decisions)


def _decide_many(
    compiled: Compiled,
    records: Sequence[Record],
    partition: int,
    partitions: int,
    tables: Tables,
    catalog: Catalog,
    decisions: Decisions,
    *,
    has_more: bool,
) -> None:
    """As _decide_each(), but what is certain by the standing of its subscription is counted in C."""
    standings = Standings(compiled, partition, partitions, tables, catalog, decisions)
    plain = compiled.Slice(records, partition, decisions.standings, decisions.touched, standings.find)
    candidates = {
        index: _candidate(records[index], partition, partition, partitions, catalog, decisions)
        for index in plain.others
    }
    for index, candidate in candidates.items():
        if candidate is not None:
            plain.keys[index] = candidate[2]
    places = list(tables.places(plain.keys))
    index = -1
    while (index := plain.count(index + 1, places, decisions.taken, decisions.accepted, Accepted)) < len(records):
        if index not in candidates:
            candidates[index] = _candidate(records[index], partition, partition, partitions, catalog, decisions)
        candidate = candidates[index]
        if candidate is not None:
            _judge(candidate, places[index], partition, tables, catalog, decisions)
    if not has_more:
        decisions.fold(tables)


def _candidate(
    record: Record, origin: int, partition: int, partitions: int, catalog: Catalog, decisions: Decisions
) -> _Candidate | None:
    """What is to be judged of a record; None where its verdict is found already."""
    examined = _examine(record, origin, partition, partitions, catalog)
    if type(examined) is Rejection:
        decisions.rejected.append(Rejected(record, examined))
        return None
    if type(examined) is Forwarded:
        decisions.forwarded.append(examined)
        return None
    return examined  # type: ignore[return-value]  # mypy can't narrow by type() is


def _examine(
    record: Record, origin: int, partition: int, partitions: int, catalog: Catalog
) -> _Candidate | Rejection | Forwarded:
    """Shape, place, existence and ownership: all that does not depend on what was accepted before."""
    event = parse_usage_event(record.value)
    if type(event) is not UsageEvent:
        assert type(event) is Rejection
        return event
    subscription_id = event.subscription_id
    home = partition_of(subscription_id, partitions)
    if home != partition:
        return Forwarded(record, home)
    account = catalog.account(subscription_id)
    if account is None or event.invoice_id is not None or not account.is_of(event.service_id, event.user_id):
        refusal = _refusal_by_reference(event, account, catalog)
        if refusal is not None:
            return refusal
    assert account is not None, "without an account there is a refusal"
    scope = account.service.event_key_scope
    if scope is _EVENT_SCOPE and event.event_id is None:
        return Rejection.of_fields([_EVENT_ID_REQUIRED])
    request_at = record.timestamp
    occurred_at = request_at if event.occurred_at is None else event.occurred_at
    period = account.calendar.period_at(occurred_at)
    key, content, meter = identity(event, scope, period)
    candidate = AcceptedUsageEvent(
        event,
        origin,
        record.offset,
        request_at,
        occurred_at,
        meter,
        period,
        content,
        account.subscription.version,
        None,
    )
    return candidate, account, key, record


def _refusal_by_reference(event: UsageEvent, account: Account | None, catalog: Catalog) -> Rejection | None:
    """Existence, then ownership, of what the event names: service, subscription, invoice."""
    service = catalog.service(event.service_id)
    if service is None:
        return Rejection.of(Reason.SERVICE_NOT_FOUND, "serviceId")
    if service.event_key_scope is EventKeyScope.EVENT and event.event_id is None:  # of shape; only the service tells
        return Rejection.of_fields([_EVENT_ID_REQUIRED])
    if account is None:
        return Rejection.of(Reason.SUBSCRIPTION_NOT_FOUND, "subscriptionId")
    invoice = None if event.invoice_id is None else catalog.invoice(event.invoice_id)
    if event.invoice_id is not None and invoice is None:
        return Rejection.of(Reason.INVOICE_NOT_FOUND, "invoiceId")
    if not account.is_of(event.service_id, event.user_id):
        return Rejection.of(Reason.SUBSCRIPTION_MISMATCH, "subscriptionId")
    if invoice is not None and (invoice.service_id != event.service_id or invoice.user_id != event.user_id):
        return Rejection.of(Reason.INVOICE_MISMATCH, "invoiceId")
    return None


def _judge(
    candidate: _Candidate,
    stored: bytes | None,
    partition: int,
    tables: Tables,
    catalog: Catalog,
    decisions: Decisions,
) -> None:
    """Uniqueness and state. An identical repeat is a duplicate before any check of state: its first copy counted."""
    event, account, key, record = candidate
    place = decisions.taken.get(key) if stored is None else stored
    if place is None:
        refusal = _refusal_by_state(event, account, catalog)
        if refusal is None:
            _accept(candidate, partition, tables, decisions)
            return
    elif place[-16:] == event.fingerprint:
        refusal = _duplicate(place, identical=True)
    else:
        refusal = _refusal_by_state(event, account, catalog) or _duplicate(place, identical=False)
    decisions.rejected.append(Rejected(record, refusal))
    decisions.duplicates += refusal.reason is Reason.DUPLICATE_EVENT_KEY


def _refusal_by_state(candidate: AcceptedUsageEvent, account: Account, catalog: Catalog) -> Rejection | None:
    """Rules 2, 3 and 7: what held at the time of the request, whenever the record is read."""
    request_at, occurred_at, invoice_id = candidate.request_at, candidate.occurred_at, candidate.event.invoice_id
    if not account.is_always_active:
        status = account.subscription.status_at(request_at)
        if status != SubscriptionStatus.ACTIVE:
            return Rejection.of(Reason.SUBSCRIPTION_NOT_ACTIVE, "subscriptionId", currentStatus=status)
    if invoice_id is not None:
        invoice = catalog.invoice(invoice_id)
        assert invoice is not None, "it existed a moment ago, and the catalog loses nothing"
        if invoice.status_at(request_at) not in LINKABLE_STATUSES:
            return Rejection.of(Reason.INVOICE_CLOSED, "invoiceId")
    if occurred_at > request_at + FUTURE_MS_MAX:
        return Rejection.of(Reason.OCCURRED_AT_IN_FUTURE, "occurredAt")
    age_seconds_max = account.service.max_event_age_seconds
    if age_seconds_max is not None and occurred_at < request_at - age_seconds_max * SECOND_MS:
        return Rejection.of(Reason.OCCURRED_AT_TOO_OLD, "occurredAt")
    return None


def _duplicate(packed: bytes, *, identical: bool) -> Rejection:
    first = Place.unpack(packed)
    return Rejection.of(
        Reason.DUPLICATE_EVENT_KEY,
        "eventKey",
        identical=identical,
        existingId=f"ue_{first.partition}_{first.offset}",
    )


def _accept(candidate: _Candidate, partition: int, tables: Tables, decisions: Decisions) -> None:
    event, account, key, record = candidate
    offset = event.offset
    decisions.fold(tables)  # what counted before it
    state = decisions.accumulate(event, account, tables, event.request_at, 1)
    event.sequence = state.next_sequence
    if event.partition == partition:  # the range is of this partition's log, which a forwarded event is not in
        state.reached(offset, offset)
    place = decisions.taken[key] = packed_place(event.partition, offset, event.fingerprint)
    decisions.accepted.append(Accepted(key, place, event.to_json(), record))
