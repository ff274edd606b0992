"""A real worker closes periods: those of a life, many that are overdue, and one of very many meters."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from aggregator.closer.job import Closer
from aggregator.settings import CloserSettings
from schemas.timestamps import parse_timestamp, timestamp_text
from schemas.topics import DAY_MS, Topic, partition_of
from tests.integration.stream_world import eventually, working
from tests.integration.worker import Deployment, deployment

TODAY = int(time.time() * 1_000) // DAY_MS * DAY_MS
OVERDUE_DAYS = 100
CREATED = TODAY - OVERDUE_DAYS * DAY_MS

# Of each subscription the changes of its status, and the days of January on which it has a period.
LIVES: dict[str, tuple[list[tuple[str, str]], list[int]]] = {
    "cancelled": ([("ACTIVE", "2026-01-10T06:00:00.000Z"), ("CANCELLED", "2026-01-12T18:00:00.000Z")], [10, 11, 12]),
    "expired": ([("ACTIVE", "2026-01-10T00:00:00.000Z"), ("EXPIRED", "2026-01-12T00:00:00.000Z")], [10, 11]),
    "past_due": ([("PAST_DUE", "2026-01-10T23:59:59.999Z"), ("CANCELLED", "2026-01-12T00:00:00.001Z")], [10, 11, 12]),
    "ended_at_once": ([("CANCELLED", "2026-01-10T06:00:00.000Z")], [10]),
}
METERS = 30_000
JANUARY = parse_timestamp("2026-01-01T00:00:00Z")


@pytest.fixture
async def tally(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployment(kafka_bootstrap, topic_prefix, tmp_path / "state") as opened:
        terms = {"pricingType": "USAGE_BASED", "amount": "0.25"}
        plan = {"kind": "plan", "serviceId": "svc", "name": "Plan", **terms}
        await opened.publish(
            {"kind": "service", "id": "svc", "name": "Service"},
            {**plan, "id": "daily", "billingInterval": "DAY"},
            {**plan, "id": "monthly", "billingInterval": "MONTH"},
            {**plan, "id": "endless", "billingInterval": "NONE"},
        )
        yield opened


def subscription(name: str, plan_id: str, *history: tuple[str, str]) -> dict[str, Any]:
    transitions = [{"version": n, "status": status, "at": at} for n, (status, at) in enumerate(history, start=1)]
    names = {"kind": "subscription", "id": name, "serviceId": "svc", "paymentPlanId": plan_id, "userId": "user"}
    times = {"billingAnchor": "1970-01-01T00:00:00.000Z", "createdAt": "2026-01-01T00:00:00.000Z"}
    return {**names, **times, "version": len(history), "transitions": transitions}


def event(name: str, key: str, at: int) -> dict[str, Any]:
    names = {"serviceId": "svc", "subscriptionId": name, "userId": "user"}
    return {**names, "eventKey": key, "quantity": "2", "occurredAt": timestamp_text(at)}


async def closed_in_order(tally: Deployment, records: int) -> dict[str, list[tuple[str, int, int]]]:
    """Of each subscription the periods in the order in which they were closed: start, sequence, number of lines."""
    found: dict[str, list[tuple[str, int, int]]] = {}
    for closed in await tally.closed(records):
        row = (closed["periodStart"], closed["sequence"], len(closed["lines"]))
        found.setdefault(closed["subscriptionId"], []).append(row)
    return found


async def test_periods_close_in_the_life_of_a_subscription_and_in_order_however_many_are_overdue(
    tally: Deployment,
) -> None:
    active = ("ACTIVE", timestamp_text(CREATED))
    await tally.publish(
        subscription("overdue", "daily", active),
        subscription("endless", "endless", active),
        *(subscription(name, "daily", *history) for name, (history, _) in LIVES.items()),
    )
    await tally.put_event(**event("overdue", "calls#1", CREATED + 50 * DAY_MS))
    await tally.put_event(**event("endless", "calls#1", CREATED))
    expected: dict[str, list[tuple[str, int, int]]] = {
        name: [(f"2026-01-{day:02d}T00:00:00.000Z", 0, 0) for day in days] for name, (_, days) in LIVES.items()
    }
    expected["overdue"] = [(timestamp_text(CREATED + day * DAY_MS), 0, int(day == 50)) for day in range(OVERDUE_DAYS)]
    count = sum(map(len, expected.values()))
    first = await tally.start_worker()
    assert await closed_in_order(tally, count) == expected
    first.kill()
    await first.communicate()

    # Without its state a worker finds what is closed in the changelogs, and what is not in the catalog.
    await tally.put_event(**event("overdue", "calls#2", CREATED + 20 * DAY_MS))
    async with tally.worker(TALLY_STATE_DIR=str(tally.state_dir / "another")):
        expected["overdue"].append((timestamp_text(CREATED + 20 * DAY_MS), 1, 1))
        assert await closed_in_order(tally, count + 1) == expected


async def test_a_period_of_very_many_meters_becomes_one_invoice(
    tally: Deployment, database_url: str, database: asyncpg.Connection
) -> None:
    """30,000 meters, in 30 parts. `tally bench closing --meters 300000` is the long form."""
    await tally.publish(subscription("big", "monthly", ("ACTIVE", "2026-01-01T00:00:00.000Z")))
    home, topic = partition_of("big", tally.settings.partitions), tally.settings.topic(Topic.USAGE_EVENTS)
    async with AIOKafkaProducer(bootstrap_servers=tally.settings.kafka) as producer:
        for number in range(METERS):
            value = json.dumps(event("big", f"meter_{number:05d}", JANUARY)).encode()
            await producer.send(topic, value, key=b"big", partition=home)
    fields = {**tally.settings.model_dump(include={"kafka", "topic_prefix"}), "database_url": database_url}
    closer = Closer(CloserSettings.model_validate(fields))
    async with tally.worker(TALLY_GRACE_SECONDS="1"), working(closer.run):

        async def is_invoiced() -> bool:
            return bool(await database.fetchval("SELECT count(*) FROM invoice_lines"))

        await tally.closed(METERS // 1_000)
        await eventually(is_invoiced)
    rows = await database.fetch(
        """
        SELECT amount, sequence, (SELECT count(DISTINCT meter) FROM invoice_lines WHERE invoice_id = id) AS meters
        FROM invoices WHERE period_start = '2026-01-01' AND subscription_id = 'big'
        """
    )
    assert [(str(row["amount"]), row["sequence"], row["meters"]) for row in rows] == [("15000.000000", 0, METERS)]
