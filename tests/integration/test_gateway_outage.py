"""The gateway while Kafka or Postgres is away: answers in time, and all is well once they are back."""

import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local.kafka import LocalKafka
from deploy.local.postgres import LocalPostgres
from tests.integration.running_gateway import RunningGateway, new_topics, running_gateway, serving, until

ANSWER_SECONDS = 1.0
IN_TIME_SECONDS = 4 * ANSWER_SECONDS
"""A 503 comes after ANSWER_SECONDS; the rest is for a busy machine. What hangs is noticed all the same."""

EVENT = {"serviceId": "svc", "subscriptionId": "sub", "userId": "user", "eventKey": "tokens#1", "quantity": "1"}
SERVICE = {"id": "svc", "name": "Service"}


@pytest.fixture
async def kafka(tmp_path: Path) -> AsyncIterator[LocalKafka]:
    """A broker of the test's own, to be killed."""
    broker = LocalKafka(tmp_path / "kafka")
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
async def postgres(tmp_path: Path) -> AsyncIterator[LocalPostgres]:
    """A server of the test's own, to be stopped."""
    server = LocalPostgres(tmp_path / "postgres")
    await server.start()
    yield server
    await server.stop()


@asynccontextmanager
async def gateway_on(kafka_bootstrap: str, database_url: str) -> AsyncIterator[RunningGateway]:
    prefix = await new_topics(kafka_bootstrap, 2)
    async with running_gateway(kafka_bootstrap, database_url, prefix, answer_seconds=ANSWER_SECONDS) as gateway:
        yield gateway


async def post_in_time(gateway: RunningGateway, path: str, body: dict[str, Any]) -> httpx.Response:
    started = time.monotonic()
    answer = await gateway.post(path, body)
    assert time.monotonic() - started < IN_TIME_SECONDS
    if answer.status_code == 503:
        assert answer.json()["code"] == "unavailable"
        assert int(answer.headers["retry-after"]) >= 1
    return answer


async def test_killed_broker_is_a_503_and_what_was_changed_meanwhile_goes_out_when_it_is_back(
    kafka: LocalKafka, database_url: str
) -> None:
    async with gateway_on(kafka.bootstrap, database_url) as gateway:

        async def ready() -> bool:
            return (await gateway.client.get("/health/ready")).status_code == 200

        await until(ready)
        assert (await post_in_time(gateway, "/usage-events", EVENT)).status_code == 202
        os.kill(kafka.pid, signal.SIGKILL)
        for _ in range(3):
            assert (await post_in_time(gateway, "/usage-events", EVENT)).status_code == 503
        batch = await post_in_time(gateway, "/usage-events/batch", {"usageEvents": [EVENT, EVENT]})
        assert batch.status_code == 503
        stored = await post_in_time(gateway, "/services", SERVICE)
        assert stored.status_code == 503
        assert "stored" in stored.json()["error"]
        assert (await gateway.get("/services/svc")).status_code == 200
        assert (await gateway.client.get("/health/ready")).status_code == 503
        assert (await gateway.client.get("/health/live")).status_code == 200
        await kafka.stop()
        await kafka.start()

        async def published() -> bool:
            return (await gateway.post("/usage-events", EVENT)).status_code == 202

        await until(published)

        async def in_force() -> bool:
            return (await gateway.post("/services", SERVICE)).status_code == 200

        await until(in_force)
        assert [key for key, _, _ in await gateway.catalog()] == ["service/svc"]


async def test_broker_that_hangs_leaves_the_outcome_unknown_and_says_so(kafka: LocalKafka, database_url: str) -> None:
    async with gateway_on(kafka.bootstrap, database_url) as gateway:
        assert (await post_in_time(gateway, "/usage-events", EVENT)).status_code == 202
        os.kill(kafka.pid, signal.SIGSTOP)
        try:
            unknown = await post_in_time(gateway, "/usage-events", EVENT)
        finally:
            os.kill(kafka.pid, signal.SIGCONT)
        assert unknown.status_code == 503
        assert "unknown" in unknown.json()["error"]
        assert "may be sent again" in unknown.json()["error"]
        assert (await post_in_time(gateway, "/usage-events", EVENT)).status_code == 202


async def test_postgres_that_is_down_is_a_503_for_the_catalog_and_stops_no_usage(
    kafka_bootstrap: str, postgres: LocalPostgres
) -> None:
    async with gateway_on(kafka_bootstrap, postgres.dsn) as gateway:
        assert (await post_in_time(gateway, "/services", SERVICE)).status_code == 201
        await postgres.stop()
        assert (await post_in_time(gateway, "/services", SERVICE)).status_code == 503
        assert (await gateway.get("/invoices")).status_code == 503
        assert (await gateway.client.get("/health/ready")).status_code == 503
        assert (await post_in_time(gateway, "/usage-events", EVENT)).status_code == 202
        await postgres.start()

        async def works() -> bool:
            return (await gateway.post("/services", {"id": "svc_2", "name": "Service"})).status_code in (200, 201)

        await until(works)


async def test_postgres_that_hangs_is_a_503_in_time(kafka_bootstrap: str, postgres: LocalPostgres) -> None:
    async with gateway_on(kafka_bootstrap, postgres.dsn) as gateway:
        assert (await post_in_time(gateway, "/services", SERVICE)).status_code == 201
        os.killpg(postgres.pid, signal.SIGSTOP)
        sessions = _children(postgres.pid)
        for session in sessions:
            os.kill(session, signal.SIGSTOP)
        try:
            for _ in range(3):
                assert (await post_in_time(gateway, "/services", SERVICE)).status_code == 503
        finally:
            for session in (postgres.pid, *sessions):
                os.kill(session, signal.SIGCONT)

        async def works() -> bool:
            return (await gateway.post("/services", SERVICE)).status_code == 200

        await until(works)


async def test_gateway_starts_before_what_is_behind_it(kafka: LocalKafka, postgres: LocalPostgres) -> None:
    async with gateway_on(kafka.bootstrap, postgres.dsn) as first:
        settings, key = first.settings, first.key
    await kafka.stop()
    await postgres.stop()
    async with serving(settings) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        gateway = RunningGateway(settings, url, key, client)
        assert (await post_in_time(gateway, "/usage-events", EVENT)).status_code == 503
        assert (await client.get("/health/live")).status_code == 200
        await kafka.start()
        await postgres.start()

        async def works() -> bool:
            return (await gateway.post("/usage-events", EVENT)).status_code == 202

        async def takes_changes() -> bool:
            return (await gateway.post("/services", SERVICE)).status_code in (200, 201)

        await until(works)
        await until(takes_changes)


def _children(pid: int) -> list[int]:
    """A server process of PostgreSQL is in a group of its own."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
