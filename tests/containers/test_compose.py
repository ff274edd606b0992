"""deploy/compose.yaml from one command to invoices that an audit finds exact, with parts killed and stopped between.

The tests run in this order on one project: each leaves it as it found it.
"""

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from signal import SIGKILL, SIGTERM
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaProducer

from ingest.client import TallyClient
from tests.containers.conftest import Composed
from tests.containers.engine import Container, eventually

PARTS = ("gateway", "aggregator-1", "aggregator-2", "closer", "projector", "insights")
SERVICES = ("kafka", "postgres", "prometheus", "grafana", *PARTS)
STOP_SECONDS = 15
ENDED_WELL = {0, 128 + SIGTERM}
"""The latter where it was just starting again, after whatever it went down for."""
DEATHS = (("aggregator-1", SIGKILL), ("gateway", SIGTERM), ("closer", SIGKILL), ("aggregator-2", SIGTERM))
EVENTS = 400
PRICE = Decimal("0.000015")
SUBSCRIPTIONS = 8


def event(number: int) -> dict[str, Any]:
    """One of many, in a month that is over."""
    return {
        "serviceId": "svc_chat",
        "subscriptionId": f"sub_{number % SUBSCRIPTIONS}",
        "userId": "user_ada",
        "eventKey": f"tokens#{number}",
        "quantity": number + 1,
        "occurredAt": "2026-01-15T12:00:00Z",
    }


@pytest.fixture(scope="module")
def catalog(composed: Composed) -> Composed:
    """A service, a plan, and subscriptions to it."""
    plan = {
        "id": "plan_tokens",
        "serviceId": "svc_chat",
        "name": "Tokens",
        "pricingType": "USAGE_BASED",
        "billingInterval": "MONTH",
        "unitPrices": {"tokens": str(PRICE)},
    }
    subscription = {
        "serviceId": "svc_chat",
        "paymentPlanId": "plan_tokens",
        "userId": "user_ada",
        "billingAnchor": "2026-01-01T00:00:00Z",
    }
    with composed.client() as client:
        post(client, "services", {"id": "svc_chat", "name": "Chat"})
        post(client, "plans", plan)
        for number in range(SUBSCRIPTIONS):
            post(client, "subscriptions", {"id": f"sub_{number}", **subscription})
    return composed


def post(client: httpx.Client, path: str, document: dict[str, Any]) -> None:
    answer = client.post(path, json=document)
    assert answer.is_success, answer.text


def record(composed: Composed, numbers: range) -> None:
    """Record events one after the other, each until it is answered, whatever dies meanwhile."""

    async def send() -> None:
        async with TallyClient(composed.http, composed.key, seconds=300) as tally:
            for number in numbers:
                recorded = await tally.record(event(number))
                assert recorded["id"].startswith("ue_")

    asyncio.run(send())


def produce(composed: Composed, sent: dict[str, Any]) -> None:
    """From outside, with any client: the broker tells it to come back to the published port."""

    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=composed.kafka, acks="all", enable_idempotence=True)
        await producer.start()
        try:
            await producer.send_and_wait("usage-events", json.dumps(sent).encode(), key=sent["subscriptionId"].encode())
        finally:
            await producer.stop()

    asyncio.run(send())


def price(events: int) -> Decimal:
    """What the first so many events cost."""
    return sum((PRICE * event(number)["quantity"] for number in range(events)), Decimal(0))


def invoiced(composed: Composed) -> Decimal:
    """What all invoices come to."""
    amounts: list[str] = []
    with composed.client() as client:
        for number in range(SUBSCRIPTIONS):
            page = client.get("invoices", params={"subscriptionId": f"sub_{number}"}).json()
            amounts += [invoice["amount"] for invoice in page["invoices"]]
    return sum(map(Decimal, amounts), Decimal(0))


def test_every_service_comes_good_by_itself(composed: Composed) -> None:
    for service in SERVICES:
        eventually(composed.compose.container(service).is_healthy)
    assert composed.compose.container("setup").exit_code() == 0


def test_no_part_may_do_more_than_it_must(composed: Composed) -> None:
    for part in PARTS:
        container = composed.compose.container(part)
        found = container.inspect()
        assert found["HostConfig"]["ReadonlyRootfs"], part
        assert found["Config"]["User"] == "10001:10001", part
        assert "CapEff:\t0000000000000000" in container.execute("cat", "/proc/1/status"), part


def test_usage_sent_over_http_and_kafka_while_parts_die_is_billed_exactly(catalog: Composed) -> None:
    """SIGKILL takes a worker and the closer, SIGTERM the gateway and the other worker; all come back by themselves, and
    each event counts once."""
    with ThreadPoolExecutor(1) as thread:
        sending = thread.submit(record, catalog, range(EVENTS - 1))
        for part, signal in DEATHS:
            kill(catalog.compose.container(part), signal)
        sending.result()
    produce(catalog, event(EVENTS - 1))
    eventually(lambda: invoiced(catalog) == price(EVENTS))


def kill(container: Container, signal: int) -> None:
    """End its first process, and wait for the next one to be healthy."""
    before = container.started_at()
    container.signal(signal)
    eventually(lambda: container.started_at() != before)
    eventually(container.is_healthy)


def test_an_audit_inside_agrees(catalog: Composed) -> None:
    report = json.loads(catalog.compose.container("gateway").execute("tally", "audit", "--processes", "1"))
    assert report["agrees"], report
    assert report["counts"]["accepted"] == EVENTS


def test_prometheus_sees_every_part(composed: Composed) -> None:
    def up() -> dict[str, str]:
        answer = httpx.get(f"{composed.prometheus}/api/v1/query", params={"query": "up"}, trust_env=False).json()
        results = answer["data"]["result"]
        return {result["metric"]["instance"].partition(":")[0]: result["value"][1] for result in results}

    eventually(lambda: up() == dict.fromkeys((*PARTS, "localhost"), "1"))


def test_each_part_ends_well_and_in_time_on_a_stop_and_all_is_there_after_a_start(catalog: Composed) -> None:
    for part in PARTS:
        container = catalog.compose.container(part)
        began = time.monotonic()
        catalog.compose("stop", part)
        assert time.monotonic() - began < STOP_SECONDS, part
        assert container.exit_code() in ENDED_WELL, container.logs()
    catalog.compose("start", *PARTS)
    eventually(catalog.is_ready)
    record(catalog, range(EVENTS, EVENTS + SUBSCRIPTIONS))
    eventually(lambda: invoiced(catalog) == price(EVENTS + SUBSCRIPTIONS))
