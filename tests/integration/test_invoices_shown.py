"""Invoices as the closer wrote them, over HTTP."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.integration.running_gateway import RunningGateway, new_topics, running_gateway


@pytest.fixture
async def gateway(kafka_bootstrap: str, database_url: str) -> AsyncIterator[RunningGateway]:
    prefix = await new_topics(kafka_bootstrap, 1)
    async with running_gateway(kafka_bootstrap, database_url, prefix) as running:
        yield running


async def test_invoices_are_shown_with_their_lines_and_found_by_filters(gateway: RunningGateway) -> None:
    await insert_invoices(gateway)
    answer = await gateway.get("/invoices/inv_1")
    assert answer.status_code == 200
    assert answer.json() == {
        "invoice": {
            "id": "inv_1",
            "serviceId": "svc_a",
            "paymentPlanId": "plan",
            "userId": "user_1",
            "subscriptionId": "sub_1",
            "status": "OPEN",
            "source": "CLOSER",
            "amount": "-0.500000",
            "currency": "USDC",
            "periodStart": "2026-01-01T00:00:00.000Z",
            "periodEnd": "2026-02-01T00:00:00.000Z",
            "sequence": 0,
            "digest": "digest",
            "logPartition": 1,
            "firstOffset": None,
            "lastOffset": None,
            "dueAt": None,
            "paidAt": None,
            "createdAt": "2026-02-02T00:00:00.000Z",
            "updatedAt": "2026-02-02T00:00:00.000Z",
            "lines": [
                {
                    "meter": "tokens",
                    "quantity": "99999999999999999999.000001",
                    "unitPrice": "0.000000000001",
                    "amount": "-0.500000",
                    "eventCount": 3,
                    "price": None,
                    "chargedBefore": None,
                }
            ],
            "events": [],
        }
    }
    for filters, ids in (
        ({}, ["inv_2", "inv_1"]),
        ({"subscriptionId": "sub_1"}, ["inv_1"]),
        ({"serviceId": "svc_b"}, ["inv_2"]),
        ({"userId": "user_1", "status": "OPEN"}, ["inv_1"]),
        ({"status": "PAID"}, []),
        ({"serviceId": "svc_b", "userId": "user_1"}, []),
    ):
        document = (await gateway.get("/invoices", **filters)).json()
        assert [invoice["id"] for invoice in document["invoices"]] == ids
        assert document["nextCursor"] is None
    _, key = await gateway.new_key(["read"], ["svc_a"])
    assert [i["id"] for i in (await gateway.get("/invoices", key)).json()["invoices"]] == ["inv_1"]
    for invoice_id in ("inv_2", "inv_3", "a%00b", "%25", "%FF"):
        hidden = await gateway.get(f"/invoices/{invoice_id}", key)
        assert (hidden.status_code, hidden.json()["code"]) == (404, "invoice_not_found")


async def insert_invoices(gateway: RunningGateway) -> None:
    connection = await asyncpg.connect(gateway.settings.database_url)
    await connection.execute(
        "INSERT INTO invoices (id, source, service_id, payment_plan_id, user_id, subscription_id, status, amount,"
        " currency, period_start, period_end, sequence, digest, log_partition, created_at, updated_at) VALUES"
        " ('inv_1', 'CLOSER', 'svc_a', 'plan', 'user_1', 'sub_1', 'OPEN', -0.5, 'USDC', '2026-01-01', '2026-02-01', 0,"
        " 'digest', 1, '2026-02-02', '2026-02-02'),"
        " ('inv_2', 'MANUAL', 'svc_b', 'plan', 'user_2', NULL, 'DRAFT', 12, 'USDC', NULL, NULL, NULL,"
        " NULL, NULL, '2026-02-03', '2026-02-03')"
    )
    await connection.execute(
        "INSERT INTO invoice_lines VALUES ('inv_1', 'tokens', 99999999999999999999.000001, 0.000000000001, -0.5, 3)"
    )
    await connection.close()
