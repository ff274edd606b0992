"""Usage events read over HTTP: one by its id, wherever it stands by then, and lists of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from ingest.keys import Scope
from schemas.topics import Topic
from tests.integration.running_gateway import RunningGateway, new_topics, running_gateway
from tests.integration.usage_rows import at, insert, record, reject
from tests.unit.gateway_in_memory import GatewayInMemory

PARTITIONS = 2
EVENT = b'{"serviceId":"svc","subscriptionId":"sub","userId":"user","eventKey":"tokens","quantity":"1"}'


@dataclass
class Reading:
    """A gateway, and what is behind it: rows and records are put there by hand."""

    gateway: RunningGateway
    database: asyncpg.Connection

    async def ids(self, key: str | None = None, **parameters: Any) -> list[str]:
        answer = await self.gateway.get("/usage-events", key, **parameters)
        assert answer.status_code == 200, answer.text
        return [event["id"] for event in answer.json()["usageEvents"]]

    async def found(self, event_id: str, key: str | None = None) -> tuple[int, str]:
        """Status, and what is shown of the event: the noun, or the code."""
        answer = await self.gateway.get(f"/usage-events/{event_id}", key)
        body = answer.json()
        return answer.status_code, body["code"] if "code" in body else next(iter(body))

    @asynccontextmanager
    async def producer(self, **settings: Any) -> AsyncIterator[AIOKafkaProducer]:
        producer = AIOKafkaProducer(bootstrap_servers=self.gateway.settings.kafka, **settings)
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    @property
    def topic(self) -> str:
        return self.gateway.settings.topic(Topic.USAGE_EVENTS)


@pytest.fixture
async def reading(kafka_bootstrap: str, database_url: str) -> AsyncIterator[Reading]:
    prefix = await new_topics(kafka_bootstrap, PARTITIONS)
    async with running_gateway(kafka_bootstrap, database_url, prefix, keys_seconds=0.2) as gateway:
        database = await asyncpg.connect(database_url)
        try:
            yield Reading(gateway, database)
        finally:
            await database.close()


async def test_an_event_is_shown_as_what_became_of_it(reading: Reading) -> None:
    await record(reading.database, "ue_0_0", "2026-01-05T00:00:00", event_key="tokens#1")
    await reject(reading.database, "ue_0_1", "2026-01-05T00:00:00", key=None, value=b"\x00\xff")
    recorded = (await reading.gateway.get("/usage-events/ue_0_0")).json()["usageEvent"]
    assert recorded == {
        "id": "ue_0_0",
        "serviceId": "svc",
        "subscriptionId": "sub",
        "userId": "user",
        "eventKey": "tokens#1",
        "eventId": None,
        "meter": "tokens",
        "quantity": "1.500000",
        "occurredAt": "2026-01-05T00:00:00.000Z",
        "invoiceId": None,
        "status": "RECORDED",
        "billingPeriod": {"start": "2026-01-01T00:00:00.000Z", "end": "2026-02-01T00:00:00.000Z"},
        "createdAt": "2026-03-01T00:00:00.000Z",
        "updatedAt": "2026-03-01T00:00:00.000Z",
    }
    rejected = (await reading.gateway.get("/usage-events/ue_0_1")).json()["rejectedEvent"]
    assert rejected == {
        "id": "ue_0_1",
        "code": "subscription_not_active",
        "field": "subscriptionId",
        "error": "The subscription was not ACTIVE at the time of the request.",
        "receivedAt": "2026-01-05T00:00:00.000Z",
        "origin": {"topic": "usage-events", "partition": 0, "offset": 1},
        "keyBase64": None,
        "valueBase64": "AP8=",
    }


async def test_an_event_that_only_the_log_has_is_pending_and_what_it_has_not_is_not_found(reading: Reading) -> None:
    receipt = (await reading.gateway.post("/usage-events", _event())).json()["receipt"]
    assert (await reading.gateway.get(f"/usage-events/{receipt['id']}")).json() == {"receipt": receipt}
    partition, end = receipt["id"].split("_")[1], int(receipt["id"].split("_")[2]) + 1
    for event_id in (
        *(f"ue_{partition}_{end}", "ue_0_9223372036854775807", f"ue_{PARTITIONS}_0", "ue_9999999999_0"),
        *("ue_0_9999999999999999999", "ue_0_-1", "ue_00_0", "ue_0", "UE_0_0", "uc_0_0", "x", "%00", "%20"),
    ):
        assert await reading.found(event_id) == (404, "usage_event_not_found"), event_id


async def test_what_a_transaction_leaves_in_the_log_is_told_from_an_event(reading: Reading) -> None:
    async with reading.producer(transactional_id=f"{reading.topic}-foreign") as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(reading.topic, EVENT, partition=0)  # offset 0
        assert await reading.found("ue_0_0") == (200, "receipt"), "it may yet be committed"
        await producer.commit_transaction()  # its mark is at offset 1
        await producer.begin_transaction()
        await producer.send_and_wait(reading.topic, EVENT, partition=0)  # offset 2
        await producer.abort_transaction()  # its mark is at offset 3
        await producer.begin_transaction()
        await producer.send_and_wait(reading.topic, EVENT, partition=0)  # offset 4
        shown = [await reading.found(f"ue_0_{offset}") for offset in range(6)]
        await producer.abort_transaction()
    nothing, pending = (404, "usage_event_not_found"), (200, "receipt")
    assert shown == [pending, nothing, nothing, nothing, pending, nothing]


async def test_a_key_for_some_services_sees_only_what_is_theirs(reading: Reading) -> None:
    _, mine = await reading.gateway.new_key(services=["svc"])
    _, other = await reading.gateway.new_key(services=["another"])
    await record(reading.database, "ue_0_100", "2026-01-05T00:00:00")
    await reject(reading.database, "ue_0_101", "2026-01-05T00:00:00")
    await reject(reading.database, "ue_0_102", "2026-01-05T00:00:00", service_id=None)
    async with reading.producer() as producer:
        for value in (EVENT, b'{"serviceId":" svc "}', b'{"serviceId":"\xff"}', b"[", None):
            batch = producer.create_batch()
            batch.append(key=b"sub", value=value, timestamp=None)
            await (await producer.send_batch(batch, reading.topic, partition=0))
    theirs = {"ue_0_100": "usageEvent", "ue_0_101": "rejectedEvent", "ue_0_0": "receipt", "ue_0_1": "receipt"}
    nobodys = {"ue_0_102": "rejectedEvent", "ue_0_2": "receipt", "ue_0_3": "receipt", "ue_0_4": "receipt"}
    for event_id, noun in (theirs | nobodys).items():
        assert await reading.found(event_id) == (200, noun)
        assert await reading.found(event_id, other) == (404, "usage_event_not_found")
    for event_id, noun in theirs.items():
        assert await reading.found(event_id, mine) == (200, noun)
    for event_id in nobodys:
        assert await reading.found(event_id, mine) == (404, "usage_event_not_found")
    assert await reading.ids(mine) == ["ue_0_100"]
    assert await reading.ids(other) == []
    assert await reading.ids(other, invoiceId="in") == []
    _, writer = await reading.gateway.new_key([Scope.USAGE_WRITE])
    assert (await reading.gateway.get("/usage-events", writer)).status_code == 403


async def test_kafka_is_asked_only_for_what_postgres_does_not_know(database_url: str) -> None:
    nowhere = running_gateway("127.0.0.1:1", database_url, "t-", answer_seconds=0.5)
    async with nowhere as gateway:
        database = await asyncpg.connect(database_url)
        await record(database, "ue_0_0", "2026-01-05T00:00:00")
        await database.close()
        assert (await gateway.get("/usage-events/ue_0_0")).status_code == 200
        assert (await gateway.get("/usage-events")).status_code == 200
        answer = await gateway.get("/usage-events/ue_0_1")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["retry-after"] == "1"


async def _filled(database: asyncpg.Connection) -> None:
    for event_id, occurred_at, changes in (
        ("ue_0_1", "2026-01-05T00:00:00", {"event_key": "tokens"}),
        ("ue_1_9", "2026-01-03T00:00:00", {"event_key": "tokens#2", "user_id": "eve"}),
        ("ue_0_2", "2026-01-03T00:00:00", {"event_key": "tokens!", "meter": "tokens!"}),
        ("ue_0_3", "2026-01-01T00:00:00", {"subscription_id": "sub_2", "invoice_id": "manual"}),
        ("ue_0_4", "2026-02-01T00:00:00", {"event_key": "#", "meter": "#", "service_id": "svc_2", "sequence": None}),
        ("ue_0_5", "2026-01-09T00:00:00", {"status": "VOIDED", "sequence": 1, "invoice_id": "closed"}),
        ("ue_0_6", "2026-01-10T00:00:00", {"sequence": None, "event_key": "tokens$", "meter": "tokens$"}),
        ("ue_0_7", "2026-01-02T00:00:00", {"sequence": 0, "invoice_id": "closed"}),
    ):
        await record(database, event_id, occurred_at, **changes)
    for invoice_id, source, sequence in (
        ("closed", "CLOSER", 0),
        ("adjusted", "CLOSER", 1),
        ("manual", "MANUAL", None),
    ):
        closer = {"period_start": at("2026-01-01T00:00:00"), "period_end": at("2026-02-01T00:00:00")}
        await insert(
            database,
            "invoices",
            id=invoice_id,
            source=source,
            service_id="svc",
            payment_plan_id="plan",
            user_id="user",
            subscription_id="sub",
            status="OPEN",
            amount=0,
            currency="USDC",
            sequence=sequence,
            digest="d",
            log_partition=0,
            **closer,
        )


async def test_a_list_holds_what_meets_all_conditions_in_the_order_of_time_and_id(reading: Reading) -> None:
    await _filled(reading.database)
    whole = ["ue_0_3", "ue_0_7", "ue_0_2", "ue_1_9", "ue_0_1", "ue_0_5", "ue_0_6", "ue_0_4"]
    for parameters, expected in (
        ({}, whole),
        ({"subscriptionId": "sub_2"}, ["ue_0_3"]),
        ({"subscriptionId": " sub_2 "}, ["ue_0_3"]),
        ({"serviceId": "svc_2"}, ["ue_0_4"]),
        ({"userId": "eve"}, ["ue_1_9"]),
        ({"eventKey": "tokens"}, ["ue_0_1"]),
        ({"eventKey": "tokens#2", "subscriptionId": "sub"}, ["ue_1_9"]),
        ({"eventKey": "tokens#2", "subscriptionId": "sub_2"}, []),
        ({"meter": "tokens"}, [one for one in whole if one not in ("ue_0_2", "ue_0_4", "ue_0_6")]),
        ({"meter": "tokens!"}, ["ue_0_2"]),
        ({"meter": "#"}, ["ue_0_4"]),
        ({"meter": "token"}, []),
        ({"status": "VOIDED"}, ["ue_0_5"]),
        ({"status": "RECORDED", "occurredFrom": "2026-01-09T00:00:00Z"}, ["ue_0_6", "ue_0_4"]),
        ({"occurredFrom": "2026-01-10T00:00:00Z"}, ["ue_0_6", "ue_0_4"]),
        ({"occurredFrom": "2026-01-10T00:00:00.001Z"}, ["ue_0_4"]),
        ({"occurredTo": "2026-01-03T00:00:00Z"}, ["ue_0_3", "ue_0_7"]),
        ({"occurredTo": "2026-01-03T01:00:00.001+01:00"}, ["ue_0_3", "ue_0_7", "ue_0_2", "ue_1_9"]),
        ({"occurredFrom": "2026-01-03T00:00:00Z", "occurredTo": "2026-01-03T00:00:00Z"}, []),
        ({"invoiceId": "manual"}, ["ue_0_3"]),
        ({"invoiceId": "closed"}, ["ue_0_7", "ue_0_2", "ue_1_9", "ue_0_1", "ue_0_5"]),
        ({"invoiceId": "closed", "userId": "eve"}, ["ue_1_9"]),
        ({"invoiceId": "adjusted"}, ["ue_0_5"]),
        ({"invoiceId": "nothing"}, []),
    ):
        assert await reading.ids(**parameters) == expected, parameters


@pytest.mark.parametrize("parameters", [{}, {"invoiceId": "closed"}])
async def test_pages_hold_the_whole_list_once(reading: Reading, parameters: dict[str, str]) -> None:
    await _filled(reading.database)
    whole = await reading.ids(**parameters)
    assert len(whole) >= 5
    for limit in (1, 2, 3, len(whole)):
        paged: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await reading.gateway.get("/usage-events", limit=limit, **parameters, **cursor)).json()
            assert 1 <= len(page["usageEvents"]) <= limit
            paged += [event["id"] for event in page["usageEvents"]]
            if page["nextCursor"] is None:
                break
            cursor = {"cursor": page["nextCursor"]}
        assert paged == whole


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        *(("occurredFrom", value) for value in ("yesterday", "2026-01-01", "1999-12-31T23:59:59Z", "")),
        *(("occurredTo", value) for value in ("0", "2101-01-01T00:00:00Z", "2026-01-01T00:00:00 02:00")),
        *(("status", value) for value in ("recorded", "PENDING", "")),
        *((name, value) for name in ("eventKey", "meter", "invoiceId", "userId") for value in ("", "a\0", "x" * 256)),
        *(("limit", value) for value in ("0", "101", "x")),
        ("cursor", "x"),
    ],
)
async def test_parameter_that_can_not_be_used_is_named(parameter: str, value: str) -> None:
    answer = await GatewayInMemory().request("GET", f"/api/v1/usage-events?{urlencode({parameter: value})}")
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, "parameter_invalid", parameter)


def _event() -> dict[str, Any]:
    return {"serviceId": "svc", "subscriptionId": "sub", "userId": "user", "eventKey": "tokens", "quantity": "1"}
