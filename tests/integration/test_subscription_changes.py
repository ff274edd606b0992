"""Subscriptions that change their plan over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.integration.catalog_world import PLAN, SUBSCRIPTION, set_up
from tests.integration.invoices_world import execute
from tests.integration.running_gateway import RunningGateway, new_topics, running_gateway


@pytest.fixture
async def gateway(kafka_bootstrap: str, database_url: str) -> AsyncIterator[RunningGateway]:
    prefix = await new_topics(kafka_bootstrap, 1)
    async with running_gateway(kafka_bootstrap, database_url, prefix) as running:
        await set_up(running, billingAnchor="2026-01-01T00:00:00Z")
        await running.post("/services", {"id": "other", "name": "Other"})
        for change in (
            {"id": "second"},
            {"id": "third", "pricingType": "FIXED_RECURRING"},
            {"id": "daily", "billingInterval": "DAY"},
            {"id": "once", "pricingType": "ONE_TIME"},
            {"id": "endless", "billingInterval": "NONE"},
            {"id": "endless_2", "billingInterval": "NONE"},
            {"id": "elsewhere", "serviceId": "other"},
        ):
            answer = await running.post("/plans", {**PLAN, **change})
            assert answer.status_code == 201, answer.text
        yield running


async def test_plan_changes_with_the_next_period(gateway: RunningGateway) -> None:
    created = (await gateway.get("/subscriptions/sub")).json()["subscription"]
    assert created["planChanges"] == []
    following = created["currentPeriodEnd"]
    version = 1
    for plan_id, planned in (
        ("plan", None),  # the one it has
        ("second", "second"),
        ("second", None),
        ("third", "third"),
        ("once", "once"),
        ("plan", "plan"),  # as before, after all
        ("plan", None),
        ("second", "second"),
    ):
        before = await gateway.catalog()
        answer = await gateway.patch("/subscriptions/sub", {"paymentPlanId": plan_id, "userId": "ignored"})
        assert answer.status_code == 200, answer.text
        assert answer.json() == (await gateway.get("/subscriptions/sub")).json()
        if planned is None:
            assert await gateway.catalog() == before
            continue
        version += 1
        changes = [{"paymentPlanId": planned, "from": following}]
        assert answer.json()["subscription"] == {**created, "planChanges": changes}
        key, entry, _ = (await gateway.catalog())[-1]
        assert (key, entry["version"], entry["planChanges"]) == ("subscription/sub", version, changes)
        assert [transition["status"] for transition in entry["transitions"]] == ["ACTIVE"]


async def test_change_stays_in_the_history_once_its_period_has_begun(gateway: RunningGateway) -> None:
    await gateway.patch("/subscriptions/sub", {"paymentPlanId": "second"})
    now = (await gateway.get("/subscriptions/sub")).json()["subscription"]
    await execute(  # a month goes by
        gateway,
        "UPDATE subscriptions SET document = jsonb_set(document, '{planChanges,0,from}', to_jsonb($1::text))",
        now["currentPeriodStart"],
    )
    begun = (await gateway.get("/subscriptions/sub")).json()["subscription"]
    assert begun["paymentPlanId"] == "second"
    assert (await gateway.patch("/subscriptions/sub", {})).json()["subscription"] == begun
    assert (await gateway.patch("/subscriptions/sub", {"paymentPlanId": "second"})).json()["subscription"] == begun
    changed = (await gateway.patch("/subscriptions/sub", {"paymentPlanId": "third"})).json()["subscription"]
    assert changed["paymentPlanId"] == "second"
    assert changed["planChanges"] == [
        {"paymentPlanId": "second", "from": now["currentPeriodStart"]},
        {"paymentPlanId": "third", "from": now["currentPeriodEnd"]},
    ]
    await gateway.post("/subscriptions/sub/status", {"status": "PAST_DUE"})
    shown = (await gateway.get("/subscriptions", status="PAST_DUE")).json()["subscriptions"]
    assert shown == [{**changed, "status": "PAST_DUE"}]
    again = await gateway.post("/subscriptions", {**SUBSCRIPTION, "billingAnchor": "2026-01-01T00:00:00Z"})
    assert (again.status_code, again.json()["subscription"]) == (200, shown[0])


REFUSALS: list[tuple[str, dict[str, Any], int, str, str | None]] = [
    ("none", {"paymentPlanId": "second"}, 404, "subscription_not_found", None),
    ("sub", {"paymentPlanId": "none"}, 404, "plan_not_found", "paymentPlanId"),
    ("sub", {"paymentPlanId": None}, 400, "field_required", "paymentPlanId"),
    ("sub", {"paymentPlanId": 1}, 400, "field_invalid", "paymentPlanId"),
    ("sub", {"paymentPlanId": "elsewhere"}, 400, "field_invalid", "paymentPlanId"),
    ("sub", {"paymentPlanId": "daily"}, 400, "field_invalid", "paymentPlanId"),
    ("sub", {"paymentPlanId": "endless"}, 400, "field_invalid", "paymentPlanId"),
    ("endless", {"paymentPlanId": "endless_2"}, 400, "field_invalid", "paymentPlanId"),
    ("ended", {"paymentPlanId": "second"}, 409, "invalid_transition", None),
]


async def test_refusals(gateway: RunningGateway) -> None:
    await gateway.post("/subscriptions", {**SUBSCRIPTION, "id": "endless", "paymentPlanId": "endless"})
    await gateway.post("/subscriptions", {**SUBSCRIPTION, "id": "ended"})
    await gateway.post("/subscriptions/ended/status", {"status": "CANCELLED"})
    before = await gateway.catalog()
    for path, change, *expected in REFUSALS:
        answer = await gateway.patch(f"/subscriptions/{path}", change)
        document = answer.json()
        assert [answer.status_code, document["code"], document["field"]] == expected, (path, change)
    _, theirs = await gateway.new_key(services=["other"])
    hidden = await gateway.patch("/subscriptions/sub", {"paymentPlanId": "second"}, theirs)
    assert (hidden.status_code, hidden.json()["code"]) == (404, "subscription_not_found")
    assert await gateway.catalog() == before
    for path in ("endless", "ended"):
        kept = {"endless": "endless", "ended": "plan"}[path]
        assert (await gateway.patch(f"/subscriptions/{path}", {"paymentPlanId": kept})).status_code == 200


async def test_plan_and_status_that_change_at_once_both_change(gateway: RunningGateway) -> None:
    await asyncio.gather(
        gateway.patch("/subscriptions/sub", {"paymentPlanId": "second"}),
        gateway.post("/subscriptions/sub/status", {"status": "PAST_DUE"}),
    )
    _, entry, _ = (await gateway.catalog())[-1]
    assert (entry["version"], entry["status"]) == (3, "PAST_DUE")
    assert [change["paymentPlanId"] for change in entry["planChanges"]] == ["second"]
