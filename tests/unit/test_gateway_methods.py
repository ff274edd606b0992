"""HEAD and OPTIONS, and what is answered in their place."""

import pytest

from tests.unit.gateway_in_memory import GatewayInMemory


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/health/live", 200),
        ("/openapi.json", 200),
        ("/docs", 200),
        ("/metrics", 200),
        ("/api/v1/services?limit=0", 400),
        ("/api/v1/nothing", 404),
        ("/api/v1/subscriptions/s/status", 405),
    ],
)
async def test_head_answers_as_get_without_the_body(path: str, status: int) -> None:
    gateway = GatewayInMemory()
    got, headed = await gateway.request("GET", path), await gateway.request("HEAD", path)
    assert (headed.status_code, headed.content) == (got.status_code, b"") == (status, b"")
    assert {*headed.headers} == {*got.headers}
    assert headed.headers["content-type"] == got.headers["content-type"]


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/api/v1/services", "GET, HEAD, POST, OPTIONS"),
        ("/api/v1/services/s", "GET, HEAD, PATCH, OPTIONS"),
        ("/api/v1/subscriptions/s%2Ft/status", "POST, OPTIONS"),
        ("/api/v1/usage-events/batch", "POST, OPTIONS"),
        ("/health/live", "GET, HEAD, OPTIONS"),
        ("/docs", "GET, HEAD, OPTIONS"),
    ],
)
async def test_options_says_which_methods_a_path_takes_and_nothing_of_other_origins(path: str, allow: str) -> None:
    answer = await GatewayInMemory().request("OPTIONS", path, origin="https://elsewhere.example")
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, allow, b"")
    assert answer.headers["x-request-id"]
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "BREW"])
async def test_unknown_path_is_not_found_by_whoever_has_a_key_and_unauthorized_to_others(method: str) -> None:
    gateway = GatewayInMemory()
    unauthorized = await gateway.request(method, "/api/v1/unknown", authorization=None)
    unknown = await gateway.request(method, "/api/v1/unknown")
    assert (unauthorized.status_code, unknown.status_code) == (401, 404)
    if method != "HEAD":
        assert (unauthorized.json()["code"], unknown.json()["code"]) == ("unauthorized", "not_found")
