"""The verdict in the answer: what a worker decides is told to the caller who waits for it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from schemas.topics import Topic
from tests.integration.catalog_world import PLAN, SUBSCRIPTION
from tests.integration.deciding_world import USAGE, DecidingWorld, deciding
from tests.integration.running_gateway import serving, until


@pytest.fixture
async def undecided(
    kafka_bootstrap: str, database_url: str, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[DecidingWorld]:
    async with deciding(kafka_bootstrap, database_url, topic_prefix, tmp_path) as world:
        yield world


@pytest.fixture
async def world(undecided: DecidingWorld) -> AsyncIterator[DecidingWorld]:
    async with undecided.tally.worker(TALLY_GRACE_SECONDS="3600"):
        await undecided.can_wait()
        yield undecided


async def test_event_that_counts_is_answered_as_it_was_recorded(world: DecidingWorld) -> None:
    answer = await world.send()
    assert answer.status_code == 201
    event = answer.json()["usageEvent"]
    assert answer.headers["location"] == f"/api/v1/usage-events/{event['id']}"
    assert answer.headers["preference-applied"] == "wait=30"
    assert event.pop("createdAt") == event.pop("updatedAt")
    assert event.pop("id").startswith("ue_")
    assert event == {
        **USAGE,
        "quantity": "1.500000",
        "eventId": None,
        "invoiceId": None,
        "meter": "tokens",
        "billingPeriod": {"start": "2026-02-01T00:00:00.000Z", "end": "2026-03-01T00:00:00.000Z"},
        "status": "RECORDED",
    }
    assert (await world.send(prefer=None, eventKey="tokens#default")).status_code == 201


async def test_event_that_does_not_count_is_answered_with_the_exact_reason(world: DecidingWorld) -> None:
    first = (await world.send()).json()["usageEvent"]
    await world.post("/subscriptions", {**SUBSCRIPTION, "id": "sub_over"})
    await world.post("/subscriptions/sub_over/status", {"status": "CANCELLED"})
    for changes, status, code, field, more in (
        ({}, 409, "duplicate_event_key", "eventKey", {"identical": True, "existing": first["id"]}),
        ({"quantity": 1.50}, 409, "duplicate_event_key", "eventKey", {"identical": True, "existing": first["id"]}),
        ({"quantity": "2"}, 409, "duplicate_event_key", "eventKey", {"identical": False, "existing": first["id"]}),
        ({"subscriptionId": "sub_over"}, 409, "subscription_not_active", "subscriptionId",
         {"currentStatus": "CANCELLED"}),
        ({"subscriptionId": "nobody"}, 404, "subscription_not_found", "subscriptionId", {}),
        ({"serviceId": "nobody"}, 404, "service_not_found", "serviceId", {}),
        ({"userId": "eve"}, 400, "subscription_mismatch", "subscriptionId", {}),
        ({"invoiceId": "nobody"}, 404, "invoice_not_found", "invoiceId", {}),
        ({"eventKey": "tokens#late", "occurredAt": "2099-01-01T00:00:00Z"}, 400, "occurred_at_in_future",
         "occurredAt", {}),
    ):  # fmt: skip
        answer = await world.send(**changes)
        body = answer.json()
        assert (answer.status_code, body["code"], body["field"]) == (status, code, field), body
        assert body["requestId"] == answer.headers["x-request-id"]
        known = {"error", "code", "field", "requestId", "details"}
        shown = {name: value for name, value in body.items() if name not in known}
        if "existing" in shown:
            shown["existing"] = shown["existing"]["id"]
        assert shown == more


async def test_a_duplicate_is_answered_with_the_first_event(world: DecidingWorld) -> None:
    async with world.projecting():
        first = (await world.send()).json()["usageEvent"]
        assert (await world.send()).json()["existing"] == first
        assert (await world.send(quantity="7", userId="user")).json()["existing"] == first
        batch = await world.post("/usage-events/batch", {"usageEvents": [USAGE, USAGE]})
        assert [result["existing"] for result in batch.json()["results"]] == [first, first]


async def test_a_key_bound_to_services_learns_of_no_id_of_another(world: DecidingWorld) -> None:
    """An id of another service is as unknown as one that nobody has; one of another user is no secret."""
    gateway = world.gateway
    for service in ("svc", "svc_2"):
        await gateway.post("/services", {"id": service, "name": "Service"})
    await gateway.post("/plans", {**PLAN, "id": "plan_2", "serviceId": "svc_2"})
    await gateway.post(
        "/subscriptions", {**SUBSCRIPTION, "id": "sub_2", "serviceId": "svc_2", "paymentPlanId": "plan_2"}
    )
    for service, plan in (("svc", "plan"), ("svc_2", "plan_2")):
        whose = {"serviceId": service, "paymentPlanId": plan, "userId": "eve", "amount": 1}
        assert (await gateway.post("/invoices", {"id": f"inv_{service}", **whose})).status_code == 201
    _, key = await gateway.new_key(services=["svc"])
    events = [
        {**USAGE, "subscriptionId": "sub_2"},
        {**USAGE, "subscriptionId": "nobody"},
        {**USAGE, "userId": "eve"},
        {**USAGE, "invoiceId": "inv_svc_2"},
        {**USAGE, "invoiceId": "inv_svc"},
    ]
    headers = {"authorization": f"Bearer {key}", "prefer": "wait=30"}
    body = {"usageEvents": events}
    batch = await gateway.client.post("/api/v1/usage-events/batch", json=body, headers=headers)
    assert [(result["status"], result["code"]) for result in batch.json()["results"]] == [
        (404, "subscription_not_found"),
        (404, "subscription_not_found"),
        (400, "subscription_mismatch"),
        (404, "invoice_not_found"),
        (400, "invoice_mismatch"),
    ]
    hidden, nobody, *_ = batch.json()["results"]
    assert hidden == nobody
    everything = await world.send(subscriptionId="sub_2")
    assert everything.json()["code"] == "subscription_mismatch"


async def test_each_event_of_a_batch_has_its_own_verdict_in_order(world: DecidingWorld) -> None:
    events: list[Any] = [
        {**USAGE, "eventKey": "a#1"},
        {**USAGE, "eventKey": "a#1"},
        {**USAGE, "eventKey": "a#2", "quantity": "-1"},
        {**USAGE, "eventKey": "a#3", "userId": "eve"},
        17,
        *({**USAGE, "eventKey": f"b#{number}"} for number in range(300)),
    ]
    as_object = await world.post("/usage-events/batch", {"usageEvents": events})
    assert as_object.status_code == 207
    results = as_object.json()["results"]
    assert [result["status"] for result in results] == [201, 409, 400, 400, 400, *([201] * 300)]
    assert [result.get("code") for result in results[1:5]] == [
        "duplicate_event_key",
        "decimal_negative",
        "subscription_mismatch",
        "invalid_body",
    ]
    assert [result["usageEvent"]["eventKey"] for result in results[5:]] == [event["eventKey"] for event in events[5:]]
    lines = "\r\n".join(json.dumps(event) for event in events) + "\n\n"
    headers = {"authorization": f"Bearer {world.gateway.key}", "content-type": "application/x-ndjson; charset=utf-8"}
    as_lines = await world.gateway.client.post("/api/v1/usage-events/batch", content=lines.encode(), headers=headers)
    assert [result["status"] for result in as_lines.json()["results"]] == [409, 409, 400, 400, 400, *([409] * 300)]
    assert {result.get("identical") for result in as_lines.json()["results"]} == {True, None}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "batch_size_invalid"),
        (b"\n \r\n\t\n", 400, "batch_size_invalid"),
        (b"\n" * 1_000_000, 400, "batch_size_invalid"),
        (b"{}\n" * 1_001, 400, "batch_size_invalid"),
        (b"{" + b" " * (16 << 20) + b"}", 413, "body_too_large"),
    ],
)
async def test_lines_that_are_no_batch_are_refused_whole(
    undecided: DecidingWorld, body: bytes, status: int, code: str
) -> None:
    headers = {"authorization": f"Bearer {undecided.gateway.key}", "content-type": "application/x-ndjson"}
    answer = await undecided.gateway.client.post("/api/v1/usage-events/batch", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_wait_ends_with_a_receipt_and_the_event_is_decided_all_the_same(undecided: DecidingWorld) -> None:
    """No worker runs: nobody decides."""
    for prefer, applied, seconds in (
        ("respond-async", "respond-async", 0),
        ("wait=0", "wait=0", 0),
        ("wait=1", "wait=1", 1),
        ("respond-async, wait=1", "respond-async, wait=1", 1),
    ):
        begun = asyncio.get_running_loop().time()
        answer = await undecided.send(prefer, eventKey=f"tokens#{prefer}")
        assert seconds <= asyncio.get_running_loop().time() - begun
        assert answer.status_code == 202
        assert answer.headers["preference-applied"] == applied
        receipt = answer.json()["receipt"]
        assert receipt["status"] == "PENDING"
        assert answer.headers["location"] == f"/api/v1/usage-events/{receipt['id']}"
    async with undecided.tally.worker(TALLY_GRACE_SECONDS="3600"):
        await undecided.tally.decided(4)
        assert (await undecided.send("wait=30", eventKey="tokens#wait=1")).json()["identical"] is True


async def test_a_gateway_that_is_told_to_stop_answers_who_waits_with_a_receipt(undecided: DecidingWorld) -> None:
    another = undecided.gateway.settings.model_copy(update={"http_port": 0})
    async with httpx.AsyncClient(timeout=30) as client, serving(another) as url:
        headers = {"authorization": f"Bearer {undecided.gateway.key}", "prefer": "wait=30"}
        waiting = asyncio.create_task(client.post(f"{url}/api/v1/usage-events", json=USAGE, headers=headers))

        async def is_published() -> bool:
            return len(await undecided.tally.records(Topic.USAGE_EVENTS)) == 1

        await until(is_published)
    assert (await waiting).status_code == 202


async def test_answer_that_was_lost_is_given_to_whoever_sends_the_same_event_again(world: DecidingWorld) -> None:
    """The gateway died after it had published, and before it answered."""
    offset = await world.tally.put_event(**USAGE)
    answer = await world.send()
    assert (answer.status_code, answer.json()["identical"]) == (409, True)
    assert answer.json()["existing"]["id"].endswith(f"_{offset}")


async def test_each_gateway_waits_on_a_partition_of_its_own_and_that_of_a_dead_one_is_free_again(
    world: DecidingWorld, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async def claims() -> set[int]:
        rows = await database.fetch(
            "SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2"
        )
        return {row["objid"] for row in rows}

    async def two_are_claimed() -> bool:
        return len(await claims()) == 2

    (first,) = await claims()
    another = world.gateway.settings.model_copy(update={"http_port": 0})
    async with serving(another):
        await until(two_are_claimed)
        assert first in await claims()

    async def one_is_claimed() -> bool:
        return await claims() == {first}

    await until(one_is_claimed)
    assert (await world.send()).status_code == 201


async def test_without_postgres_there_are_receipts_and_then_verdicts_again(
    world: DecidingWorld, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2"
    )
    statuses = [(await world.send("wait=5", eventKey=f"tokens#{number}")).status_code for number in range(20)]
    assert set(statuses) <= {201, 202}

    async def has_verdict() -> bool:
        answer = await world.send("wait=5", eventKey=f"again#{len(statuses)}")
        statuses.append(answer.status_code)
        return answer.status_code == 201

    await until(has_verdict)


async def test_who_forges_an_address_gets_no_one_elses_verdict(world: DecidingWorld) -> None:
    """Anybody who may produce may name a gateway's partition; what the gateway did not ask for it ignores."""
    home = world.tally.settings.partitions - 1
    for partition in range(4):
        await world.tally.put(
            b"sub", json.dumps({**USAGE, "eventKey": f"forged#{partition}"}).encode(), home,
            **{"reply-to": b"%d" % partition, "correlation-id": b"\x00" * 10},
        )  # fmt: skip
    assert (await world.send()).status_code == 201

    async def all_are_answered() -> bool:
        replies = await world.tally.records(Topic.USAGE_REPLIES)
        return [record.key for record in replies].count(b"\x00" * 10) == 4

    await until(all_are_answered)  # A reply follows its commit: the ledger may count an event before.
