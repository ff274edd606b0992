"""An event voided over HTTP, by a worker: what is answered, what falls, and what stays as it is."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from schemas.topics import Topic
from tests.integration.deciding_world import USAGE, DecidingWorld, deciding
from tests.integration.running_gateway import running_gateway
from tests.integration.usage_rows import record_shown, reject


@dataclass
class Voiding(DecidingWorld):
    """A world with a hand on the tables that the projector would write."""

    database: asyncpg.Connection

    async def recorded(self, **changes: Any) -> dict[str, Any]:
        """An event that a worker has accepted, and that Postgres shows."""
        shown: dict[str, Any] = (await self.send(**changes)).json()["usageEvent"]
        await record_shown(self.database, shown)
        return shown

    async def void(self, event_id: str, prefer: str | None = "wait=30", **body: Any) -> httpx.Response:
        return await self.post(f"/usage-events/{event_id}/void", body or {"reason": "a mistake"}, prefer)

    async def voids(self) -> list[Any]:
        """All records of `usage-corrections`."""
        return await self.tally.records(Topic.USAGE_CORRECTIONS)

    async def show_voided(self, event_id: str) -> None:
        await self.database.execute("UPDATE usage_events SET status = 'VOIDED' WHERE id = $1", event_id)


@pytest.fixture
async def undecided(
    kafka_bootstrap: str, database_url: str, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[Voiding]:
    async with deciding(kafka_bootstrap, database_url, topic_prefix, tmp_path) as opened:
        database = await asyncpg.connect(database_url)
        try:
            yield Voiding(opened.gateway, opened.tally, database)
        finally:
            await database.close()


@pytest.fixture
async def world(undecided: Voiding) -> AsyncIterator[Voiding]:
    async with undecided.tally.worker(TALLY_GRACE_SECONDS="3600"):
        await undecided.can_wait()
        yield undecided


async def test_a_void_takes_the_quantity_back_once_and_the_key_stays_taken(world: Voiding) -> None:
    shown = await world.recorded(quantity="2.5")
    other = await world.recorded(eventKey="tokens#2", quantity="4")
    first = await world.void(shown["id"])
    assert first.status_code == 200
    assert first.headers["preference-applied"] == "wait=30"
    voided = first.json()["usageEvent"]
    assert voided["updatedAt"] > shown["updatedAt"]
    assert voided == {**shown, "status": "VOIDED", "updatedAt": voided["updatedAt"]}

    async def repeated() -> int:
        return (await world.tally.decided(0, voidsRepeated=1))["voidsRepeated"]

    second = asyncio.create_task(world.void(shown["id"]))  # Postgres does not show the first one yet
    assert await repeated() == 1
    await world.show_voided(shown["id"])
    assert (await second).json()["usageEvent"]["status"] == "VOIDED"
    third = await world.void(shown["id"])
    assert (third.status_code, third.json()["usageEvent"]["status"]) == (200, "VOIDED")
    assert len(await world.voids()) == 2, "what Postgres shows as voided is not published again"

    totals = {record.key: json.loads(record.value) for record in await world.tally.records(Topic.USAGE_TOTALS)}
    (total,) = [value for key, value in totals.items() if json.loads(key)[2] == "tokens"]
    assert (total["quantity"], total["eventCount"]) == (other["quantity"], 1)
    assert (await world.send(quantity="2.5")).json()["code"] == "duplicate_event_key"


@pytest.mark.parametrize(
    ("scope", "key_of"),
    [
        ("PERIOD", lambda event: ["sub_2", "tokens#1", "2026-02-01T00:00:00.000Z"]),
        ("EVENT", lambda event: ["sub_2", "tokens#1", "e 1"]),
    ],
)
async def test_a_void_names_the_key_as_the_service_scopes_it(world: Voiding, scope: str, key_of: Any) -> None:
    plan = {"id": "plan_2", "serviceId": "svc_2", "name": "Plan", "pricingType": "USAGE_BASED"}
    subscription = {"id": "sub_2", "serviceId": "svc_2", "paymentPlanId": "plan_2", "userId": "user"}
    await world.gateway.post("/services", {"id": "svc_2", "name": "Service", "eventKeyScope": scope})
    await world.gateway.post("/plans", {**plan, "billingInterval": "MONTH", "amount": "1"})
    await world.gateway.post("/subscriptions", {**subscription, "billingAnchor": "2026-01-01T00:00:00Z"})
    shown = await world.recorded(serviceId="svc_2", subscriptionId="sub_2", eventId="e 1")
    assert (await world.void(shown["id"])).json()["usageEvent"]["status"] == "VOIDED"
    (published,) = await world.voids()
    assert published.key == b"sub_2"
    void = json.loads(published.value)
    assert void == {"id": shown["id"], "uniqueKey": key_of(shown), "reason": "a mistake"}


async def test_what_can_not_be_voided_is_refused_with_what_to_do(world: Voiding) -> None:
    shown = await world.recorded()
    await reject(world.database, "ue_0_999", "2026-01-05T00:00:00")
    _, other = await world.gateway.new_key(services=["another"])
    path = f"/usage-events/{shown['id']}/void"
    for answer, status, code in (
        (await world.void("ue_0_999"), 409, "event_not_recorded"),
        (await world.void("ue_0_1000"), 404, "usage_event_not_found"),
        (await world.void("ue_7_0"), 404, "usage_event_not_found"),
        (await world.void("nonsense"), 404, "usage_event_not_found"),
        (await world.gateway.post(path, {"reason": "x"}, other), 404, "usage_event_not_found"),
        (await world.void(shown["id"], reason=" "), 400, "field_invalid"),
        (await world.void(shown["id"], reason=None), 400, "field_required"),
        (await world.void(shown["id"], reason="x" * 256), 400, "field_invalid"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert await world.voids() == []
    refused = await world.void("ue_0_999")
    assert "subscription_not_active" in refused.json()["error"]


async def test_a_void_waits_for_its_event_and_for_its_verdict_no_longer_than_asked(undecided: Voiding) -> None:
    receipt = (await undecided.send(prefer="respond-async")).json()["receipt"]
    too_soon = await undecided.void(receipt["id"], prefer="wait=0")
    assert (too_soon.status_code, too_soon.json()["code"], too_soon.headers["retry-after"]) == (503, "unavailable", "1")
    assert await undecided.voids() == []
    patient = asyncio.create_task(undecided.void(receipt["id"]))
    async with undecided.tally.worker(TALLY_GRACE_SECONDS="3600"):
        await undecided.tally.decided(1)
        (accepted,) = await undecided.tally.records(Topic.ACCEPTED_USAGE)
        await record_shown(undecided.database, json.loads(accepted.value))
        answer = await patient
    # Whether the gateway could wait for the verdict by then is the first test's to show.
    assert answer.status_code in (200, 202)
    assert len(await undecided.voids()) == 1


async def test_a_void_without_a_verdict_in_time_is_a_receipt(undecided: Voiding) -> None:
    async with undecided.tally.worker(TALLY_GRACE_SECONDS="3600"):
        await undecided.can_wait()
        shown = await undecided.recorded()
    for prefer, applied in (("respond-async", "respond-async"), ("wait=1", "wait=1")):
        answer = await undecided.void(shown["id"], prefer=prefer)
        assert (answer.status_code, answer.json()) == (202, {"receipt": {"id": shown["id"], "status": "PENDING"}})
        assert answer.headers["location"] == f"/api/v1/usage-events/{shown['id']}"
        assert answer.headers["preference-applied"] == applied
    async with undecided.tally.worker(TALLY_GRACE_SECONDS="3600"):
        ledger = await undecided.tally.decided(0, voids=1, voidsRepeated=1)
    assert (ledger["voids"], ledger["voidsRepeated"], ledger["voidsRejected"]) == (1, 1, 0)


async def test_a_void_that_kafka_does_not_take_is_unavailable(database_url: str, topic_prefix: str) -> None:
    async with running_gateway("127.0.0.1:1", database_url, topic_prefix, answer_seconds=0.5) as gateway:
        database = await asyncpg.connect(database_url)
        shown = {
            **USAGE,
            "id": "ue_0_0",
            "eventId": None,
            "invoiceId": None,
            "meter": "tokens",
            "createdAt": "2026-02-03T04:05:06Z",
            "updatedAt": "2026-02-03T04:05:06Z",
            "billingPeriod": {"start": "2026-02-01T00:00:00Z", "end": "2026-03-01T00:00:00Z"},
        }
        await record_shown(database, shown)
        await database.execute(
            'INSERT INTO services (id, document) VALUES (\'svc\', \'{"id": "svc", "name": "Service"}\')'
        )
        await database.close()
        answer = await gateway.post("/usage-events/ue_0_0/void", {"reason": "a mistake"})
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert "was not voided" in answer.json()["error"]
