"""The gateway over HTTP, on a real broker and a real database."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from pydantic import ValidationError

from ingest.keys import Scope, list_keys, revoke_key
from ingest.settings import GatewaySettings
from schemas.errors import OperatorError
from schemas.topics import Topic
from tests.integration.running_gateway import RunningGateway, new_topics, read_topic, running_gateway, serving, until

PARTITIONS = 4


@pytest.fixture
async def gateway(kafka_bootstrap: str, database_url: str) -> AsyncIterator[RunningGateway]:
    prefix = await new_topics(kafka_bootstrap, PARTITIONS)
    async with running_gateway(kafka_bootstrap, database_url, prefix, keys_seconds=0.2) as running:
        yield running


def event(number: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "serviceId": "svc",
        "subscriptionId": f"sub_{number % 7}",
        "userId": "user",
        "eventKey": f"tokens#{number}",
        "quantity": "5.25",
        **fields,
    }


async def logged(gateway: RunningGateway) -> dict[str, Any]:
    """What is on `usage-events`, by the id of the usage event."""
    settings = gateway.settings
    records = await read_topic(settings.kafka, settings.topic(Topic.USAGE_EVENTS), PARTITIONS)
    return {f"ue_{record.partition}_{record.offset}": json.loads(record.value) for record in records}


async def test_receipt_of_a_single_event_names_its_place_in_the_log(gateway: RunningGateway) -> None:
    answer = await gateway.post("/usage-events", event(quantity=12345678901234.5, occurredAt="2026-01-01T00:00:00Z"))
    assert answer.status_code == 202
    (stored_id, stored) = (await logged(gateway)).popitem()
    assert answer.json() == {"receipt": {"id": stored_id, "status": "PENDING"}}
    assert answer.headers["location"] == f"/api/v1/usage-events/{stored_id}"
    assert stored["quantity"] == "12345678901234.500000"


async def test_batch_answers_in_order_and_logs_only_the_good_ones(gateway: RunningGateway) -> None:
    items = [event(number) if number % 10 else event(number, quantity="-1") for number in range(100)]
    answer = await gateway.post("/usage-events/batch", {"usageEvents": items})
    assert answer.status_code == 207
    stored = await logged(gateway)
    for number, (item, result) in enumerate(zip(items, answer.json()["results"], strict=True)):
        if number % 10:
            assert result["status"] == 202
            assert stored.pop(result["receipt"]["id"])["eventKey"] == item["eventKey"]
        else:
            assert (result["status"], result["code"]) == (400, "decimal_negative")
    assert stored == {}


async def test_many_callers_at_once_each_get_their_own_receipt(gateway: RunningGateway) -> None:
    answers = await asyncio.gather(*(gateway.post("/usage-events", event(number)) for number in range(200)))
    stored = await logged(gateway)
    for number, answer in enumerate(answers):
        assert stored.pop(answer.json()["receipt"]["id"])["eventKey"] == f"tokens#{number}"
    assert stored == {}


async def test_hostile_bodies_leave_the_connection_and_the_gateway_well(gateway: RunningGateway) -> None:
    headers = {"authorization": f"Bearer {gateway.key}", "content-type": "application/json"}
    million_keys = b"{%b}" % b",".join(b'"%d":0' % number for number in range(1_000_000))
    for path, body, status in (
        ("/usage-events", b"[" * 10 * 2**20, 413),
        ("/usage-events", million_keys, 413),
        ("/usage-events/batch", million_keys, 400),
        ("/usage-events/batch", b'{"usageEvents":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
        ("/usage-events/batch", b" " * (16 * 2**20 + 1), 413),
        ("/services", b"{" * 10 * 2**20, 413),
    ):
        answer = await gateway.client.post(f"/api/v1{path}", content=body, headers=headers)
        assert answer.status_code == status, (path, answer.text[:200])
        assert answer.json()["code"] in ("body_too_large", "invalid_body", "batch_size_invalid")
    assert (await gateway.post("/usage-events", event())).status_code == 202


async def test_body_without_a_length_is_bounded_too(gateway: RunningGateway) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(2_000):
            yield b" " * 1_000

    headers = {"authorization": f"Bearer {gateway.key}", "content-type": "application/json"}
    answer = await gateway.client.post("/api/v1/usage-events", content=chunks(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n",
        b"POST /api/v1/usage-events HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"POST /api/v1/usage-events HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET //[ HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /%ff%00 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nhost: x\r\nx-request-id: \xff\xfe\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        b"HEAD /health/live HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
)
async def test_no_request_is_answered_with_a_500(gateway: RunningGateway, request_bytes: bytes) -> None:
    url = httpx.URL(gateway.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(request_bytes)
    status_line = await asyncio.wait_for(reader.readline(), 5)
    assert status_line.startswith(b"HTTP/1.1 ")
    assert int(status_line.split()[1]) in (200, 400, 401, 404, 405)
    headers = await reader.readuntil(b"\r\n\r\n")
    assert b"content-type: application/json" in headers
    writer.close()
    assert (await gateway.client.get("/health/live")).status_code == 200


async def test_ready_when_kafka_and_postgres_answer_and_were_compared(gateway: RunningGateway) -> None:
    async def is_ready() -> bool:
        answer = await gateway.client.get("/health/ready")
        assert answer.status_code == 503 or answer.json() == {"status": "ready"}
        return answer.status_code == 200

    await until(is_ready)


async def test_revoked_key_dies_within_the_refresh(gateway: RunningGateway) -> None:
    key_id, key = await gateway.new_key()
    assert (await gateway.post("/usage-events", event(), key)).status_code == 202
    connection = await asyncpg.connect(gateway.settings.database_url)
    await revoke_key(connection, key_id)
    entry = next(entry for entry in await list_keys(connection) if entry.id == key_id)
    await connection.close()
    assert entry.revoked_at is not None

    async def refused() -> bool:
        return (await gateway.post("/usage-events", event(), key)).status_code == 401

    await until(refused)


async def test_key_of_one_service_knows_of_no_other(gateway: RunningGateway) -> None:
    for service in ("svc_a", "svc_b"):
        await gateway.post("/services", {"id": service, "name": service})
        await gateway.post("/plans", plan(f"plan_{service}", service))
        await gateway.post("/subscriptions", subscription(f"sub_{service}", service))
    _, key = await gateway.new_key(tuple(Scope), ["svc_a"])
    for path, code in (
        ("/services/svc_b", "service_not_found"),
        ("/plans/plan_svc_b", "plan_not_found"),
        ("/subscriptions/sub_svc_b", "subscription_not_found"),
    ):
        answer = await gateway.get(path, key)
        assert (answer.status_code, answer.json()["code"]) == (404, code)
        assert (await gateway.get(path.replace("_b", "_a"), key)).status_code == 200
    for noun in ("services", "plans", "subscriptions"):
        assert len((await gateway.get(f"/{noun}", key)).json()[noun]) == 1
        assert len((await gateway.get(f"/{noun}")).json()[noun]) == 2
    for path, body, code in (
        ("/services", {"id": "svc_b", "name": "svc_b"}, "service_not_found"),
        ("/plans", plan("new", "svc_b"), "service_not_found"),
        ("/subscriptions", subscription("new", "svc_b"), "service_not_found"),
        ("/subscriptions", {**subscription("new", "svc_a"), "paymentPlanId": "plan_svc_b"}, "plan_not_found"),
        ("/subscriptions/sub_svc_b/status", {"status": "CANCELLED"}, "subscription_not_found"),
        ("/usage-events", event(serviceId="svc_b"), "service_not_found"),
    ):
        answer = await gateway.post(path, body, key)
        assert (answer.status_code, answer.json()["code"]) == (404, code)
    answer = await gateway.post("/services", {"name": "of its own"}, key)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_pages_hold_every_row_once_newest_first(gateway: RunningGateway) -> None:
    connection = await asyncpg.connect(gateway.settings.database_url)
    await connection.execute(  # many rows of one moment: the id decides
        "INSERT INTO services (id, document, created_at)"
        " SELECT 'svc_' || n, jsonb_build_object('id', 'svc_' || n, 'name', 'n'),"
        " timestamptz '2026-01-01' + (n / 10) * interval '1 microsecond' FROM generate_series(1, 45) AS n"
    )
    await connection.close()
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for expected in (20, 20, 5):
        document = (await gateway.get("/services", **cursor)).json()
        assert len(document["services"]) == expected
        seen += [service["id"] for service in document["services"]]
        cursor = {"cursor": document["nextCursor"]}
    assert cursor == {"cursor": None}
    assert sorted(seen) == sorted(f"svc_{number}" for number in range(1, 46))
    assert [int(service[4:]) // 10 for service in seen] == sorted((n // 10 for n in range(1, 46)), reverse=True)
    exact = (await gateway.get("/services", limit=45)).json()
    assert exact["nextCursor"] is None


async def test_open_requests_are_answered_before_the_gateway_goes(kafka_bootstrap: str, database_url: str) -> None:
    prefix = await new_topics(kafka_bootstrap, PARTITIONS)
    async with running_gateway(kafka_bootstrap, database_url, prefix) as gateway:
        url = httpx.URL(gateway.url)
        body = json.dumps(event()).encode()
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(
            b"POST /api/v1/usage-events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n" % (gateway.key.encode(), len(body))
        )
        assert (await gateway.client.get("/health/live")).status_code == 200  # by now the request has begun

        async def closed() -> bool:
            try:
                _, other = await asyncio.open_connection(url.host, url.port)
            except OSError:
                return True
            other.close()
            return False

        async def finish() -> bytes:
            await until(closed)
            writer.write(body)
            return await reader.readline()

        finishing = asyncio.create_task(finish())
    assert (await finishing).startswith(b"HTTP/1.1 202")
    writer.close()


async def test_taken_port_is_said_in_a_sentence(kafka_bootstrap: str, database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = GatewaySettings(kafka=kafka_bootstrap, database_url=database_url, http_port=taken.getsockname()[1])
        with pytest.raises(OperatorError, match="--http-port"):
            async with serving(settings):
                pass


async def test_what_is_not_set_up_is_said_in_a_sentence(kafka_bootstrap: str, database_url: str) -> None:
    prefix = await new_topics(kafka_bootstrap, PARTITIONS)
    settings: dict[str, Any] = {"kafka": kafka_bootstrap, "database_url": database_url, "http_port": 0}
    with pytest.raises(OperatorError, match="tally topics"):
        async with serving(GatewaySettings(**settings, topic_prefix="nowhere-")):
            pass
    with pytest.raises(OperatorError, match="tally migrate"):
        async with serving(GatewaySettings(**settings, topic_prefix=prefix)):
            pass
    with pytest.raises(ValidationError, match="write postgresql://"):
        GatewaySettings(**{**settings, "database_url": "nonsense://"})


def plan(plan_id: str, service: str) -> dict[str, Any]:
    return {
        "id": plan_id,
        "serviceId": service,
        "name": "plan",
        "pricingType": "USAGE_BASED",
        "billingInterval": "MONTH",
    }


def subscription(subscription_id: str, service: str) -> dict[str, Any]:
    return {"id": subscription_id, "serviceId": service, "paymentPlanId": f"plan_{service}", "userId": "user"}
