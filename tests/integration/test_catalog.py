"""The catalog: stored in Postgres, published to its topic, and only then answered."""

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
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
from tests.integration.catalog_world import PLAN, SERVICE, SUBSCRIPTION, set_up
from tests.integration.running_gateway import RunningGateway, new_topics, running_gateway, serving, until


@pytest.fixture
async def gateway(kafka_bootstrap: str, database_url: str) -> AsyncIterator[RunningGateway]:
    prefix = await new_topics(kafka_bootstrap, 1)
    async with running_gateway(kafka_bootstrap, database_url, prefix) as running:
        yield running


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


async def test_publication_that_was_not_stored_is_found_in_the_topic_and_not_made_again(
    gateway: RunningGateway, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """The gateway died after the broker's acknowledgement, before it was stored."""
    await set_up(gateway)
    ((_, published_at),) = await published(gateway)
    async with database.transaction():
        await database.execute(
            "UPDATE subscriptions SET document = jsonb_set(document, '{transitions,0,at}', 'null');"
            "UPDATE catalog_outbox SET published_at = NULL, appended_at = NULL,"
            " payload = jsonb_set(payload, '{transitions,0,at}', 'null') WHERE key = 'subscription/sub';"
            "UPDATE catalog_topic SET next_offset = 2;"
            "NOTIFY catalog_outbox"
        )
    assert (await gateway.post("/subscriptions", SUBSCRIPTION)).status_code == 200
    assert await published(gateway) == [([(1, "ACTIVE", None)], published_at)]
    assert await transitions_of(gateway) == [(1, "ACTIVE", published_at)]


async def test_change_that_was_published_twice_keeps_its_first_time_for_every_reader(gateway: RunningGateway) -> None:
    """A gateway hung while it published, another took over, and the first one's record arrives after all."""
    await set_up(gateway)
    assert (await gateway.post("/subscriptions/sub/status", {"status": "CANCELLED"})).status_code == 200
    *_, (key, cancelled, _) = await gateway.catalog()
    (_, first_at), (_, second_at) = await published(gateway)
    await publish_beside(gateway, key, cancelled)

    async def is_mended() -> bool:
        return len(await published(gateway)) == 4

    await until(is_mended)
    *_, late, mended = await published(gateway)
    assert late[0] == [(1, "ACTIVE", first_at), (2, "CANCELLED", None)]
    assert mended[0] == [(1, "ACTIVE", first_at), (2, "CANCELLED", second_at)]
    assert await transitions_of(gateway) == mended[0]


async def test_older_version_that_comes_late_does_not_stay_the_last_of_its_key(gateway: RunningGateway) -> None:
    """Compaction leaves the last record of a key, whatever its version."""
    await set_up(gateway)
    *_, (key, active, _) = await gateway.catalog()
    assert (await gateway.post("/subscriptions/sub/status", {"status": "CANCELLED"})).status_code == 200
    await publish_beside(gateway, key, active)

    async def is_mended() -> bool:
        return len(await published(gateway)) == 4

    await until(is_mended)
    times = [at for _, at in await published(gateway)]
    *_, (mended, _) = await published(gateway)
    assert mended == [(1, "ACTIVE", times[0]), (2, "CANCELLED", times[1])]


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
            return bool(await database.fetchval("SELECT count(*) = 0 FROM catalog_outbox WHERE published_at IS NULL"))

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


async def test_entry_that_the_broker_refuses_holds_up_no_other(
    gateway: RunningGateway, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await database.execute(
        "INSERT INTO catalog_outbox (key, version, payload)"
        " VALUES ('service/large', 1, jsonb_build_object('name', repeat('x', 2000000)))"
    )
    await set_up(gateway)
    assert (await gateway.post("/subscriptions/sub/status", {"status": "CANCELLED"})).status_code == 200
    assert not await database.fetchval("SELECT published_at FROM catalog_outbox WHERE key = 'service/large'")


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


async def cancel(connection: "asyncpg.Connection[asyncpg.Record]", subscription_id: str) -> Saved[Subscription]:
    subscription = await lock_subscription(connection, subscription_id)
    assert subscription is not None
    return await change_status(connection, subscription, SubscriptionStatus.CANCELLED)


async def publish_beside(gateway: RunningGateway, key: str, entry: dict[str, Any]) -> None:
    """Put an entry on the topic, as another gateway would."""
    producer = AIOKafkaProducer(bootstrap_servers=gateway.settings.kafka)
    await producer.start()
    try:
        topic = gateway.settings.topic(Topic.CATALOG)
        await producer.send_and_wait(topic, json.dumps(entry).encode(), key=key.encode(), partition=0)
    finally:
        await producer.stop()
