"""What the rules say of one event, as far as that does not depend on other events (contract rules 1 to 3 and 7).

The catalog is judged as it was when the broker appended the record. A worker may have read it later, and then it may
have known more: an entry whose first record is not older than the event's may have been unknown to it or not. That is
the one thing that the log does not decide, so both answers are right. (The same holds of a service's
maxEventAgeSeconds, which may change.)
"""

from dataclasses import dataclass, field
from typing import Final

from aggregator.audit.canonical import compact
from aggregator.audit.catalog import Catalog, Entry, Subscription
from aggregator.audit.events import Codes, Event
from aggregator.audit.periods import Period
from aggregator.audit.times import SECOND_MS, time_text
from schemas.rejection import Reason

FUTURE_MS_MAX: Final = 5 * 60 * SECOND_MS
LINKABLE: Final = ("DRAFT", "OPEN")
NOTHING: Final[Codes] = frozenset()
NO_PERIOD: Final = Period(0, None)


@dataclass(slots=True)
class Judgement:
    """What may become of an event. `refused` are the codes of which one must refuse it; `either` those that are right
    as well. Without a subscription it is refused whatever others there are; with one, its key decides on."""

    refused: Codes
    either: set[str] = field(default_factory=set)
    subscription: Subscription | None = None
    occurred_at: int = 0
    period: Period = NO_PERIOD
    key: bytes = b""


def judge(event: Event, at: int, catalog: Catalog) -> Judgement:
    """The judgement of an event whose request was at this time (ms)."""
    either: set[str] = set()
    service = catalog.entry(f"service/{event.service_id}")
    if service is None:
        return Judgement(frozenset({Reason.SERVICE_NOT_FOUND}))
    _note(service.first_at, at, Reason.SERVICE_NOT_FOUND, either)
    scope = service.newest.document.get("eventKeyScope") or "SUBSCRIPTION"
    if scope == "EVENT" and event.event_id is None:
        return Judgement(frozenset({Reason.FIELD_REQUIRED}), either)
    subscription = catalog.subscription(event.subscription_id)
    if subscription is None:
        return Judgement(frozenset({Reason.SUBSCRIPTION_NOT_FOUND}), either)
    _note(subscription.first_at, at, Reason.SUBSCRIPTION_NOT_FOUND, either)
    invoice = None
    if event.invoice_id is not None:
        invoice = catalog.entry(f"invoice/{event.invoice_id}")
        if invoice is None:
            return Judgement(frozenset({Reason.INVOICE_NOT_FOUND}), either)
        _note(invoice.first_at, at, Reason.INVOICE_NOT_FOUND, either)
    if not _is_of(subscription.entry, event):
        return Judgement(frozenset({Reason.SUBSCRIPTION_MISMATCH}), either)
    if invoice is not None and not _is_of(invoice, event):
        return Judgement(frozenset({Reason.INVOICE_MISMATCH}), either)
    occurred_at = at if event.occurred_at is None else event.occurred_at
    refused = _refused_by_state(subscription, invoice, at) or _refused_by_age(service, occurred_at, at, either)
    period = subscription.calendar.period_at(occurred_at)
    return Judgement(refused, either, subscription, occurred_at, period, _unique_key(event, scope, period))


def _note(first_at: int, at: int, code: str, either: set[str]) -> None:
    if first_at >= at:
        either.add(code)


def _is_of(entry: Entry, event: Event) -> bool:
    document = entry.newest.document
    return bool(document["serviceId"] == event.service_id and document["userId"] == event.user_id)


def _refused_by_state(subscription: Subscription, invoice: Entry | None, at: int) -> Codes:
    if subscription.entry.status_at(at) != "ACTIVE":
        return frozenset({Reason.SUBSCRIPTION_NOT_ACTIVE})
    if invoice is not None and invoice.status_at(at) not in LINKABLE:
        return frozenset({Reason.INVOICE_CLOSED})
    return NOTHING


def _refused_by_age(service: Entry, occurred_at: int, at: int, either: set[str]) -> Codes:
    if occurred_at > at + FUTURE_MS_MAX:
        return frozenset({Reason.OCCURRED_AT_IN_FUTURE})
    ages = [version.document.get("maxEventAgeSeconds") for version in service.versions_known(at)]
    too_old = {age is not None and occurred_at < at - age * SECOND_MS for age in ages}
    if too_old == {True}:
        return frozenset({Reason.OCCURRED_AT_TOO_OLD})
    if True in too_old:
        either.add(Reason.OCCURRED_AT_TOO_OLD)
    return NOTHING


def _unique_key(event: Event, scope: str, period: Period) -> bytes:
    """The key under which the event counts once (rule 4), as it is on `accepted-usage`."""
    pair = [event.subscription_id, event.event_key]
    if scope == "PERIOD":
        return compact([*pair, time_text(period.start)])
    if scope == "EVENT":
        assert event.event_id is not None
        return compact([*pair, event.event_id])
    return compact(pair)
