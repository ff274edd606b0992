"""The catalog as the audit sees it: every version of each entry that the topic still has, with its append times.

It is kept in a temporary database, because there is an entry for each invoice. What has been looked up stays in memory
up to a bound.
"""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal, DecimalException
from typing import Any, Final, NamedTuple

from aggregator.audit.amounts import EXACT, PLACES, ZERO, Number
from aggregator.audit.evidence import AuditImpossible, Record
from aggregator.audit.periods import Calendar, Period
from aggregator.audit.prices import Price, of_each_unit, price_in
from aggregator.audit.scratch import open_scratch, queries
from aggregator.audit.times import own_time

FINAL_STATUSES: Final = ("CANCELLED", "EXPIRED")
_REMEMBERED_MAX: Final = 50_000
_SQL = queries("catalog.sql")


class Transition(NamedTuple):
    """A change of status, and when it came to hold (ms)."""

    at: int
    status: str
    version: int


class Version(NamedTuple):
    """A version of an entry, and when it was first appended of what the topic still has (ms)."""

    number: int
    at: int
    document: dict[str, Any]


@dataclass(slots=True)
class Entry:
    """An entry of the catalog: its versions, oldest first. `first_at` is when everybody knew of it at the latest (ms):
    compaction may have taken its first record."""

    versions: list[Version]
    transitions: list[Transition] = field(default_factory=list, init=False)
    first_at: int = field(init=False)

    def __post_init__(self) -> None:
        published = {version.number: version.at for version in self.versions}
        for transition in self.newest.document.get("transitions", ()):
            number, at = transition["version"], transition["at"]
            at = published.get(number, self.newest.at) if at is None else own_time(at)
            self.transitions.append(Transition(at, transition["status"], number))
        self.first_at = min([self.versions[0].at, *(transition.at for transition in self.transitions)])

    @property
    def newest(self) -> Version:
        """The version that all read in the end."""
        return self.versions[-1]

    def status_at(self, at: int) -> str:
        """The status at a moment: the first one reaches back without limit."""
        held = [transition.status for transition in self.transitions if transition.at <= at]
        return held[-1] if held else self.transitions[0].status

    def versions_known(self, at: int) -> list[Version]:
        """The versions by which a record that was appended at this moment may have been judged: the last one that was
        there by then, and what came later."""
        if len(self.versions) == 1:
            return self.versions
        before = sum(version.at < at for version in self.versions)
        return self.versions[max(before - 1, 0) :]

    def version_bounds(self, at: int) -> tuple[int, int]:
        """The lowest and the highest number of these, as far as the topic still tells."""
        known = [0, *(version.number for version in self.versions if version.at < at)]
        known += [transition.version for transition in self.transitions if transition.at < at]
        return max(known), self.newest.number


@dataclass(slots=True)
class Plan:
    """A plan; plans never change. `unit_prices` are of one unit, and so is `amount` for meters that have no price."""

    id: str
    service_id: str
    pricing_type: str
    interval: str
    invoicing: str
    currency: str
    amount: Decimal
    unit_prices: dict[str, Decimal]
    prices: dict[str, Price]
    first_at: int

    def price(self, meter: str) -> Price:
        """The price of a meter, which is of each unit where the plan has none for it."""
        priced = self.prices.get(meter)
        return of_each_unit(self.unit_prices.get(meter, self.amount)) if priced is None else priced


@dataclass(slots=True)
class Subscription:
    """A subscription with the service and the plans without which nobody can bill it; `plan` is the first of them.
    `first_at` is when it could be billed at the latest (ms)."""

    id: str
    entry: Entry
    service: Entry
    plan: Plan
    plans: dict[str, Plan]
    calendar: Calendar
    first_at: int = field(init=False)

    def __post_init__(self) -> None:
        self.first_at = max(self.entry.first_at, self.service.first_at, self.plan.first_at)

    @property
    def document(self) -> dict[str, Any]:
        """Its newest version."""
        return self.entry.newest.document

    def plan_of(self, period_start: int) -> Plan:
        """The plan of the period that starts then."""
        return self.plans[plan_id_of(self.document, period_start)]

    def lives_in(self, period: Period) -> bool:
        """Whether a period overlaps its life, so that it is invoiced even without usage (contract rule 6)."""
        began, last = self.entry.transitions[0].at, self.entry.transitions[-1]
        is_over = last.status in FINAL_STATUSES and period.start >= last.at
        return (period.end is None or period.end > began) and not is_over

    def begins_plan_in(self, period: Period) -> bool:
        """Whether this is the first period of its life under the period's plan: the one that a ONE_TIME plan bills."""
        first = self.calendar.period_at(self.entry.transitions[0].at).start
        starts = [first, *(own_time(change["from"]) for change in _changes(self.document))]
        plan_id = plan_id_of(self.document, period.start)
        under = [start for start in starts if start >= first and plan_id_of(self.document, start) == plan_id]
        return period.start == min(under, default=None) and self.lives_in(period)


def plan_id_of(document: dict[str, Any], period_start: int) -> str:
    """By which plan a version of a subscription bills the period that starts then: the one it began with, until another
    took its place."""
    in_force: dict[int, str] = {own_time(change["from"]): change["paymentPlanId"] for change in _changes(document)}
    starts = [start for start in in_force if start <= period_start]
    first: str = document["paymentPlanId"]
    return in_force[max(starts)] if starts else first


def _changes(document: dict[str, Any]) -> list[dict[str, str]]:
    return document.get("planChanges") or []


class Catalog:
    """What was in the catalog, and when."""

    def __init__(self, path: str) -> None:
        self._database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        self._entries: dict[str, Entry | None] = {}
        self._plans: dict[str, Plan | None] = {}
        self._subscriptions: dict[str, Subscription | None] = {}

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def entry(self, key: str) -> Entry | None:
        """A service or an invoice, by its key."""
        if key not in self._entries:
            rows = self._database.execute(_SQL["versions"], (key,)).fetchall()
            try:
                entry = Entry([Version(number, at, _document(value)) for number, at, value in rows]) if rows else None
            except (ValueError, LookupError, TypeError) as error:
                raise _unreadable(key, error) from error
            _remember(self._entries, key, entry)
        return self._entries[key]

    def plan(self, plan_id: str) -> Plan | None:
        """A plan by its id."""
        if plan_id not in self._plans:
            entry = self.entry(f"plan/{plan_id}")
            _remember(self._plans, plan_id, None if entry is None else _plan(entry))
        return self._plans[plan_id]

    def subscription(self, subscription_id: str) -> Subscription | None:
        """A subscription by its id; None also where its service or one of its plans is not in the catalog."""
        if subscription_id not in self._subscriptions:
            _remember(self._subscriptions, subscription_id, self._subscription(subscription_id))
        return self._subscriptions[subscription_id]

    def _subscription(self, subscription_id: str) -> Subscription | None:
        entry = self.entry(f"subscription/{subscription_id}")
        if entry is None:
            return None
        document = entry.newest.document
        service, plan = self.entry(f"service/{document['serviceId']}"), self.plan(document["paymentPlanId"])
        named = {change["paymentPlanId"]: self.plan(change["paymentPlanId"]) for change in _changes(document)}
        if service is None or plan is None or None in named.values():
            return None
        plans = {plan.id: plan} | {plan_id: later for plan_id, later in named.items() if later is not None}
        calendar = Calendar(own_time(document["billingAnchor"]), plan.interval, document.get("timeZone") or "UTC")
        return Subscription(subscription_id, entry, service, plan, plans, calendar)


def write_catalog(path: str, records: Iterable[Record]) -> None:
    """Keep the records of the topic `catalog` in a new temporary database."""
    with open_scratch(path) as database:
        database.execute(_SQL["table"])
        for record in records:
            if record.key is None or record.value is None:
                continue
            key = record.key.decode(errors="replace")
            try:
                document = json.loads(record.value)
                version = int(document["version"])
                has_times = None not in [transition["at"] for transition in document.get("transitions", ())]
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise _unreadable(key, error) from error
            database.execute(_SQL["keep"], (key, version, record.timestamp, record.value, has_times))


def _unreadable(key: str, error: Exception) -> AuditImpossible:
    return AuditImpossible(f"The catalog's entry {key!r} can't be read ({error}): put a version of it that can.")


def _document(value: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(value, parse_float=Number)
    return document


def _plan(entry: Entry) -> Plan:
    document = entry.newest.document
    try:
        prices = {meter: price_in(price, _decimal) for meter, price in (document.get("prices") or {}).items()}
    except (ValueError, LookupError, TypeError, AttributeError, DecimalException) as error:
        raise _unreadable(f"plan/{document['id']}", error) from error
    return Plan(
        id=document["id"],
        service_id=document["serviceId"],
        pricing_type=document["pricingType"],
        interval=document["billingInterval"],
        invoicing=document.get("invoicing") or "AUTOMATIC",
        currency=document.get("currency") or "USDC",
        amount=_decimal(document.get("amount")),
        unit_prices={meter: _decimal(price) for meter, price in (document.get("unitPrices") or {}).items()},
        prices=prices,
        first_at=entry.first_at,
    )


def _decimal(value: Any, _places: int = PLACES) -> Decimal:
    """What a plan says, which is 0 where it says nothing; with as many places as it has."""
    return ZERO if value is None else EXACT.plus(Decimal(str(value)))


def _remember(known: dict[str, Any], key: str, value: Any) -> None:
    if len(known) >= _REMEMBERED_MAX:
        known.clear()
    known[key] = value
