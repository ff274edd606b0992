"""What the audit says of one event by the catalog, and where the log leaves both answers open."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aggregator.audit.catalog import Catalog, write_catalog
from aggregator.audit.events import Event
from aggregator.audit.evidence import AuditImpossible
from aggregator.audit.judging import judge
from aggregator.audit.times import own_time

BORN = "2026-01-01T00:00:00.000Z"
NOON = own_time("2026-01-15T12:00:00.000Z")
HOUR = 3_600_000


@dataclass(frozen=True)
class Entry:
    """A record of the topic `catalog`."""

    key: bytes
    value: bytes
    timestamp: int
    offset: int = 0
    headers: tuple[tuple[str, bytes], ...] = ()


def entry(key: str, at: int, **fields: Any) -> Entry:
    document = {"id": key.partition("/")[2], "version": 1, **fields}
    return Entry(key.encode(), json.dumps(document).encode(), at)


def subscription(at: int = 0, version: int = 1, **fields: Any) -> Entry:
    transitions = [{"version": 1, "status": "ACTIVE", "at": BORN}]
    document = {
        "serviceId": "svc",
        "paymentPlanId": "plan",
        "userId": "user",
        "billingAnchor": BORN,
        "version": version,
        "transitions": transitions,
        **fields,
    }
    return entry("subscription/sub", at, **document)


PLAN = entry("plan/plan", 0, serviceId="svc", pricingType="USAGE_BASED", billingInterval="MONTH")
SERVICE = entry("service/svc", 0)
EVENT = Event("svc", "sub", "user", "tokens#1", "1.000000", NOON, None, None)
CANCELLED = [
    {"version": 1, "status": "ACTIVE", "at": BORN},
    {"version": 2, "status": "CANCELLED", "at": "2026-01-15T12:00:00.000Z"},
]
UNDATED = [{"version": 1, "status": "ACTIVE", "at": BORN}, {"version": 2, "status": "CANCELLED", "at": None}]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Any]:
    catalogs: list[Catalog] = []

    def of(*entries: Entry) -> Catalog:
        path = str(tmp_path / f"{len(catalogs)}.sqlite")
        write_catalog(path, iter(entries))
        catalogs.append(Catalog(path))
        return catalogs[-1]

    yield of
    for catalog in catalogs:
        catalog.close()


@pytest.mark.parametrize(
    ("entries", "at", "refused", "either"),
    [
        ([SERVICE, PLAN, subscription()], NOON, set(), set()),
        ([PLAN, subscription()], NOON, {"service_not_found"}, set()),
        ([SERVICE, PLAN], NOON, {"subscription_not_found"}, set()),
        ([SERVICE, subscription()], NOON, {"subscription_not_found"}, set()),
        ([SERVICE, PLAN, subscription(userId="eve")], NOON, {"subscription_mismatch"}, set()),
        ([SERVICE, PLAN, subscription(transitions=CANCELLED)], NOON - 1, set(), set()),
        ([SERVICE, PLAN, subscription(transitions=CANCELLED)], NOON, {"subscription_not_active"}, set()),
        ([SERVICE, PLAN, subscription(NOON, 2, transitions=UNDATED)], NOON - 1, set(), set()),
        ([SERVICE, PLAN, subscription(NOON, 2, transitions=UNDATED)], NOON, {"subscription_not_active"}, set()),
        # a second copy of a version says nothing new
        ([SERVICE, PLAN, subscription(NOON, 2, transitions=UNDATED), subscription(NOON + 9, 2, transitions=UNDATED)],
         NOON + 5, {"subscription_not_active"}, set()),
        # of which compaction took the first, and left one with its time of its own
        ([SERVICE, PLAN, subscription(NOON + 9, 2, transitions=UNDATED),
          subscription(NOON + 20, 2, transitions=CANCELLED)],
         NOON + 5, {"subscription_not_active"}, set()),
        # what came to the catalog after the event, a worker may have known or not
        ([entry("service/svc", NOON), PLAN, subscription()], NOON, set(),
         {"service_not_found", "subscription_not_found"}),
        ([entry("service/svc", NOON - 1), PLAN, subscription()], NOON, set(), set()),
        ([SERVICE, entry("plan/plan", NOON, serviceId="svc", pricingType="USAGE_BASED", billingInterval="DAY"),
          subscription()], NOON, set(), {"subscription_not_found"}),
        # a service's age limit is judged by every version that may have been known
        ([entry("service/svc", 0, maxEventAgeSeconds=3600), PLAN, subscription()], NOON + HOUR, set(), set()),
        ([entry("service/svc", 0, maxEventAgeSeconds=3600), PLAN, subscription()], NOON + HOUR + 1,
         {"occurred_at_too_old"}, set()),
        ([SERVICE, entry("service/svc", NOON + 9 * HOUR, version=2, maxEventAgeSeconds=3600), PLAN, subscription()],
         NOON + 2 * HOUR, set(), {"occurred_at_too_old"}),
        ([SERVICE, entry("service/svc", NOON, version=2, maxEventAgeSeconds=3600), PLAN, subscription()],
         NOON + 2 * HOUR, {"occurred_at_too_old"}, set()),
        ([SERVICE, PLAN, subscription()], NOON - 5 * 60_000, set(), set()),
        ([SERVICE, PLAN, subscription()], NOON - 5 * 60_000 - 1, {"occurred_at_in_future"}, set()),
    ],
)  # fmt: skip
def test_an_event_is_judged_as_of_its_request(
    opened: Any, entries: list[Entry], at: int, refused: set[str], either: set[str]
) -> None:
    judgement = judge(EVENT, at, opened(*entries))
    assert (set(judgement.refused), judgement.either) == (refused, either)


def test_an_entry_that_can_not_be_read_is_named(opened: Any) -> None:
    with pytest.raises(AuditImpossible, match="service/svc"):
        opened(Entry(b"service/svc", b"{}", 0))


CHANGES = [
    {"paymentPlanId": "second", "from": "2026-02-01T00:00:00.000Z"},
    {"paymentPlanId": "plan", "from": "2026-03-01T00:00:00.000Z"},
]


@pytest.mark.parametrize(
    ("changes", "period_start", "plan_id"),
    [
        (None, "2026-01-01T00:00:00.000Z", "plan"),
        ([], "2026-01-01T00:00:00.000Z", "plan"),
        (CHANGES, "2026-01-01T00:00:00.000Z", "plan"),
        (CHANGES, "2026-01-31T23:59:59.999Z", "plan"),
        (CHANGES, "2026-02-01T00:00:00.000Z", "second"),
        (CHANGES, "2026-02-28T23:59:59.999Z", "second"),
        (CHANGES, "2026-03-01T00:00:00.000Z", "plan"),
        (CHANGES[:1], "2026-03-01T00:00:00.000Z", "second"),
    ],
)
def test_plan_of_a_period_is_that_of_the_last_change_not_after_its_start(
    opened: Any, changes: list[dict[str, str]] | None, period_start: str, plan_id: str
) -> None:
    second = entry("plan/second", 0, serviceId="svc", pricingType="FIXED_RECURRING", billingInterval="MONTH")
    found = opened(SERVICE, PLAN, second, subscription(planChanges=changes)).subscription("sub")
    assert found.plan_of(own_time(period_start)).id == plan_id
    assert opened(SERVICE, PLAN, subscription(planChanges=CHANGES)).subscription("sub") is None


def change(plan_id: str, start: str) -> dict[str, str]:
    return {"paymentPlanId": plan_id, "from": f"{start}T00:00:00.000Z"}


ONE_TIME = [
    entry(f"plan/{name}", 0, serviceId="svc", pricingType="ONE_TIME", billingInterval="MONTH")
    for name in ("plan", "second")
]
BEGAN_IN_FEBRUARY = [{"version": 1, "status": "ACTIVE", "at": "2026-02-10T00:00:00.000Z"}]
ENDED_IN_FEBRUARY = [
    {"version": 1, "status": "ACTIVE", "at": BORN},
    {"version": 2, "status": "EXPIRED", "at": "2026-02-10T00:00:00.000Z"},
]


@pytest.mark.parametrize(
    ("changes", "transitions", "invoiced"),
    [
        ([], None, ["2026-01"]),
        ([change("second", "2026-02-01")], None, ["2026-01", "2026-02"]),
        # back to a plan that was invoiced: not a second time
        ([change("second", "2026-02-01"), change("plan", "2026-03-01")], None, ["2026-01", "2026-02"]),
        ([change("plan", "2026-02-01")], None, ["2026-01"]),
        # nothing before the subscription came to be, and a change for that time counts from its first period on
        ([], BEGAN_IN_FEBRUARY, ["2026-02"]),
        ([change("second", "2026-01-01")], BEGAN_IN_FEBRUARY, ["2026-02"]),
        # nothing that begins after it ended
        ([change("second", "2026-03-01")], ENDED_IN_FEBRUARY, ["2026-01"]),
        ([change("second", "2026-02-01")], ENDED_IN_FEBRUARY, ["2026-01", "2026-02"]),
    ],
)
def test_a_one_time_plan_bills_the_first_period_of_the_life_under_it(
    opened: Any, changes: list[dict[str, str]], transitions: list[dict[str, Any]] | None, invoiced: list[str]
) -> None:
    life: dict[str, Any] = {} if transitions is None else {"transitions": transitions}
    found = opened(SERVICE, *ONE_TIME, subscription(planChanges=changes, **life)).subscription("sub")
    months = [f"2025-{month}" for month in (11, 12)] + [f"2026-0{month}" for month in range(1, 6)]
    starts = {month: own_time(f"{month}-01T00:00:00.000Z") for month in months}
    periods = {month: found.calendar.period_at(start) for month, start in starts.items()}
    assert [month for month, period in periods.items() if found.begins_plan_in(period)] == invoiced


def test_a_price_that_can_not_be_worked_out_is_named(opened: Any) -> None:
    plan = entry("plan/plan", 0, serviceId="svc", pricingType="USAGE_BASED", prices={"tokens": {"model": "PER_SEAT"}})
    with pytest.raises(AuditImpossible, match="plan/plan"):
        opened(plan).plan("plan")
