"""From the answer to an event to what is read of it: a gateway, a worker and the projector together."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aggregator.projector.job import Projector
from aggregator.settings import ProjectorSettings
from tests.integration.deciding_world import DecidingWorld, deciding
from tests.integration.running_gateway import until
from tests.integration.stream_world import working

PRICE = "0.000000000001"
JANUARY, FEBRUARY = "2026-01-10T00:00:00Z", "2026-02-10T00:00:00Z"


@dataclass
class Showing(DecidingWorld):
    """A world in which everything is copied to Postgres."""

    async def read(self, path: str, **parameters: Any) -> dict[str, Any]:
        answer = await self.gateway.get(path, **parameters)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def periods(self) -> dict[str, dict[str, Any]]:
        """The subscription's periods by the month in which they start."""
        return {one["start"][:7]: one for one in (await self.read("/subscriptions/sub/usage"))["periods"]}

    async def counted(self, month: str, events: int) -> dict[str, Any]:
        """The period once Postgres shows so many events of its one meter."""

        async def is_shown() -> bool:
            period = (await self.periods()).get(month, {"totals": []})
            return [total["eventCount"] for total in period["totals"]] == [events]

        await until(is_shown)
        return (await self.periods())[month]


@pytest.fixture
async def world(kafka_bootstrap: str, database_url: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Showing]:
    settings = ProjectorSettings.model_validate(
        {"kafka": kafka_bootstrap, "database_url": database_url, "topic_prefix": topic_prefix}
    )
    async with (
        deciding(kafka_bootstrap, database_url, topic_prefix, tmp_path) as opened,
        working(Projector(settings).run),
        opened.tally.worker(TALLY_GRACE_SECONDS="1"),
    ):
        showing = Showing(opened.gateway, opened.tally)
        await showing.can_wait()
        yield showing


async def test_an_event_is_never_unknown_once_it_was_answered(world: Showing) -> None:
    async def send_and_read(number: int) -> None:
        answer = await world.send(eventKey=f"tokens#{number}")
        assert answer.status_code == 201
        event = answer.json()["usageEvent"]
        path = f"/usage-events/{event['id']}"
        body = await world.read(path)
        assert body in ({"usageEvent": event}, {"receipt": {"id": event["id"], "status": "PENDING"}})

        async def is_shown() -> bool:
            return "usageEvent" in await world.read(path)

        await until(is_shown)
        assert await world.read(path) == {"usageEvent": event}

    await asyncio.gather(*(send_and_read(number) for number in range(30)))
    listed = await world.read("/usage-events", subscriptionId="sub", meter="tokens", limit=100)
    assert {event["eventKey"] for event in listed["usageEvents"]} == {f"tokens#{number}" for number in range(30)}


async def test_a_rejected_event_is_found_and_can_be_sent_again(world: Showing) -> None:
    refused = await world.send(userId="eve")
    assert refused.status_code == 400

    async def is_shown() -> bool:
        page = await world.read("/rejected-events", subscriptionId="sub", code="subscription_mismatch")
        return len(page["rejectedEvents"]) == 2  # one was sent to warm up

    await until(is_shown)
    page = await world.read("/rejected-events", subscriptionId="sub", code="subscription_mismatch")
    newest = page["rejectedEvents"][0]
    assert await world.read(f"/usage-events/{newest['id']}") == {"rejectedEvent": newest}
    again = await world.post(f"/rejected-events/{newest['id']}/redrive", None)
    assert (again.status_code, again.json()["code"]) == (400, "subscription_mismatch")


async def test_periods_show_exact_totals_whether_they_are_closed_and_what_a_void_takes_back(world: Showing) -> None:
    sent = [
        (await world.send(eventKey=f"tokens#{number}", occurredAt=at, quantity=quantity)).json()["usageEvent"]
        for number, (at, quantity) in enumerate([(JANUARY, "1500000.5"), (JANUARY, "0.5"), (FEBRUARY, "3")])
    ]
    january = await world.counted("2026-01", 2)
    # 1,500,001 x 10^-12 = 0.000001500001, rounded half-even to 6 decimals
    total = {"meter": "tokens", "quantity": "1500001.000000", "eventCount": 2, "amount": "0.000002"}
    assert (january["totals"], january["amount"], january["currency"]) == ([total], "0.000002", "USDC")

    async def is_closed() -> bool:
        return bool((await world.periods())["2026-01"]["closed"])

    await until(is_closed)
    voided = await world.post(f"/usage-events/{sent[0]['id']}/void", {"reason": "a mistake"})
    assert (voided.status_code, voided.json()["usageEvent"]["status"]) == (200, "VOIDED")
    january = await world.counted("2026-01", 1)
    total = {"meter": "tokens", "quantity": "0.500000", "eventCount": 1, "amount": "0.000000"}
    assert (january["totals"], january["amount"], january["closed"]) == ([total], "0.000000", True)
    assert (await world.counted("2026-02", 1))["totals"][0]["quantity"] == "3.000000"

    async def is_voided() -> bool:
        shown = await world.read("/usage-events", status="VOIDED")
        return [event["id"] for event in shown["usageEvents"]] == [sent[0]["id"]]

    await until(is_voided)
    as_of = (await world.read("/subscriptions/sub/usage"))["asOf"]
    assert as_of["partition"] == int(sent[0]["id"].split("_")[1])
    assert as_of["offset"] > int(sent[-1]["id"].split("_")[2])
    assert set(await world.periods()) >= {"2026-01", "2026-02"}


async def test_an_event_can_be_voided_as_soon_as_it_was_answered(world: Showing) -> None:
    event = (await world.send()).json()["usageEvent"]
    voided = await world.post(f"/usage-events/{event['id']}/void", {"reason": "a mistake"})
    assert (voided.status_code, voided.json()["usageEvent"]["status"]) == (200, "VOIDED")
    await world.counted("2026-02", 0)
