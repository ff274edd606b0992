"""The usage of a subscription over HTTP: which periods are shown, what they come to, and how far that was counted."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from schemas.billing_period import BillingInterval, Calendar
from schemas.timestamps import parse_timestamp
from schemas.topics import partition_of
from tests.integration.catalog_world import PLAN, SUBSCRIPTION, set_up
from tests.integration.running_gateway import RunningGateway, new_topics, running_gateway
from tests.integration.usage_rows import at, insert

PARTITIONS = 4
COUNTED_AT = "2026-03-01T00:00:00"


@dataclass
class Metering:
    """A gateway, and a hand on the tables that the projector would write."""

    gateway: RunningGateway
    database: asyncpg.Connection

    async def usage(self, subscription_id: str = "sub", **parameters: Any) -> dict[str, Any]:
        answer = await self.gateway.get(f"/subscriptions/{subscription_id}/usage", **parameters)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def total(self, month: int, meter: str, quantity: str, events: int, subscription_id: str = "sub") -> None:
        period = {"period_start": at(f"2025-{month:02d}-01"), "period_end": at(f"2025-{month + 1:02d}-01")}
        counted = {"quantity": Decimal(quantity), "event_count": events, "updated_at": at(COUNTED_AT)}
        await insert(self.database, "usage_totals", subscription_id=subscription_id, meter=meter, **period, **counted)

    async def period(self, month: int, *, closed: bool, subscription_id: str = "sub") -> None:
        period = {"period_start": at(f"2025-{month:02d}-01"), "period_end": at(f"2025-{month + 1:02d}-01")}
        state = {"closed": closed, "next_sequence": int(closed), "updated_at": at(COUNTED_AT)}
        await insert(self.database, "billing_periods", subscription_id=subscription_id, **period, **state)

    async def subscribe(self, name: str, **plan: Any) -> None:
        await self.gateway.post("/plans", {**PLAN, "id": f"plan_{name}", "unitPrices": None, **plan})
        subscription = {**SUBSCRIPTION, "id": name, "paymentPlanId": f"plan_{name}"}
        answer = await self.gateway.post("/subscriptions", {**subscription, "billingAnchor": "2025-01-01T00:00:00Z"})
        assert answer.status_code == 201


@pytest.fixture
async def metering(kafka_bootstrap: str, database_url: str) -> AsyncIterator[Metering]:
    prefix = await new_topics(kafka_bootstrap, PARTITIONS)
    async with running_gateway(kafka_bootstrap, database_url, prefix) as gateway:
        await set_up(gateway, billingAnchor="2025-01-01T00:00:00Z")
        database = await asyncpg.connect(database_url)
        try:
            yield Metering(gateway, database)
        finally:
            await database.close()


def current_month(shown: dict[str, Any]) -> dict[str, Any]:
    """The period of now, which is the last one; its bounds are those of the subscription's calendar."""
    current: dict[str, Any] = shown["periods"][-1]
    calendar = Calendar(parse_timestamp("2025-01-01T00:00:00Z"), BillingInterval.MONTH)
    assert calendar.period_at(parse_timestamp(current["start"])).start_text == current["start"]
    assert current["start"] >= "2026"
    return current


async def test_each_period_shows_its_meters_and_what_they_come_to(metering: Metering) -> None:
    await metering.subscribe("priced", amount="2", unitPrices={"tokens": "0.000001", "half": "0.5"}, currency="EUR")
    for month, meter, quantity, events in (
        (1, "tokens", "1500000.25", 7),  # x 0.000001 = 1.50000025, rounded half-even to 1.500000
        (1, "half", "0.000003", 1),  # 0.0000015 to 0.000002
        (2, "call", "3", 3),  # not named: 3 x 2
        (3, "call", "0", 0),  # all voided
    ):
        await metering.total(month, meter, quantity, events, "priced")
    await metering.period(1, closed=True, subscription_id="priced")
    await metering.period(2, closed=False, subscription_id="priced")
    await metering.period(4, closed=True, subscription_id="priced")  # without usage
    shown = await metering.usage("priced")
    current = current_month(shown)
    assert current == {**current, "closed": False, "amount": "0.000000", "currency": "EUR", "totals": []}
    assert [(one["start"][:7], one["end"][:7], one["closed"], one["amount"]) for one in shown["periods"][:-1]] == [
        ("2025-01", "2025-02", True, "1.500002"),
        ("2025-02", "2025-03", False, "6.000000"),
        ("2025-03", "2025-04", False, "0.000000"),
        ("2025-04", "2025-05", True, "0.000000"),
    ]
    assert shown["periods"][0]["totals"] == [
        {"meter": "half", "quantity": "0.000003", "eventCount": 1, "amount": "0.000002"},
        {"meter": "tokens", "quantity": "1500000.250000", "eventCount": 7, "amount": "1.500000"},
    ]
    assert {one["currency"] for one in shown["periods"]} == {"EUR"}


async def test_a_flat_plan_comes_to_its_amount_and_prices_no_meter(metering: Metering) -> None:
    await metering.subscribe("flat", amount="9.99", pricingType="FIXED_RECURRING")
    await metering.total(1, "call", "3", 3, "flat")
    shown = await metering.usage("flat")
    assert [one["amount"] for one in shown["periods"]] == ["9.990000", "9.990000"]
    assert shown["periods"][0]["totals"] == [
        {"meter": "call", "quantity": "3.000000", "eventCount": 3, "amount": "0.000000"}
    ]
    await metering.subscribe("endless", amount="1", billingInterval="NONE")
    (only,) = (await metering.usage("endless"))["periods"]
    assert only == {
        "start": "2025-01-01T00:00:00.000Z",
        "end": None,
        "closed": False,
        "amount": "0.000000",
        "currency": "USDC",
        "totals": [],
    }


async def test_each_period_costs_what_the_plan_in_force_says(metering: Metering) -> None:
    await metering.subscribe("changed", amount="2")
    await metering.gateway.post("/plans", {**PLAN, "id": "dearer", "unitPrices": None, "amount": "3"})
    change = [{"paymentPlanId": "dearer", "from": "2025-02-01T00:00:00.000Z"}]
    await metering.database.execute(
        "UPDATE subscriptions SET document = jsonb_set(document, '{planChanges}', $1::jsonb) WHERE id = 'changed'",
        json.dumps(change),
    )
    for month in (1, 2, 3):
        await metering.total(month, "call", "10", 1, "changed")
    amounts = [one["amount"] for one in (await metering.usage("changed"))["periods"]]
    assert amounts == ["20.000000", "30.000000", "30.000000", "0.000000"]


async def test_only_periods_that_overlap_what_is_asked_for_are_shown(metering: Metering) -> None:
    for month in (1, 2, 3):
        await metering.total(month, "tokens", "1", 1)
    now = current_month(await metering.usage())["start"][:7]
    for parameters, expected in (
        ({}, ["2025-01", "2025-02", "2025-03", now]),
        ({"from": "2025-02-01T00:00:00Z"}, ["2025-02", "2025-03", now]),  # the end of January is not in January
        ({"from": "2025-01-31T23:59:59.999Z"}, ["2025-01", "2025-02", "2025-03", now]),
        ({"to": "2025-02-01T00:00:00Z"}, ["2025-01"]),
        ({"to": "2025-02-01T00:00:00.001Z"}, ["2025-01", "2025-02"]),
        ({"from": "2025-02-10T00:00:00Z", "to": "2025-02-20T00:00:00Z"}, ["2025-02"]),
        ({"from": "2025-06-01T00:00:00Z", "to": "2025-07-01T00:00:00Z"}, []),
        ({"from": "2100-01-01T00:00:00Z"}, []),
    ):
        shown = await metering.usage(**parameters)
        assert [one["start"][:7] for one in shown["periods"]] == expected, parameters
    for parameters in ({"from": "x"}, {"to": "2025-01-01"}):
        answer = await metering.gateway.get("/subscriptions/sub/usage", **parameters)
        assert (answer.status_code, answer.json()["code"]) == (400, "parameter_invalid")


async def test_usage_says_up_to_where_its_partition_was_counted(metering: Metering) -> None:
    home = partition_of("sub", PARTITIONS)
    assert (await metering.usage())["asOf"] == {"partition": home, "offset": 0, "time": None}
    for partition in range(PARTITIONS):
        await insert(
            metering.database,
            "ledger",
            partition=partition,
            next_offset=100 + partition,
            updated_at=at(COUNTED_AT),
            **dict.fromkeys(("received", "accepted", "duplicate", "rejected", "forwarded"), 0),
        )
    assert (await metering.usage())["asOf"] == {
        "partition": home,
        "offset": 100 + home,
        "time": "2026-03-01T00:00:00.000Z",
    }


async def test_usage_of_what_a_key_may_not_know_of_is_not_found(metering: Metering) -> None:
    _, other = await metering.gateway.new_key(services=["another"])
    for subscription_id, key in (("sub", other), ("nothing", None), ("%00", None)):
        answer = await metering.gateway.get(f"/subscriptions/{subscription_id}/usage", key)
        assert (answer.status_code, answer.json()["code"]) == (404, "subscription_not_found")
