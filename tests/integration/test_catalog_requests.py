"""The catalog over HTTP: what is created, changed, shown and refused."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.integration.catalog_world import PLAN, SERVICE, SUBSCRIPTION, set_up
from tests.integration.invoices_world import execute
from tests.integration.running_gateway import RunningGateway, new_topics, running_gateway


@pytest.fixture
async def gateway(kafka_bootstrap: str, database_url: str) -> AsyncIterator[RunningGateway]:
    prefix = await new_topics(kafka_bootstrap, 1)
    async with running_gateway(kafka_bootstrap, database_url, prefix) as running:
        yield running


@pytest.mark.parametrize(
    ("path", "body", "other"),
    [
        ("/services", SERVICE, {"name": "Other"}),
        ("/services", SERVICE, {"gracePeriodSeconds": 0}),
        ("/plans", PLAN, {"unitPrices": {"tokens": "0.000000000002"}}),
        ("/plans", PLAN, {"amount": "0.000001"}),
        ("/subscriptions", SUBSCRIPTION, {"userId": "other"}),
        ("/subscriptions", SUBSCRIPTION, {"billingAnchor": "2026-01-01T00:00:00Z"}),
        ("/subscriptions", SUBSCRIPTION, {"status": "PAST_DUE"}),
    ],
)
async def test_same_again_is_the_one_that_exists_and_other_content_is_refused(
    gateway: RunningGateway, path: str, body: dict[str, Any], other: dict[str, Any]
) -> None:
    await set_up(gateway)
    before = await gateway.catalog()
    again = await gateway.post(path, body)
    assert again.status_code == 200
    noun = path[1:-1]
    assert again.json() == (await gateway.get(f"{path}/{body['id']}")).json()
    assert again.json()[noun]["id"] == body["id"]
    refused = await gateway.post(path, {**body, **other})
    assert (refused.status_code, refused.json()["code"], refused.json()["field"]) == (409, "already_exists", "id")
    assert await gateway.catalog() == before


async def test_same_content_is_by_value_and_whatever_became_of_it_since(gateway: RunningGateway) -> None:
    await set_up(gateway)
    plan = {**PLAN, "unitPrices": {"tokens": 1e-12}, "amount": 0, "currency": "USDC", "invoicing": None}
    assert (await gateway.post("/plans", {k: v for k, v in plan.items() if v is not None})).status_code == 200
    await gateway.post("/subscriptions/sub/status", {"status": "CANCELLED"})
    again = await gateway.post("/subscriptions", SUBSCRIPTION)
    assert (again.status_code, again.json()["subscription"]["status"]) == (200, "CANCELLED")
    anchored = {**SUBSCRIPTION, "billingAnchor": again.json()["subscription"]["billingAnchor"]}
    assert (await gateway.post("/subscriptions", anchored)).status_code == 200


PACKAGE: dict[str, Any] = {"model": "PACKAGE", "unitPrice": "2", "packageSize": "100"}

REFUSED_PRICES: list[tuple[dict[str, Any], str, str]] = [
    ({"prices": {"tokens": PACKAGE}}, "field_invalid", "prices"),
    ({"prices": {"calls": PACKAGE, " calls": PACKAGE}}, "field_invalid", "prices"),
    ({"unitPrices": {"calls": 1, "calls ": 1}}, "field_invalid", "unitPrices"),
    ({"prices": [PACKAGE]}, "field_invalid", "prices"),
    *(
        ({"prices": {"calls": price}}, code, f"prices.calls{field}")
        for price, code, field in (
            (1, "field_invalid", ""),
            ({}, "field_required", ".model"),
            ({**PACKAGE, "model": "PER_UNIT"}, "field_invalid", ".packageSize"),
            ({**PACKAGE, "model": "VOLUME"}, "field_invalid", ".unitPrice"),
            ({**PACKAGE, "unitPrice": None}, "field_required", ".unitPrice"),
            ({**PACKAGE, "packageSize": 0}, "field_invalid", ".packageSize"),
            ({**PACKAGE, "included": -1}, "decimal_negative", ".included"),
            ({"model": "GRADUATED"}, "field_required", ".tiers"),
            ({"model": "VOLUME", "tiers": []}, "field_invalid", ".tiers"),
            ({"model": "VOLUME", "tiers": [{"upTo": 1, "unitPrice": 1}]}, "field_invalid", ".tiers"),
            ({"model": "VOLUME", "tiers": [{"unitPrice": "1e14"}]}, "decimal_out_of_range", ".tiers.0.unitPrice"),
        )
    ),
]


async def test_prices_that_can_not_be_billed_are_refused(gateway: RunningGateway) -> None:
    await set_up(gateway)
    before = await gateway.catalog()
    for change, *expected in REFUSED_PRICES:
        answer = await gateway.post("/plans", {**PLAN, "id": "new", **change})
        document = answer.json()
        assert [answer.status_code, document["code"], document["field"]] == [400, *expected], change
    assert await gateway.catalog() == before


async def test_a_plan_with_prices_is_shown_published_and_compared_by_value(gateway: RunningGateway) -> None:
    await set_up(gateway)
    tiers = [{"upTo": 1e3, "unitPrice": "0.5"}, {"unitPrice": 0.25, "flatAmount": "1.5"}]
    prices = {"calls": PACKAGE, "images": {"model": "GRADUATED", "included": 1, "tiers": tiers}}
    created = await gateway.post("/plans", {**PLAN, "id": "tiered", "prices": prices})
    assert created.status_code == 201, created.text
    shown = created.json()["plan"]
    assert shown["prices"] == {
        "calls": {
            "model": "PACKAGE",
            "included": "0.000000",
            "unitPrice": "2.000000000000",
            "packageSize": "100.000000",
        },
        "images": {
            "model": "GRADUATED",
            "included": "1.000000",
            "tiers": [
                {"upTo": "1000.000000", "unitPrice": "0.500000000000", "flatAmount": "0.000000"},
                {"upTo": None, "unitPrice": "0.250000000000", "flatAmount": "1.500000"},
            ],
        },
    }
    key, published, _ = (await gateway.catalog())[-1]
    assert (key, published) == ("plan/tiered", {**shown, "version": 1})
    assert (await gateway.post("/plans", shown)).status_code == 200
    assert (await gateway.get("/plans/tiered")).json()["plan"] == shown
    tiers[1]["flatAmount"] = "1.500001"
    refused = await gateway.post("/plans", {**PLAN, "id": "tiered", "prices": prices})
    assert (refused.status_code, refused.json()["code"]) == (409, "already_exists")


async def test_of_many_who_create_the_same_at_once_one_does(gateway: RunningGateway) -> None:
    same = await asyncio.gather(*(gateway.post("/services", SERVICE) for _ in range(10)))
    assert sorted(answer.status_code for answer in same) == [200] * 9 + [201]
    different = await asyncio.gather(*(gateway.post("/services", {"id": "s", "name": f"{n}"}) for n in range(10)))
    assert sorted(answer.status_code for answer in different) == [201] + [409] * 9


async def test_id_is_chosen_where_the_caller_has_none(gateway: RunningGateway) -> None:
    await set_up(gateway)
    for path, body, start in (
        ("/services", SERVICE, "svc_"),
        ("/plans", PLAN, "plan_"),
        ("/subscriptions", SUBSCRIPTION, "sub_"),
    ):
        answers = [await gateway.post(path, {**body, "id": None}) for _ in range(2)]
        ids = {answer.json()[path[1:-1]]["id"] for answer in answers}
        assert len(ids) == 2
        assert all(chosen.startswith(start) for chosen in ids)
        assert {answer.headers["location"] for answer in answers} == {f"/api/v1{path}/{chosen}" for chosen in ids}


@pytest.mark.parametrize(
    ("path", "change", "status", "code", "field"),
    [
        ("/plans", {"serviceId": "none"}, 404, "service_not_found", "serviceId"),
        ("/plans", {"amount": -1}, 400, "decimal_negative", "amount"),
        ("/plans", {"amount": "1e14"}, 400, "decimal_out_of_range", "amount"),
        ("/plans", {"unitPrices": {"tokens": "0.0000000000001"}}, 400, "decimal_too_precise", "unitPrices.tokens"),
        ("/plans", {"billingInterval": "YEAR"}, 400, "field_invalid", "billingInterval"),
        ("/plans", {"pricingType": None}, 400, "field_invalid", "pricingType"),
        ("/subscriptions", {"serviceId": "none"}, 404, "service_not_found", "serviceId"),
        ("/subscriptions", {"paymentPlanId": "none"}, 404, "plan_not_found", "paymentPlanId"),
        ("/subscriptions", {"paymentPlanId": "elsewhere"}, 400, "field_invalid", "paymentPlanId"),
        ("/subscriptions", {"timeZone": "Mars/Base"}, 400, "field_invalid", "timeZone"),
        ("/subscriptions", {"billingAnchor": "yesterday"}, 400, "timestamp_invalid", "billingAnchor"),
        ("/subscriptions", {"billingAnchor": "1969-12-31T23:59:59Z"}, 400, "timestamp_invalid", "billingAnchor"),
        ("/subscriptions", {"status": "NEW"}, 400, "field_invalid", "status"),
        ("/subscriptions", {"userId": "a\u0000b"}, 400, "field_invalid", "userId"),
        ("/subscriptions/none/status", {"status": "ACTIVE"}, 404, "subscription_not_found", None),
        ("/subscriptions/sub/status", {"status": "PAUSED"}, 400, "field_invalid", "status"),
        ("/subscriptions/sub/status", {}, 400, "field_required", "status"),
    ],
)
async def test_refusals(
    gateway: RunningGateway, path: str, change: dict[str, Any], status: int, code: str, field: str | None
) -> None:
    await set_up(gateway)
    await gateway.post("/services", {"id": "other", "name": "Other"})
    await gateway.post("/plans", {**PLAN, "id": "elsewhere", "serviceId": "other"})
    body = {"/plans": PLAN, "/subscriptions": SUBSCRIPTION}.get(path, {})
    answer = await gateway.post(path, {**body, "id": "new", **change})
    document = answer.json()
    assert (answer.status_code, document["code"], document["field"]) == (status, code, field)
    assert len(await gateway.catalog()) == 5


@pytest.mark.parametrize(
    ("path", "status", "answer"),
    [
        (["ACTIVE"], 200, None),
        (["PAST_DUE", "ACTIVE", "PAST_DUE"], 200, None),
        (["PAST_DUE", "EXPIRED"], 200, None),
        (["EXPIRED", "EXPIRED"], 200, None),
        (["CANCELLED", "ACTIVE"], 409, "CANCELLED"),
        (["CANCELLED", "EXPIRED"], 409, "CANCELLED"),
        (["EXPIRED", "PAST_DUE"], 409, "EXPIRED"),
    ],
)
async def test_statuses_change_as_the_contract_says(
    gateway: RunningGateway, path: list[str], status: int, answer: str | None
) -> None:
    await set_up(gateway)
    for step in path:
        last = await gateway.post("/subscriptions/sub/status", {"status": step})
    assert last.status_code == status
    if answer is None:
        assert last.json()["subscription"]["status"] == path[-1]
    else:
        assert (last.json()["code"], last.json()["currentStatus"]) == ("invalid_transition", answer)


async def test_current_period_follows_the_anchor_and_the_zone(gateway: RunningGateway) -> None:
    await set_up(gateway, billingAnchor="2020-01-31T12:00:00Z", timeZone="Asia/Tokyo")
    subscription = (await gateway.get("/subscriptions/sub")).json()["subscription"]
    start, end = subscription["currentPeriodStart"], subscription["currentPeriodEnd"]
    assert start < subscription["createdAt"] < end
    assert start.endswith("T12:00:00.000Z")
    assert end.endswith("T12:00:00.000Z")
    await gateway.post("/plans", {**PLAN, "id": "open", "billingInterval": "NONE"})
    for name, anchor in (("endless", None), ("old", "1970-01-01T00:00:00Z")):
        body = {**SUBSCRIPTION, "id": name, "paymentPlanId": "open", "billingAnchor": anchor}
        endless = (await gateway.post("/subscriptions", body)).json()["subscription"]
        assert (endless["currentPeriodStart"], endless["currentPeriodEnd"]) == (endless["billingAnchor"], None)
    assert endless["billingAnchor"] == "1970-01-01T00:00:00.000Z"


async def test_current_period_of_a_subscription_that_ended_is_the_last_of_its_life(gateway: RunningGateway) -> None:
    await set_up(gateway, billingAnchor="1970-01-31T00:00:00Z")
    await gateway.post("/subscriptions/sub/status", {"status": "EXPIRED"})
    ended = json.dumps(
        [
            {"version": 1, "status": "ACTIVE", "at": "2026-01-01T00:00:00.000Z"},
            {"version": 2, "status": "EXPIRED", "at": "2026-02-28T00:00:00.000Z"},
        ]
    )
    await execute(  # as if that had been long ago, at the moment at which a period ended
        gateway, "UPDATE subscriptions SET document = jsonb_set(document, '{transitions}', $1::text::jsonb)", ended
    )
    subscription = (await gateway.get("/subscriptions/sub")).json()["subscription"]
    assert subscription["currentPeriodStart"] == "2026-01-31T00:00:00.000Z"
    assert subscription["currentPeriodEnd"] == "2026-02-28T00:00:00.000Z"
    (period,) = (await gateway.get("/subscriptions/sub/usage")).json()["periods"]
    assert period["start"] == "2026-01-31T00:00:00.000Z"


async def test_lists_are_filtered(gateway: RunningGateway) -> None:
    await set_up(gateway)
    await gateway.post("/services", {"id": "other", "name": "Other"})
    await gateway.post("/plans", {**PLAN, "id": "elsewhere", "serviceId": "other"})
    second = {"id": "sub_2", "serviceId": "other", "paymentPlanId": "elsewhere", "userId": "user_2"}
    await gateway.post("/subscriptions", second)
    await gateway.post("/subscriptions/sub_2/status", {"status": "PAST_DUE"})
    for path, filters, ids in (
        ("/services", {}, ["other", "svc"]),
        ("/plans", {}, ["elsewhere", "plan"]),
        ("/plans", {"serviceId": "svc"}, ["plan"]),
        ("/plans", {"serviceId": "none"}, []),
        ("/subscriptions", {}, ["sub_2", "sub"]),
        ("/subscriptions", {"serviceId": "other"}, ["sub_2"]),
        ("/subscriptions", {"userId": "user"}, ["sub"]),
        ("/subscriptions", {"status": "PAST_DUE"}, ["sub_2"]),
        ("/subscriptions", {"status": "PAST_DUE", "userId": "user"}, []),
    ):
        document = (await gateway.get(path, **filters)).json()
        assert [entity["id"] for entity in document[path[1:]]] == ids
        assert document["nextCursor"] is None


@pytest.mark.parametrize("entity_id", ["a/b", "a b", "ü%2F", "?", "#", "status", "a\\b", "'; DROP TABLE", "\U0001f600"])
async def test_any_text_can_be_an_id(gateway: RunningGateway, entity_id: str) -> None:
    created = await gateway.post("/services", {"id": entity_id, "name": "Service"})
    assert created.status_code == 201
    found = await gateway.client.get(created.headers["location"], headers={"authorization": f"Bearer {gateway.key}"})
    assert found.json() == created.json()
    assert created.headers["location"] == f"/api/v1/services/{quote(entity_id, safe='')}"
