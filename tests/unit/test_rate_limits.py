"""How many requests a key may make."""

import asyncio

import pytest

from ingest.gateway import front
from ingest.gateway.rate_limits import Bucket, RateLimits
from ingest.keys import ApiKey, Scope
from tests.unit.gateway_in_memory import GatewayInMemory, key_text
from tests.unit.test_gateway_usage_events import event


@pytest.mark.parametrize(
    ("per_second", "requests"),
    [
        # two seconds' worth at once, then one for each whole interval
        (1, [(100, True), (100, True), (100, False), (100.9, False), (101, True), (101, False)]),
        (2, [(0, True), (0, True), (0, True), (0, True), (0, False), (0.5, True), (0.5, False), (1.5, True)]),
        # a refused request costs nothing: the next second brings one all the same
        (1, [(0, True), (0, True), (0.2, False), (0.4, False), (0.6, False), (0.8, False), (1, True)]),
        # however long it is silent, no more than two seconds' worth gathers
        (1, [(0, True), (1000, True), (1000, True), (1000, False)]),
    ],
)
def test_bucket(per_second: int, requests: list[tuple[float, bool]]) -> None:
    bucket = Bucket(per_second, at=requests[0][0])
    assert [bucket.take(at) for at, _ in requests] == [allowed for _, allowed in requests]


def api_key(key_id: str, requests_per_second: int | None) -> ApiKey:
    return ApiKey(key_id, b"", frozenset(), None, requests_per_second)


@pytest.mark.parametrize(
    ("of_the_gateway", "of_the_key", "allowed"),
    [(0, None, 1000), (0, 3, 6), (5, None, 10), (5, 3, 6), (5, 20, 40)],
)
def test_limit_of_the_key_goes_before_the_gateways(of_the_gateway: int, of_the_key: int | None, allowed: int) -> None:
    limits = RateLimits(of_the_gateway)
    assert sum(limits.allow(api_key("a", of_the_key), at=7.0) for _ in range(1000)) == allowed


def test_each_key_has_its_own() -> None:
    limits = RateLimits(1)
    assert [limits.allow(api_key(key_id, None), at=7.0) for key_id in "aabbab"] == [True] * 4 + [False] * 2


def test_another_limit_holds_at_once() -> None:
    limits = RateLimits(0)
    assert [limits.allow(api_key("a", 1), at=7.0) for _ in range(3)] == [True, True, False]
    assert [limits.allow(api_key("a", 2), at=7.0) for _ in range(5)] == [True] * 4 + [False]


async def test_request_too_many_is_a_429_whatever_it_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "perf_counter", lambda: 7.0)  # on a busy machine a second may pass between two requests
    gateway = GatewayInMemory()
    limited = f"Bearer {gateway.keys.add(key_text('l'), [Scope.USAGE_WRITE], requests_per_second=1)}"
    first = await gateway.post_event(event(), authorization=limited)
    second = await gateway.request("GET", "/api/v1/nothing", authorization=limited)
    assert (first.status_code, second.status_code) == (202, 404)
    requests = [("POST", "/api/v1/usage-events"), ("POST", "/api/v1/usage-events/batch"), ("GET", "/api/v1/services")]
    for answer in await asyncio.gather(*(gateway.request(*line, event(), authorization=limited) for line in requests)):
        assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
        assert answer.headers["retry-after"] == "1"
    assert len(gateway.producer.published) == 1
    assert (await gateway.request("GET", "/health/live", authorization=limited)).status_code == 200
    assert (await gateway.post_event(event())).status_code == 202  # of another key
    metrics = await gateway.request("GET", "/metrics", authorization=None)
    assert 'tally_gateway_limited_total{limit="requests_per_second"}' in metrics.text
