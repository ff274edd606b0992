"""A small world for the rules to judge in: a catalog and tables in memory, behind the seams that rules read through."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aggregator.rules.account import Account
from aggregator.rules.closing import Closing, charged_by, close
from aggregator.rules.deciding import decide
from aggregator.rules.verdicts import Decisions, PeriodKey, TotalKey
from schemas.billing_period import BillingPeriod
from schemas.invoice import CatalogInvoice
from schemas.plan import Plan
from schemas.rejection import Rejection
from schemas.service import Service
from schemas.subscription import Subscription
from schemas.totals import MeterTotal, PeriodState

ONE = 1_000_000
"""A quantity of 1, in millionths."""
SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

BORN = "2026-01-01T00:00:00Z"
"""When the subscriptions of this world came to be, if nothing else is said."""

ACCEPTED = "accepted"
DUPLICATE = "duplicate_event_key"
IDENTICAL = "duplicate_event_key, identical"

History = Sequence[tuple[str, str | None]]
"""Statuses and when they came to hold, oldest first."""


def ms(text: str) -> int:
    """Milliseconds since 1970 of ISO text, by the standard library and not by the code under test."""
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


NOON = ms("2026-01-15T12:00:00Z")
CANCELLED_AT_NOON: History = (("ACTIVE", "2026-01-01T00:00:00Z"), ("CANCELLED", "2026-01-15T12:00:00Z"))
PAST_DUE_AT_NOON: History = (("ACTIVE", "2026-01-01T00:00:00Z"), ("PAST_DUE", "2026-01-15T12:00:00Z"))
BACK_AT_NOON: History = (
    ("ACTIVE", "2026-01-01T00:00:00Z"),
    ("PAST_DUE", "2026-01-10T00:00:00Z"),
    ("ACTIVE", "2026-01-15T12:00:00Z"),
)
NOT_YET_STAMPED: History = (("ACTIVE", "2026-01-01T00:00:00Z"), ("EXPIRED", None))
PAID_AT_NOON: History = (("OPEN", "2026-01-01T00:00:00Z"), ("PAID", "2026-01-15T12:00:00Z"))
OPENED_AND_VOID_AT_NOON: History = (
    ("DRAFT", "2026-01-01T00:00:00Z"),
    ("OPEN", "2026-01-15T11:59:59.999Z"),
    ("VOID", "2026-01-15T12:00:00Z"),
)


def service(service_id: str = "ai", **fields: Any) -> Service:
    return Service.model_validate({"id": service_id, "name": "An AI API", **fields})


def plan(**fields: Any) -> Plan:
    """A monthly plan at 0.25 a unit; `unitPrices` names the meters that cost something else."""
    document = {
        "id": "plan",
        "serviceId": "ai",
        "name": "A plan",
        "pricingType": "USAGE_BASED",
        "billingInterval": "MONTH",
        "amount": "0.25",
    }
    return Plan.model_validate({**document, **fields})


def transitions(history: History) -> list[dict[str, Any]]:
    return [{"version": number, "status": status, "at": at} for number, (status, at) in enumerate(history, start=1)]


def subscription(
    subscription_id: str = "sub",
    history: History = (("ACTIVE", BORN),),
    record_at: str = BORN,
    **fields: Any,
) -> Subscription:
    """ada's subscription to the service ai; `record_at` is when the broker appended its catalog record."""
    document = {
        "id": subscription_id,
        "serviceId": "ai",
        "paymentPlanId": "plan",
        "userId": "ada",
        "status": history[-1][0],
        "billingAnchor": BORN,
        "createdAt": BORN,
        "version": len(history),
        "transitions": transitions(history),
    }
    return Subscription.of_record({**document, **fields}, ms(record_at))


def account(
    of_subscription: Subscription | None = None, of_service: Service | None = None, of_plan: Plan | None = None
) -> Account:
    return Account.of(of_subscription or subscription(), of_service or service(), of_plan or plan())


def closing_of(
    of_account: Account, period: BillingPeriod, state: PeriodState | None, totals: Mapping[str, MeterTotal]
) -> Closing:
    """What closing a period with these totals comes to."""
    return close(of_account, period, state, charged_by(of_account.plan_of(period), sorted(totals.items())))


def invoice(
    invoice_id: str = "inv", history: History = (("OPEN", BORN),), record_at: str = BORN, **fields: Any
) -> CatalogInvoice:
    document = {"id": invoice_id, "serviceId": "ai", "userId": "ada", "transitions": transitions(history)}
    return CatalogInvoice.of_record({**document, **fields}, ms(record_at))


def usage(**fields: Any) -> bytes:
    """ada's call of the service ai, as it is put on `usage-events`, with some fields changed."""
    document = {"serviceId": "ai", "subscriptionId": "sub", "userId": "ada", "eventKey": "call#1", "quantity": "1"}
    return json.dumps({**document, **fields}).encode()


@dataclass(frozen=True)
class LogRecord:
    """A record of `usage-events`; `timestamp` is the broker's append time."""

    offset: int
    timestamp: int
    value: bytes | None
    partition: int = 0
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass
class MemoryCatalog:
    """A Catalog of dictionaries."""

    services: dict[str, Service] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    invoices: dict[str, CatalogInvoice] = field(default_factory=dict)

    def service(self, service_id: str) -> Service | None:
        return self.services.get(service_id)

    def account(self, subscription_id: str) -> Account | None:
        return self.accounts.get(subscription_id)

    def invoice(self, invoice_id: str) -> CatalogInvoice | None:
        return self.invoices.get(invoice_id)

    def add(self, *entries: Service | Account | CatalogInvoice) -> None:
        for entry in entries:
            if isinstance(entry, Service):
                self.services[entry.id] = entry
            elif isinstance(entry, Account):
                self.accounts[entry.subscription.id] = entry
            else:
                self.invoices[entry.id] = entry


@dataclass
class MemoryTables:
    """Tables of dictionaries, which what was decided is applied to."""

    taken: dict[bytes, bytes] = field(default_factory=dict)
    totals: dict[TotalKey, MeterTotal] = field(default_factory=dict)
    periods: dict[PeriodKey, PeriodState] = field(default_factory=dict)

    def places(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        return [self.taken.get(key) for key in keys]

    def period(self, subscription_id: str, period: BillingPeriod) -> PeriodState | None:
        state = self.periods.get((subscription_id, period.start))
        return None if state is None else state.copy()

    def total(self, subscription_id: str, period: BillingPeriod, meter: str) -> MeterTotal | None:
        total = self.totals.get((subscription_id, period.start, meter))
        return None if total is None else total.copy()

    def totals_of(self, subscription_id: str, period: BillingPeriod) -> dict[str, MeterTotal]:
        return {
            meter: total
            for (of_subscription, start, meter), total in self.totals.items()
            if (of_subscription, start) == (subscription_id, period.start)
        }

    def apply(self, decisions: Decisions) -> None:
        self.taken.update({accepted.key: accepted.place for accepted in decisions.accepted})
        self.totals.update(decisions.totals)
        self.periods.update({key: state for key, (_, state) in decisions.periods.items()})


@dataclass
class World:
    """One partition, and all that has happened in it."""

    catalog: MemoryCatalog = field(default_factory=MemoryCatalog)
    tables: MemoryTables = field(default_factory=MemoryTables)
    next_offset: int = 0

    def records(self, *appended: tuple[int, bytes | None]) -> list[LogRecord]:
        """Records as the broker would append them: the next offsets, at the given times."""
        records = [LogRecord(self.next_offset + n, at, value) for n, (at, value) in enumerate(appended)]
        self.next_offset += len(records)
        return records

    def decide(self, records: Sequence[LogRecord], decisions: Decisions | None = None) -> Decisions:
        return decide(records, 0, 1, self.tables, self.catalog, decisions=decisions)

    def process(self, *appended: tuple[int, bytes | None]) -> list[str]:
        """Append one batch, decide it and apply what was decided. Returns the outcome of each record."""
        records = self.records(*appended)
        decisions = self.decide(records)
        self.tables.apply(decisions)
        return outcomes(records, decisions)

    def process_in_slices(self, *appended: tuple[int, bytes | None]) -> list[str]:
        """As process(), a record at a time of one batch, whose verdicts are written down in between."""
        decisions, found = Decisions(), []
        for record in self.records(*appended):
            found += outcomes([record], self.decide([record], decisions))
            decisions.forget_verdicts()
        self.tables.apply(decisions)
        return found


def outcomes(records: Sequence[LogRecord], decisions: Decisions) -> list[str]:
    """What became of each record: `accepted`, or the code of its rejection."""
    by_offset = {accepted.record.offset: ACCEPTED for accepted in decisions.accepted}
    for record, rejection in decisions.rejected:
        is_identical = bool(rejection.extra.get("identical"))
        assert record.offset not in by_offset, "a record has one verdict"
        by_offset[record.offset] = IDENTICAL if is_identical else rejection.reason.value
    return [by_offset[record.offset] for record in records]


def populated() -> World:
    """ada has a subscription of every kind, bob one of the service ai, and both have invoices."""
    world = World()
    services = {
        "ai": service("ai"),
        "hourly": service("hourly", maxEventAgeSeconds=3600),
        "by-period": service("by-period", eventKeyScope="PERIOD"),
        "by-event": service("by-event", eventKeyScope="EVENT"),
    }
    world.catalog.add(*services.values())
    for subscription_id, fields in {
        "sub": {},
        "sub2": {},
        "bobs": {"userId": "bob"},
        "cancelled-at-noon": {"history": CANCELLED_AT_NOON},
        "past-due-at-noon": {"history": PAST_DUE_AT_NOON},
        "back-at-noon": {"history": BACK_AT_NOON},
        "born-past-due": {"history": (("PAST_DUE", BORN),)},
        "not-yet-stamped": {"history": NOT_YET_STAMPED, "record_at": "2026-01-15T12:00:00Z"},
        "hourly": {"serviceId": "hourly"},
        "hourly-cancelled": {"serviceId": "hourly", "history": CANCELLED_AT_NOON},
        "by-period": {"serviceId": "by-period"},
        "by-event": {"serviceId": "by-event"},
    }.items():
        of_fields = subscription(subscription_id, **fields)  # type: ignore[arg-type]  # a row of the table above
        world.catalog.add(account(of_fields, services[of_fields.service_id]))
    world.catalog.add(
        invoice("open"),
        invoice("draft", (("DRAFT", "2026-01-01T00:00:00Z"),)),
        invoice("expired", (("EXPIRED", "2026-01-01T00:00:00Z"),)),
        invoice("paid-at-noon", PAID_AT_NOON),
        invoice("void-at-noon", OPENED_AND_VOID_AT_NOON),
        invoice("bobs", userId="bob"),
        invoice("of-hourly", serviceId="hourly"),
        invoice("of-hourly-paid", (("PAID", "2026-01-01T00:00:00Z"),), serviceId="hourly"),
    )
    return world


def rejection_of(world: World, at: int, value: bytes | None) -> Rejection:
    [rejected] = world.decide(world.records((at, value))).rejected
    return rejected.rejection
