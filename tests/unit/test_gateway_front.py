"""What every request passes: its key, its id, its path and method, its body's arrival."""

import asyncio
from typing import Any

import httpx
import pytest

from ingest.keys import Scope
from tests.unit.gateway_in_memory import BODY_SECONDS, GatewayInMemory, key_text
from tests.unit.test_gateway_usage_events import event


def summary(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {key_text('b')}",
        key_text("a"),
        f"Basic {key_text('a')}",
        f"Bearer {key_text('a')}x",
        f"Bearer {key_text('a')[:-1]}",
        f"Bearer {key_text('a')},{key_text('a')}",
        "Bearer " + "a" * 30_000,
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/usage-events"),
        ("POST", "/api/v1/usage-events/batch"),
        ("GET", "/api/v1/services"),
        ("GET", "/api/v1/nothing"),
    ],
)
async def test_caller_without_a_valid_key_is_unauthorized(method: str, path: str, authorization: str | None) -> None:
    answer = await GatewayInMemory().request(method, path, b"{", authorization=authorization)
    assert summary(answer) == (401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_scheme_of_the_key_is_case_insensitive() -> None:
    gateway = GatewayInMemory()
    answer = await gateway.post_event(event(), authorization=f"bearer {gateway.key}")
    assert answer.status_code == 202


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/api/v1/usage-events", Scope.USAGE_WRITE),
        ("POST", "/api/v1/usage-events/batch", Scope.USAGE_WRITE),
        ("POST", "/api/v1/services", Scope.CATALOG_WRITE),
        ("POST", "/api/v1/plans", Scope.CATALOG_WRITE),
        ("POST", "/api/v1/subscriptions", Scope.CATALOG_WRITE),
        ("POST", "/api/v1/subscriptions/sub/status", Scope.CATALOG_WRITE),
        ("PATCH", "/api/v1/services/svc", Scope.CATALOG_WRITE),
        ("PATCH", "/api/v1/subscriptions/sub", Scope.CATALOG_WRITE),
        ("POST", "/api/v1/invoices", Scope.BILLING_WRITE),
        ("PATCH", "/api/v1/invoices/inv", Scope.BILLING_WRITE),
        ("POST", "/api/v1/invoices/inv/open", Scope.BILLING_WRITE),
        ("POST", "/api/v1/invoices/inv/pay", Scope.BILLING_WRITE),
        ("POST", "/api/v1/invoices/inv/void", Scope.BILLING_WRITE),
        ("POST", "/api/v1/invoices/inv/expire", Scope.BILLING_WRITE),
        ("GET", "/api/v1/services", Scope.READ),
        ("GET", "/api/v1/services/svc", Scope.READ),
        ("GET", "/api/v1/plans?limit=x", Scope.READ),
        ("GET", "/api/v1/plans/plan", Scope.READ),
        ("GET", "/api/v1/subscriptions", Scope.READ),
        ("GET", "/api/v1/subscriptions/sub", Scope.READ),
        ("GET", "/api/v1/invoices", Scope.READ),
        ("GET", "/api/v1/invoices/inv", Scope.READ),
    ],
)
async def test_key_without_the_scope_is_forbidden_before_anything_else_is_judged(
    method: str, path: str, scope: Scope
) -> None:
    gateway = GatewayInMemory()
    lesser = gateway.keys.add(key_text("l"), [other for other in Scope if other is not scope])
    answer = await gateway.request(method, path, b"no JSON", authorization=f"Bearer {lesser}")
    assert summary(answer) == (403, "forbidden")


async def test_event_of_a_service_that_the_key_may_not_touch_is_unknown_but_its_shape_is_judged_first() -> None:
    gateway = GatewayInMemory()
    restricted = f"Bearer {gateway.keys.add(key_text('r'), ['usage:write'], ['other'])}"
    unknown = await gateway.post_event(event(), authorization=restricted)
    assert summary(unknown) == (404, "service_not_found")
    malformed = await gateway.post_event(event(quantity="x"), authorization=restricted)
    assert summary(malformed) == (400, "decimal_invalid")
    assert gateway.producer.published == []


@pytest.mark.parametrize("request_id", ["req-1", "A" * 128, "a.b:c_d-e"])
@pytest.mark.parametrize("path", ["/api/v1/usage-events", "/api/v1/nothing"])
async def test_sane_request_id_is_echoed(path: str, request_id: str) -> None:
    answer = await GatewayInMemory().request("POST", path, b"{", x_request_id=request_id)
    assert answer.headers.get_list("x-request-id") == [request_id]
    assert answer.json()["requestId"] == request_id


@pytest.mark.parametrize("request_id", [None, "", "A" * 129, "with space", 'quote"'])
async def test_request_id_is_made_where_there_is_no_sane_one(request_id: str | None) -> None:
    answer = await GatewayInMemory().request("POST", "/api/v1/usage-events", b"{", x_request_id=request_id)
    assert answer.json()["requestId"] == answer.headers["x-request-id"] not in (request_id, "")


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/api", "/api/v1", "/api/v1/", "/api/v1/services/", "/api/v1/services/a/b", "/health"]
)
async def test_unknown_path_is_not_found(path: str) -> None:
    assert summary(await GatewayInMemory().request("GET", path)) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/api/v1/usage-events", "GET, HEAD, POST, OPTIONS"),
        ("DELETE", "/api/v1/usage-events/batch", "POST, OPTIONS"),
        ("DELETE", "/api/v1/usage-events/ue_0_0", "GET, HEAD, OPTIONS"),
        ("GET", "/api/v1/usage-events/ue_0_0/void", "POST, OPTIONS"),
        ("PUT", "/api/v1/services", "GET, HEAD, POST, OPTIONS"),
        ("DELETE", "/api/v1/plans/p", "GET, HEAD, OPTIONS"),
        ("GET", "/api/v1/subscriptions/s/status", "POST, OPTIONS"),
        ("POST", "/health/live", "GET, HEAD, OPTIONS"),
        ("BREW", "/api/v1/services", "GET, HEAD, POST, OPTIONS"),
    ],
)
async def test_wrong_method_says_which_are_allowed(method: str, path: str, allow: str) -> None:
    answer = await GatewayInMemory().request(method, path)
    assert summary(answer) == (405, "method_not_allowed")
    assert answer.headers["allow"] == allow


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/v1/services?limit=0", "limit"),
        ("/api/v1/services?limit=101", "limit"),
        ("/api/v1/services?limit=-1", "limit"),
        ("/api/v1/services?limit=1_0", "limit"),
        ("/api/v1/services?limit=%D9%A1", "limit"),
        ("/api/v1/services?limit=", "limit"),
        ("/api/v1/services?limit=1.0", "limit"),
        ("/api/v1/services?limit=99999999999999999999", "limit"),
        ("/api/v1/services?cursor=x", "cursor"),
        ("/api/v1/services?cursor=%FF", "cursor"),
        ("/api/v1/services?cursor=W10", "cursor"),
        ("/api/v1/services?cursor=WzFlOTk5LCJhIl0", "cursor"),
        ("/api/v1/plans?serviceId=", "serviceId"),
        ("/api/v1/plans?serviceId=a%00b", "serviceId"),
        ("/api/v1/subscriptions?status=active", "status"),
        ("/api/v1/subscriptions?userId=" + "u" * 256, "userId"),
        ("/api/v1/invoices?status=LATE", "status"),
        ("/api/v1/invoices?subscriptionId=%E2%80%A8x", "subscriptionId"),
    ],
)
async def test_bad_query_parameter_is_named(path: str, field: str) -> None:
    answer = await GatewayInMemory().request("GET", path)
    assert summary(answer) == (400, "parameter_invalid")
    assert answer.json()["field"] == field
    assert answer.json()["error"].startswith(field)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid_body"),
        (b"[]", 400, "invalid_body"),
        (b'{"id":1,"id":2}', 400, "invalid_body"),
        (b'{"id":"x"}', 400, "field_required"),
        (b'{"name":"n","eventKeyScope":"WORLD"}', 400, "field_invalid"),
        (b'{"name":"n","gracePeriodSeconds":1.5}', 400, "field_invalid"),
        (b'{"name":"n","gracePeriodSeconds":1e-3}', 400, "field_invalid"),
        (b'{"name":"n","gracePeriodSeconds":1e999999}', 400, "field_invalid"),
        (b'{"name":"n","gracePeriodSeconds":true}', 400, "field_invalid"),
        (b'{"name":"n","gracePeriodSeconds":"5"}', 400, "field_invalid"),
        (b'{"name":"n","gracePeriodSeconds":-1}', 400, "field_invalid"),
        (b'{"name":"n"}' + b" " * 65_536, 413, "body_too_large"),
    ],
)
async def test_bodies_of_cold_routes_are_parsed_by_the_same_rules(body: bytes, status: int, code: str) -> None:
    assert summary(await GatewayInMemory().request("POST", "/api/v1/services", body)) == (status, code)


async def test_cold_routes_are_a_503_while_postgres_is_away() -> None:
    gateway = GatewayInMemory()
    assert (await gateway.post_event(event())).status_code == 202
    gateway.keys.away = True
    for path in ("/api/v1/services", "/api/v1/invoices/x", "/api/v1/subscriptions/s"):
        answer = await gateway.request("GET", path)
        assert summary(answer) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1


async def test_live_needs_nothing_and_ready_names_what_is_away() -> None:
    gateway = GatewayInMemory()
    gateway.keys.away = True
    live = await gateway.request("GET", "/health/live", authorization=None)
    assert (live.status_code, live.json()) == (200, {"status": "live"})
    ready = await gateway.request("GET", "/health/ready", authorization=None)
    assert summary(ready) == (503, "unavailable")
    assert ["Kafka" in detail["message"] for detail in ready.json()["details"]] == [True, False]


async def test_openapi_documents_every_route() -> None:
    answer = await GatewayInMemory().request("GET", "/openapi.json", authorization=None)
    document = answer.json()
    documented = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert documented == {
        ("POST", "/api/v1/usage-events"),
        ("POST", "/api/v1/usage-events/batch"),
        ("GET", "/api/v1/usage-events"),
        ("GET", "/api/v1/usage-events/{id}"),
        ("POST", "/api/v1/usage-events/{id}/void"),
        ("GET", "/api/v1/rejected-events"),
        ("GET", "/api/v1/status"),
        ("GET", "/api/v1/rejected-events/{id}"),
        ("POST", "/api/v1/rejected-events/{id}/redrive"),
        ("GET", "/api/v1/subscriptions/{id}/usage"),
        ("POST", "/api/v1/services"),
        ("GET", "/api/v1/services"),
        ("GET", "/api/v1/services/{id}"),
        ("PATCH", "/api/v1/services/{id}"),
        ("PATCH", "/api/v1/subscriptions/{id}"),
        ("POST", "/api/v1/plans"),
        ("GET", "/api/v1/plans"),
        ("GET", "/api/v1/plans/{id}"),
        ("POST", "/api/v1/subscriptions"),
        ("GET", "/api/v1/subscriptions"),
        ("GET", "/api/v1/subscriptions/{id}"),
        ("POST", "/api/v1/subscriptions/{id}/status"),
        ("GET", "/api/v1/invoices"),
        ("GET", "/api/v1/invoices/{id}"),
        ("POST", "/api/v1/invoices"),
        ("PATCH", "/api/v1/invoices/{id}"),
        *(("POST", f"/api/v1/invoices/{{id}}/{action}") for action in ("open", "pay", "void", "expire")),
        ("GET", "/health/live"),
        ("GET", "/health/ready"),
        ("GET", "/metrics"),
    }
    assert document["components"]["schemas"]["UsageEvent"]["required"] == [
        "serviceId",
        "subscriptionId",
        "userId",
        "eventKey",
        "quantity",
    ]


async def test_metrics_count_what_was_answered() -> None:
    gateway = GatewayInMemory()
    await gateway.post_event(event())
    await gateway.post_event(event(quantity="-1"))
    text = (await gateway.request("GET", "/metrics", authorization=None)).text
    assert 'tally_gateway_usage_events_total{outcome="pending"}' in text
    assert 'tally_gateway_usage_events_total{outcome="decimal_negative"}' in text
    assert 'tally_gateway_request_seconds_bucket{le="0.005",route="/api/v1/usage-events"}' in text


async def test_body_that_does_not_arrive_is_refused_in_time() -> None:
    gateway = GatewayInMemory()
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {gateway.key}".encode()), (b"content-type", b"application/json")]
    path = "/api/v1/usage-events"
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "headers": headers}
    await gateway.app(scope, receive, send)
    assert sent[0]["status"] == 400
    assert b"invalid_body" in sent[1]["body"]
    assert f"{BODY_SECONDS:g} seconds".encode() in sent[1]["body"]


async def test_body_that_is_too_large_is_refused_without_being_read() -> None:
    gateway = GatewayInMemory()
    answer = await gateway.post_event(b"{", content_length=str(10**9))
    assert summary(answer) == (413, "body_too_large")
