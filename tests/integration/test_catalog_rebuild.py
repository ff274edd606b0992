"""Postgres that was restored from an older backup: the gateway stops before it does harm, and is started again when
the catalog was rebuilt."""

from typing import Any

import httpx
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from ingest.catalog.comparing import CatalogAhead
from ingest.catalog.subscriptions import change_status, lock_subscription
from schemas.errors import OperatorError
from schemas.subscription import Subscription, SubscriptionStatus
from schemas.topics import TOPICS, Topic
from tests.integration.catalog_world import PLAN, SUBSCRIPTION, World, set_up
from tests.integration.running_gateway import RunningGateway, new_topics, running_gateway, until


@pytest.fixture
async def world(kafka_bootstrap: str, database_url: str, postgres_dsn: str) -> World:
    return World(kafka_bootstrap, await new_topics(kafka_bootstrap, 1), database_url, postgres_dsn)


CATALOG_TABLES = ("services", "plans", "subscriptions")


async def catalog_of(world: World) -> dict[str, list[tuple[Any, ...]]]:
    """All that Postgres holds of the catalog, but the times at which rows were written."""
    return {
        table: await world.fetch(f"SELECT to_jsonb(t) - 'created_at' - 'updated_at' FROM {table} AS t ORDER BY id")
        for table in CATALOG_TABLES
    }


async def change_much(gateway: RunningGateway) -> None:
    """What is done between the backup and the loss."""
    for status in ("PAST_DUE", "ACTIVE"):
        assert (await gateway.post("/subscriptions/sub/status", {"status": status})).status_code == 200
    assert (await gateway.post("/services", {"id": "svc_2", "name": "Second"})).status_code == 201
    assert (await gateway.post("/plans", {**PLAN, "id": "plan_2", "serviceId": "svc_2"})).status_code == 201
    second = {**SUBSCRIPTION, "id": "sub_2", "serviceId": "svc_2", "paymentPlanId": "plan_2"}
    assert (await gateway.post("/subscriptions", second)).status_code == 201
    assert (await gateway.post("/subscriptions/sub_2/status", {"status": "CANCELLED"})).status_code == 200


async def test_an_older_database_stops_the_gateway_and_is_rebuilt_to_the_last_version(world: World) -> None:
    async with world.gateway() as gateway:
        await set_up(gateway)
    backup = await world.back_up()
    async with world.gateway() as gateway:
        await change_much(gateway)
        published = len(await gateway.catalog())
    lost = await catalog_of(world)
    await world.restore(backup)

    code, _, said = await world.tally("gateway")
    assert (code, "Traceback" in said) == (CatalogAhead.exit_code, False)
    assert "and Postgres " in said
    assert "more" in said or "other entries" in said
    assert "run 'tally catalog rebuild'" in said

    code, said, _ = await world.tally("catalog", "rebuild")
    assert (code, said.splitlines()) == (
        0,
        [
            "created service/svc_2",
            "created plan/plan_2",
            "raised subscription/sub from version 1 to 3",
            "created subscription/sub_2",
        ],
    )
    assert await catalog_of(world) == lost
    assert await world.tally("catalog", "rebuild") == (0, "Postgres has all that the topic holds\n", "")

    async with world.gateway() as gateway:
        assert (await gateway.post("/subscriptions/sub/status", {"status": "CANCELLED"})).status_code == 200
        assert (await gateway.get("/subscriptions/sub_2")).json()["subscription"]["status"] == "CANCELLED"
        records = (await gateway.catalog())[published:]
    ((key, entry, _),) = records
    assert (key, entry["version"]) == ("subscription/sub", 4)
    assert [transition["at"] is None for transition in entry["transitions"]] == [False, False, False, True]


async def test_a_change_that_the_backup_had_not_published_gives_way_and_is_named(world: World) -> None:
    async with world.gateway() as gateway:
        await set_up(gateway)
    async with world.connection() as connection, connection.transaction():
        subscription = await lock_subscription(connection, "sub")
        assert subscription is not None
        await change_status(connection, subscription, SubscriptionStatus.CANCELLED)
    backup = await world.back_up()
    async with world.gateway() as gateway:
        # It publishes that, too: the backup is of a moment before.
        assert (await gateway.post("/subscriptions/sub/status", {"status": "CANCELLED"})).status_code == 200
        expired = await ahead(gateway, 3, "EXPIRED")
    await world.publish("subscription/sub", expired)
    await world.restore(backup)
    code, said, _ = await world.tally("catalog", "rebuild")
    assert (code, said.splitlines()) == (
        0,
        [
            "raised subscription/sub from version 2 to 3",
            "dropped what Postgres had not published of subscription/sub (version 2): the topic went beyond",
        ],
    )
    async with world.gateway() as gateway:
        assert (await gateway.get("/subscriptions/sub")).json()["subscription"]["status"] == "EXPIRED"


async def ahead(gateway: RunningGateway, version: int, status: str) -> dict[str, Any]:
    """The newest entry of `sub`, with a version of another database after it."""
    *_, (_, entry, at) = await gateway.catalog()
    known = Subscription.of_record(entry, at).wire()
    transition = {"version": version, "status": status, "at": None}
    return {**known, "version": version, "status": status, "transitions": [*known["transitions"], transition]}


async def test_a_database_restored_under_a_running_gateway_stops_it_before_it_publishes(world: World) -> None:
    async with world.gateway() as gateway:
        await set_up(gateway)
    backup = await world.back_up()

    async def restored_while_it_runs() -> None:
        async with world.gateway(answer_seconds=1) as gateway:
            assert (await gateway.post("/subscriptions/sub/status", {"status": "CANCELLED"})).status_code == 200
            await world.restore(backup)
            await stopped(gateway)
            assert len(await gateway.catalog()) == 4

    with pytest.raises(CatalogAhead, match="version 2 of subscription/sub and Postgres version 1"):
        await restored_while_it_runs()


async def test_a_gateway_at_work_stops_where_another_database_publishes_too(world: World) -> None:
    async def published_beside_it() -> None:
        async with world.gateway(answer_seconds=1) as gateway:
            await set_up(gateway)
            await world.publish("subscription/sub", await ahead(gateway, 2, "EXPIRED"))

            async def is_gone() -> bool:
                try:
                    return not (await gateway.client.get("/health/live")).is_success
                except httpx.TransportError:
                    return True

            await until(is_gone)

    with pytest.raises(CatalogAhead, match="version 2 of subscription/sub and Postgres version 1"):
        await published_beside_it()


async def stopped(gateway: RunningGateway) -> None:
    """Return once the gateway has stopped, whatever it is asked for meanwhile."""

    async def is_gone() -> bool:
        try:
            return (await gateway.post("/subscriptions/sub/status", {"status": "EXPIRED"})).status_code == 200
        except httpx.TransportError:
            return True

    await until(is_gone)


async def test_a_gateway_without_kafka_changes_nothing_before_it_has_compared(world: World, database_url: str) -> None:
    async with world.gateway() as gateway:
        await set_up(gateway)
    async with running_gateway("127.0.0.1:1", database_url, world.prefix, answer_seconds=0.5) as gateway:
        refused = await gateway.post("/subscriptions/sub/status", {"status": "CANCELLED"})
        assert refused.status_code == 503
        assert "nothing was stored" in refused.json()["error"]
        assert (await gateway.get("/subscriptions/sub")).json()["subscription"]["status"] == "ACTIVE"
        assert (await gateway.client.get("/health/ready")).status_code == 503


INVOICE = {
    "id": "inv",
    "serviceId": "svc",
    "userId": "user",
    "version": 2,
    "transitions": [
        {"version": 1, "status": "OPEN", "at": "2026-01-01T00:00:00.000Z"},
        {"version": 2, "status": "PAID", "at": None},
    ],
}
ISSUE = (
    "INSERT INTO invoices (id, source, service_id, payment_plan_id, user_id, status, amount, currency)"
    " VALUES ('inv', 'MANUAL', 'svc', 'plan', 'user', 'OPEN', 1, 'USDC');"
    "INSERT INTO catalog_outbox (key, version, payload) VALUES ('invoice/inv', 1, '{\"version\": 1}');"
    "NOTIFY catalog_outbox"
)


async def test_the_status_of_an_invoice_is_raised_once_the_closer_has_written_it_again(world: World) -> None:
    """Until then the gateway works, and then it stops before it takes the payment back."""
    async with world.gateway() as gateway:
        await set_up(gateway)
    await world.publish("invoice/inv", INVOICE)
    code, said, _ = await world.tally("catalog", "rebuild")
    assert (code, said[:21]) == (0, "skipped invoice/inv: ")

    async def written_again() -> None:
        async with world.gateway(answer_seconds=1) as gateway:
            assert (await gateway.post("/services", {"id": "svc_2", "name": "Second"})).status_code == 201
            async with world.connection() as connection:
                await connection.execute(ISSUE)
            await stopped(gateway)
            assert [entry["version"] for key, entry, _ in await gateway.catalog() if key == "invoice/inv"] == [2]

    with pytest.raises(CatalogAhead, match="version 2 of invoice/inv and Postgres version 1"):
        await written_again()
    code, said, _ = await world.tally("catalog", "rebuild")
    assert said.splitlines()[0] == "raised invoice/inv from version 1 to 2"
    ((status, version, is_dated),) = await world.fetch("SELECT status, version, paid_at IS NOT NULL FROM invoices")
    assert (status, version, is_dated) == ("PAID", 2, True)
    async with world.gateway() as gateway:
        assert (await gateway.post("/services", {"id": "svc_3", "name": "Third"})).status_code == 201
        assert (await gateway.client.get("/health/ready")).status_code == 200


# The other way round


async def test_a_topic_made_anew_is_published_whole_and_no_change_of_status_moves(world: World) -> None:
    async with world.gateway() as gateway:
        await set_up(gateway)
        await change_much(gateway)
        before = newest(await gateway.catalog())
    await recreate_catalog(world)
    with pytest.raises(
        OperatorError, match=r"ends at 0, and Postgres has followed it up to .* 'tally catalog republish'"
    ):
        async with world.gateway(answer_seconds=1) as gateway:
            await stopped(gateway)
    assert await world.tally("catalog", "republish") == (0, "published 6 entries anew\n", "")
    async with world.gateway() as gateway:
        records = await gateway.catalog()
        assert [key for key, _, _ in records] == sorted(before, key=lambda key: KINDS.index(key.partition("/")[0]))
        assert newest(records) == before
        assert (await gateway.post("/subscriptions/sub/status", {"status": "CANCELLED"})).status_code == 200


async def test_one_entry_is_published_over_what_somebody_else_put_there(world: World) -> None:
    async with world.gateway() as gateway:
        await set_up(gateway)
        before = newest(await gateway.catalog())
        await world.publish("subscription/sub", {"nonsense": True})
        assert await world.tally("catalog", "republish", "subscription/sub") == (0, "published 1 entries anew\n", "")
        *_, (key, entry, at) = await gateway.catalog()
    assert (key, Subscription.of_record(entry, at).wire()) == ("subscription/sub", before[key])


async def test_an_entry_that_is_not_there_or_a_broker_that_is_away_is_said_in_a_sentence(world: World) -> None:
    async with world.gateway() as gateway:
        await set_up(gateway)
    code, _, said = await world.tally("catalog", "republish", "sub")
    assert (code, said.count("\n")) == (1, 1)
    assert "Postgres has not published sub: write keys as subscription/ID" in said
    world.kafka = "127.0.0.1:1"
    for action in ("rebuild", "republish"):
        code, _, said = await world.tally("catalog", action)
        assert (code, "Traceback" in said, "Kafka at 127.0.0.1:1 can't be used" in said) == (1, False, True), said


KINDS = ["service", "plan", "subscription", "invoice"]


def newest(records: list[tuple[str, dict[str, Any], int]]) -> dict[str, dict[str, Any]]:
    """The last entry of each key, its changes of status dated."""
    found = {}
    for key, entry, at in records:
        known = key.startswith("subscription/") and "transitions" in entry
        found[key] = Subscription.of_record(entry, at).wire() if known else entry
    return found


async def recreate_catalog(world: World) -> None:
    name = world.prefix + Topic.CATALOG
    configs = next(known.configs for known in TOPICS if known.topic is Topic.CATALOG)
    admin = AIOKafkaAdminClient(bootstrap_servers=world.kafka)
    await admin.start()
    try:
        await admin.delete_topics([name])

        async def is_gone() -> bool:
            return name not in await admin.list_topics()

        await until(is_gone)
        await admin.create_topics([NewTopic(name, 1, 1, topic_configs=configs)])
    finally:
        await admin.close()
