"""The catalog: stored in Postgres, published to its topic, and only then answered."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from ingest.catalog.change import Saved
from ingest.catalog.plans import create_plan
from ingest.catalog.services import create_service
from ingest.catalog.subscriptions import change_status, create_subscription, lock_subscription
from schemas.errors import OperatorError
from schemas.plan import NewPlan
from schemas.service import NewService
from schemas.subscription import NewSubscription, Subscription, SubscriptionStatus
from schemas.timestamps import parse_timestamp, timestamp_text
from schemas.topics import Topic
from tests.integration.running_gateway import RunningGateway, new_topics, running_gateway, serving, until

SERVICE = {"id": "svc", "name": "Service"}
PLAN = {
    "id": "plan",
    "serviceId": "svc",
    "name": "Plan",
    "pricingType": "USAGE_BASED",
    "billingInterval": "MONTH",
    "unitPrices": {"tokens": "0.000000000001"},
}
SUBSCRIPTION = {"id": "sub", "serviceId": "svc", "paymentPlanId": "plan", "userId": "user"}


@pytest.fixture
async def gateway(kafka_bootstrap: str, database_url: str) -> AsyncIterator[RunningGateway]:
    prefix = await new_topics(kafka_bootstrap, 1)
    async with running_gateway(kafka_bootstrap, database_url, prefix) as running:
        yield running


async def set_up(gateway: RunningGateway, **subscription: Any) -> None:
    for path, body in (
        ("/services", SERVICE),
        ("/plans", PLAN),
        ("/subscriptions", {**SUBSCRIPTION, **subscription}),
    ):
        answer = await gateway.post(path, body)
        assert answer.status_code == 201, answer.text


async def transitions_of(gateway: RunningGateway, subscription: str = "sub") -> list[tuple[int, str, str | None]]:
    """As Postgres has them."""
    connection = await asyncpg.connect(gateway.settings.database_url)
    document = await connection.fetchval("SELECT document FROM subscriptions WHERE id = $1", subscription)
    await connection.close()
    return [(entry["version"], entry["status"], entry["at"]) for entry in json.loads(document)["transitions"]]


async def published(gateway: RunningGateway, key: str = "subscription/sub") -> list[tuple[list[Any], str]]:
    """The transitions of each record of a key in the topic, with the record's append time."""
    return [
        ([(entry["version"], entry["status"], entry["at"]) for entry in value["transitions"]], timestamp_text(at))
        for record_key, value, at in await gateway.catalog()
        if record_key == key
    ]


async def test_answer_comes_after_the_publication(gateway: RunningGateway) -> None:
    await set_up(gateway)
    assert [(key, value["version"]) for key, value, _ in await gateway.catalog()] == [
        ("service/svc", 1),
        ("plan/plan", 1),
        ("subscription/sub", 1),
    ]
    await gateway.post("/subscriptions/sub/status", {"status": "CANCELLED"})
    assert [(key, value["version"]) for key, value, _ in await gateway.catalog()][3:] == [("subscription/sub", 2)]


async def test_record_holds_what_workers_parse(gateway: RunningGateway) -> None:
    await set_up(gateway, billingAnchor="2026-01-31T10:00:00+01:00", timeZone="Europe/Berlin")
    *_, (_, value, at) = await gateway.catalog()
    subscription = Subscription.of_record(value, at)
    assert (subscription.service_id, subscription.payment_plan_id, subscription.user_id) == ("svc", "plan", "user")
    assert timestamp_text(subscription.billing_anchor) == "2026-01-31T09:00:00.000Z"
    assert subscription.time_zone == "Europe/Berlin"
    assert subscription.began_at == at


async def test_change_of_status_happened_when_its_record_was_appended(gateway: RunningGateway) -> None:
    await set_up(gateway)
    for status in ("PAST_DUE", "ACTIVE", "CANCELLED"):
        assert (await gateway.post("/subscriptions/sub/status", {"status": status})).status_code == 200
    records = await published(gateway)
    times = [at for _, at in records]
    statuses = ["ACTIVE", "PAST_DUE", "ACTIVE", "CANCELLED"]
    for count, (transitions, _) in enumerate(records, start=1):
        known = [*times[: count - 1], None]  # the newest is dated by its own record
        assert transitions == list(zip(range(1, count + 1), statuses, known, strict=False))
    assert await transitions_of(gateway) == list(zip(range(1, 5), statuses, times, strict=True))


async def test_what_a_crash_left_unpublished_goes_out_in_order_and_keeps_its_times(
    kafka_bootstrap: str, database_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """The gateway died after two changes were committed, and before either was published."""
    async with database.transaction():
        await create_service(database, NewService.model_validate(SERVICE))
        await create_plan(database, NewPlan.model_validate(PLAN))
        await create_subscription(database, NewSubscription.model_validate(SUBSCRIPTION), None)
    async with database.transaction():
        await cancel(database, "sub")
    prefix = await new_topics(kafka_bootstrap, 1)
    async with running_gateway(kafka_bootstrap, database_url, prefix) as gateway:
        # The same change again is no change, and is answered when the first one is in force.
        assert (await gateway.post("/subscriptions/sub/status", {"status": "CANCELLED"})).status_code == 200
        (first, first_at), (second, second_at) = await published(gateway)
        assert first == [(1, "ACTIVE", None)]
        assert second == [(1, "ACTIVE", first_at), (2, "CANCELLED", None)]
        assert await transitions_of(gateway) == [(1, "ACTIVE", first_at), (2, "CANCELLED", second_at)]


async def test_publication_that_was_not_stored_is_made_again_and_dates_the_change(
    gateway: RunningGateway, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """The gateway died after the broker's acknowledgement, before it was stored."""
    await set_up(gateway)
    await database.execute(
        "UPDATE subscriptions SET document = jsonb_set(document, '{transitions,0,at}', 'null');"
        "UPDATE catalog_outbox SET published_at = NULL, appended_at = NULL,"
        " payload = jsonb_set(payload, '{transitions,0,at}', 'null') WHERE key = 'subscription/sub';"
        "NOTIFY catalog_outbox"
    )
    assert (await gateway.post("/subscriptions", SUBSCRIPTION)).status_code == 200
    (first, _), (second, second_at) = await published(gateway)
    assert first == second == [(1, "ACTIVE", None)]
    assert await transitions_of(gateway) == [(1, "ACTIVE", second_at)]


async def test_two_gateways_publish_each_version_once_and_in_order(
    gateway: RunningGateway, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await set_up(gateway)
    other = gateway.settings.model_copy(update={"http_port": 0})
    subscriptions = [f"sub_{number}" for number in range(20)]
    async with serving(other):
        for subscription in subscriptions:
            async with database.transaction():
                new = NewSubscription.model_validate({**SUBSCRIPTION, "id": subscription})
                await create_subscription(database, new, None)
            async with database.transaction():
                await cancel(database, subscription)

        async def all_published() -> bool:
            return await database.fetchval("SELECT count(*) FROM catalog_outbox WHERE published_at IS NULL") == 0

        await until(all_published)
    for subscription in subscriptions:
        (first, first_at), (second, _) = await published(gateway, f"subscription/{subscription}")
        assert first == [(1, "ACTIVE", None)]
        assert second == [(1, "ACTIVE", first_at), (2, "CANCELLED", None)]


async def test_invoice_that_the_closer_wrote_is_published_and_dated(
    gateway: RunningGateway, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    payload = {
        "id": "inv",
        "serviceId": "svc",
        "userId": "user",
        "version": 1,
        "transitions": [{"version": 1, "status": "OPEN", "at": None}],
    }
    await database.execute(
        "INSERT INTO catalog_outbox (key, version, payload) VALUES ('invoice/inv', 1, $1)", json.dumps(payload)
    )
    await database.execute("NOTIFY catalog_outbox")

    async def is_published() -> bool:
        return bool(await database.fetchval("SELECT published_at FROM catalog_outbox WHERE key = 'invoice/inv'"))

    await until(is_published)
    ((key, value, at),) = await gateway.catalog()
    assert (key, value) == ("invoice/inv", payload)
    row = await database.fetchrow("SELECT * FROM catalog_outbox WHERE key = 'invoice/inv'")
    assert row is not None
    assert json.loads(row["payload"])["transitions"] == [{"version": 1, "status": "OPEN", "at": timestamp_text(at)}]
    assert parse_timestamp(row["appended_at"].isoformat()) == at


async def test_topic_without_append_times_stops_the_gateway_with_a_sentence(
    kafka_bootstrap: str, database_url: str
) -> None:
    prefix = await new_topics(kafka_bootstrap, 1)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    configs = {"message.timestamp.type": "CreateTime"}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, prefix + Topic.CATALOG, configs=configs)])
    await admin.close()
    with pytest.raises(OperatorError, match="LogAppendTime"):
        async with running_gateway(kafka_bootstrap, database_url, prefix, answer_seconds=1) as gateway:
            assert (await gateway.post("/services", SERVICE)).status_code == 503


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
        ("/plans", {"prices": {"tokens": {}}}, 400, "field_invalid", None),
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
    await gateway.post("/subscriptions", {**SUBSCRIPTION, "id": "endless", "paymentPlanId": "open"})
    endless = (await gateway.get("/subscriptions/endless")).json()["subscription"]
    assert (endless["currentPeriodStart"], endless["currentPeriodEnd"]) == (endless["billingAnchor"], None)


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


async def cancel(connection: "asyncpg.Connection[asyncpg.Record]", subscription_id: str) -> Saved[Subscription]:
    subscription = await lock_subscription(connection, subscription_id)
    assert subscription is not None
    return await change_status(connection, subscription, SubscriptionStatus.CANCELLED)
