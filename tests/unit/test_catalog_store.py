"""Which record of an entry a worker goes by, whatever is published twice, late, or taken by compaction."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aggregator.engine.catalog import CatalogStore
from aggregator.engine.stores import Memory, Stores, owner_of
from schemas.timestamps import timestamp_text

BEGAN = 1_767_225_600_000
ANCHOR = timestamp_text(BEGAN)


@dataclass
class Record:
    """A record of the topic `catalog`."""

    key: bytes
    value: bytes
    offset: int
    timestamp: int


def entry(key: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    return key, {"id": key.partition("/")[2], **fields}


SERVICE = entry("service/svc", name="Service", version=1)
PLAN = entry("plan/plan", serviceId="svc", name="Plan", pricingType="USAGE_BASED", billingInterval="MONTH", version=1)


def subscription(version: int, *transitions: tuple[int, str, int | None]) -> tuple[str, dict[str, Any]]:
    return entry(
        "subscription/sub",
        serviceId="svc",
        paymentPlanId="plan",
        userId="user",
        billingAnchor=ANCHOR,
        createdAt=ANCHOR,
        version=version,
        transitions=[
            {"version": number, "status": status, "at": None if at is None else timestamp_text(BEGAN + at)}
            for number, status, at in transitions
        ],
    )


ACTIVE = subscription(1, (1, "ACTIVE", None))
CANCELLED = subscription(2, (1, "ACTIVE", 1_000), (2, "CANCELLED", None))
CANCELLED_AT_5 = subscription(2, (1, "ACTIVE", 1_000), (2, "CANCELLED", 5_000))


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("records", "cancelled_at"),
    [
        ([(1_000, ACTIVE), (5_000, CANCELLED)], 5_000),
        ([(1_000, ACTIVE), (5_000, CANCELLED), (9_000, CANCELLED)], 5_000),  # published twice
        ([(1_000, ACTIVE), (5_000, CANCELLED), (9_000, CANCELLED), (9_500, CANCELLED_AT_5)], 5_000),
        ([(9_000, CANCELLED), (9_500, CANCELLED_AT_5)], 5_000),  # compaction took the first
        ([(9_500, CANCELLED_AT_5)], 5_000),
        ([(9_500, CANCELLED_AT_5), (9_900, CANCELLED)], 5_000),  # a third one that was still on its way
        ([(5_000, CANCELLED), (9_000, ACTIVE)], 5_000),  # an older version that came late
    ],
)
def test_a_change_of_status_happened_at_its_first_publication(
    tmp_path: Path, records: list[tuple[int, tuple[str, dict[str, Any]]]], cancelled_at: int, at_once: bool
) -> None:
    store = CatalogStore(Stores(Memory(8, 8), tmp_path, owner_of("tally", "", "c1")).open("catalog"))
    log = [
        Record(key.encode(), json.dumps(document).encode(), offset, BEGAN + at)
        for offset, (at, (key, document)) in enumerate([(0, SERVICE), (0, PLAN), *records])
    ]
    for part in [log] if at_once else [[record] for record in log]:
        store.apply(part, part[-1].offset + 1)
    account = store.account("sub")
    assert account is not None
    subscription = account.subscription
    statuses = [subscription.status_at(BEGAN + at) for at in (cancelled_at - 1, cancelled_at)]
    assert statuses == ["ACTIVE", "CANCELLED"]
    store.close()


def test_account_has_every_plan_that_its_subscription_names_or_is_none(tmp_path: Path) -> None:
    store = CatalogStore(Stores(Memory(8, 8), tmp_path, owner_of("tally", "", "c1")).open("catalog"))
    key, document = ACTIVE
    changes = [{"paymentPlanId": plan_id, "from": ANCHOR} for plan_id in ("second", "plan", "third")]
    changed = key, {**document, "version": 2, "planChanges": changes}
    plans = [(f"plan/{plan_id}", {**PLAN[1], "id": plan_id}) for plan_id in ("second", "third")]
    found = []
    for offset, (name, fields) in enumerate([SERVICE, PLAN, ACTIVE, changed, *plans]):
        store.apply([Record(name.encode(), json.dumps(fields).encode(), offset, BEGAN)], offset + 1)
        account = store.account("sub")
        found.append(None if account is None else sorted(account.plans))
    assert found == [None, None, ["plan"], None, None, ["plan", "second", "third"]]
    store.close()


def test_a_change_of_a_service_is_seen_by_its_accounts_and_others_are_not_read_anew(tmp_path: Path) -> None:
    store = CatalogStore(Stores(Memory(8, 8), tmp_path, owner_of("tally", "", "c1")).open("catalog"))
    others = [
        entry("service/other", name="Other", version=1),
        entry("plan/other", **{**PLAN[1], "id": "other", "serviceId": "other"}),
        entry("subscription/other", **{**ACTIVE[1], "id": "other", "serviceId": "other", "paymentPlanId": "other"}),
    ]
    changed = entry("service/svc", name="Service", version=2, gracePeriodSeconds=7)
    another_plan = entry("plan/new", **{**PLAN[1], "id": "new"})
    seen = []
    for offset, (key, document) in enumerate([SERVICE, PLAN, ACTIVE, *others, changed, another_plan]):
        store.apply([Record(key.encode(), json.dumps(document).encode(), offset, BEGAN)], offset + 1)
        seen.append((store.account("sub"), store.account("other")))
    *_, (before, other), (after, still_other), (last, last_other) = seen
    assert before is not None
    assert after is not None
    assert (before.grace_ms(1), after.grace_ms(1)) == (1_000, 7_000)
    assert other is not None
    assert other is still_other is last_other
    assert last is after
    store.close()
