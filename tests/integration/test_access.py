"""Every endpoint and who may not call it: no key, a wrong key, a key without the scope, a key of another tenant.

The endpoints are those of the OpenAPI document, so that none is forgotten: a new one needs a line in EXAMPLES.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import asyncpg
import httpx
import pytest

from ingest.keys import Scope
from tests.integration.catalog_world import PLAN, SERVICE, SUBSCRIPTION, set_up
from tests.integration.running_gateway import RunningGateway, new_topics, running_gateway
from tests.integration.test_gateway import event

EVENT = event(subscriptionId="sub", eventKey="tokens#1")
INVOICE = {
    "serviceId": "svc",
    "paymentPlanId": "plan",
    "userId": "user",
    "subscriptionId": "sub",
    "amount": "1",
    "currency": "USDC",
}

# Method and path as in the document, the path of an example, its body. Whatever they name belongs to the service `svc`.
EXAMPLES: dict[tuple[str, str], tuple[str, Any]] = {
    ("POST", "/usage-events"): ("/usage-events", EVENT),
    ("POST", "/usage-events/batch"): ("/usage-events/batch", {"usageEvents": [EVENT, EVENT]}),
    ("GET", "/usage-events"): ("/usage-events?serviceId=svc", None),
    ("GET", "/usage-events/{id}"): ("/usage-events/ue_0_0", None),
    ("POST", "/usage-events/{id}/void"): ("/usage-events/ue_0_0/void", {"reason": "sent by mistake"}),
    ("GET", "/rejected-events"): ("/rejected-events?subscriptionId=sub", None),
    ("GET", "/rejected-events/{id}"): ("/rejected-events/ue_0_1", None),
    ("POST", "/rejected-events/{id}/redrive"): ("/rejected-events/ue_0_1/redrive", {}),
    ("POST", "/services"): ("/services", SERVICE),
    ("GET", "/services"): ("/services", None),
    ("GET", "/services/{id}"): ("/services/svc", None),
    ("PATCH", "/services/{id}"): ("/services/svc", {"name": "Renamed"}),
    ("POST", "/plans"): ("/plans", PLAN),
    ("GET", "/plans"): ("/plans", None),
    ("GET", "/plans/{id}"): ("/plans/plan", None),
    ("POST", "/subscriptions"): ("/subscriptions", SUBSCRIPTION),
    ("GET", "/subscriptions"): ("/subscriptions?userId=user", None),
    ("GET", "/subscriptions/{id}"): ("/subscriptions/sub", None),
    ("PATCH", "/subscriptions/{id}"): ("/subscriptions/sub", {"paymentPlanId": "plan"}),
    ("POST", "/subscriptions/{id}/status"): ("/subscriptions/sub/status", {"status": "PAST_DUE"}),
    ("GET", "/subscriptions/{id}/usage"): ("/subscriptions/sub/usage", None),
    ("POST", "/invoices"): ("/invoices", INVOICE),
    ("GET", "/invoices"): ("/invoices?subscriptionId=sub", None),
    ("GET", "/invoices/{id}"): ("/invoices/inv", None),
    ("PATCH", "/invoices/{id}"): ("/invoices/inv", {"amount": "2"}),
    ("POST", "/invoices/{id}/open"): ("/invoices/inv/open", {}),
    ("POST", "/invoices/{id}/pay"): ("/invoices/inv/pay", {}),
    ("POST", "/invoices/{id}/void"): ("/invoices/inv/void", {}),
    ("POST", "/invoices/{id}/expire"): ("/invoices/inv/expire", {}),
    ("GET", "/status"): ("/status", None),
}
OF_ALL_SERVICES = {("GET", "/status")}
"""What no key may see that is bound to services, whichever."""
API = "/api/v1"

OWNED = (
    "INSERT INTO invoices (id, source, service_id, payment_plan_id, user_id, subscription_id, status, amount, currency)"
    " VALUES ('inv', 'MANUAL', 'svc', 'plan', 'user', 'sub', 'DRAFT', 1, 'USDC')",
    "INSERT INTO usage_events VALUES ('ue_0_0', 'svc', 'sub', 'user', 'tokens#1', NULL, 'tokens', 5.25, now(), NULL,"
    " NULL, '2026-01-01', '2026-02-01', 'RECORDED', 0, now(), now())",
    "INSERT INTO rejected_usage_events VALUES ('ue_0_1', 'invoice_closed', 'The invoice was closed.', 'invoiceId',"
    " 'svc', 'sub', now(), 'usage-events', 0, 1, 'sub', '" + json.dumps(EVENT) + "')",
)


class Endpoint(NamedTuple):
    """One operation of the document."""

    method: str
    path: str

    async def call(self, gateway: RunningGateway, key: str | None) -> httpx.Response:
        """The answer to the example, with this key."""
        path, body = EXAMPLES[self]
        headers = {"prefer": "respond-async"} if key is None else {"prefer": "respond-async", **bearer(key)}
        return await gateway.client.request(self.method, API + path, json=body, headers=headers)


@pytest.fixture
async def gateway(kafka_bootstrap: str, database_url: str) -> AsyncIterator[RunningGateway]:
    """A gateway that holds what EXAMPLES name."""
    prefix = await new_topics(kafka_bootstrap, 1)
    async with running_gateway(kafka_bootstrap, database_url, prefix) as running:
        await set_up(running)
        for number in (1, 2):
            sent = {**EVENT, "eventKey": f"tokens#{number}"}
            headers = {"prefer": "respond-async", **bearer(running.key)}
            answer = await running.client.post(f"{API}/usage-events", json=sent, headers=headers)
            assert answer.status_code == 202
        connection = await asyncpg.connect(database_url)
        for statement in OWNED:
            await connection.execute(statement)
        await connection.close()
        yield running


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def endpoints(gateway: RunningGateway) -> list[Endpoint]:
    """All of the document that are under the API's path, each of which has an example, and that belong to a tenant."""
    document = (await gateway.client.get("/openapi.json")).json()
    found = [
        Endpoint(method.upper(), path.removeprefix(API))
        for path, operations in document["paths"].items()
        for method in operations
        if path.startswith(API)
    ]
    missing = [" ".join(endpoint) for endpoint in found if endpoint not in EXAMPLES]
    assert not missing, f"EXAMPLES of {__file__} needs a line for each of: {', '.join(missing)}"
    assert len(found) > 10
    return [endpoint for endpoint in found if endpoint not in OF_ALL_SERVICES]


def outcome(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


def shown(answer: httpx.Response) -> Iterator[Any]:
    """What a list or a batch holds."""
    for value in answer.json().values():
        if isinstance(value, list):
            yield from value


def is_hidden(answer: httpx.Response) -> bool:
    """Whether the answer tells nothing of what another tenant has: unknown, an empty list, a batch of unknown."""
    if answer.status_code == 207:
        return {item["status"] for item in shown(answer)} == {404}
    return answer.status_code == 404 or (
        answer.status_code == 200 and answer.json().get("nextCursor", "") is None and not list(shown(answer))
    )


async def test_every_endpoint_refuses_whoever_may_not_call_it(gateway: RunningGateway) -> None:
    every = await endpoints(gateway)
    unknown = "tally_" + "u" * 43
    _, other_tenant = await gateway.new_key(tuple(Scope), ["other"])
    one_scope = [(await gateway.new_key([scope], ["other"]))[1] for scope in Scope]

    async def wrong(endpoint: Endpoint) -> list[str]:
        without, mistaken, other = [await endpoint.call(gateway, key) for key in (None, unknown, other_tenant)]
        scoped = [await endpoint.call(gateway, key) for key in one_scope]
        allowed = [scope for scope, answer in zip(Scope, scoped, strict=True) if outcome(answer) != (403, "forbidden")]
        expected = {
            "no key": outcome(without) == (401, "unauthorized"),
            "wrong key": outcome(mistaken) == (401, "unauthorized"),
            "other tenant": is_hidden(other),
            "exactly one scope": len(allowed) == 1 and (allowed == [Scope.READ]) is (endpoint.method == "GET"),
        }
        return [f"{endpoint.method} {endpoint.path}: {case}" for case, holds in expected.items() if not holds]

    assert [line for lines in await asyncio.gather(*map(wrong, every)) for line in lines] == []


async def test_every_example_is_one_that_its_own_tenant_may_call(gateway: RunningGateway) -> None:
    """Else what is hidden from another tenant might not exist at all."""
    _, key = await gateway.new_key(tuple(Scope), ["svc"])
    wrong = []
    for endpoint in await endpoints(gateway):
        answer = await endpoint.call(gateway, key)
        if answer.status_code in (400, 401, 403, 404, 405, 500) or is_hidden(answer):
            wrong.append(f"{endpoint.method} {endpoint.path}: {answer.status_code} {answer.text}")
    assert wrong == []


async def test_what_is_of_all_services_is_for_keys_that_may_read_all_of_them(gateway: RunningGateway) -> None:
    _, bound = await gateway.new_key(tuple(Scope), ["svc"])
    one_scope = {scope: (await gateway.new_key([scope]))[1] for scope in Scope}
    for endpoint in (Endpoint(*one) for one in sorted(OF_ALL_SERVICES)):
        assert outcome(await endpoint.call(gateway, None)) == (401, "unauthorized")
        assert outcome(await endpoint.call(gateway, bound)) == (403, "forbidden")
        for scope, key in one_scope.items():
            expected = (200, "") if scope is Scope.READ else (403, "forbidden")
            assert outcome(await endpoint.call(gateway, key)) == expected
