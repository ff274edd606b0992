"""However many names callers make up, the number of series stays what it was."""

import json
from collections.abc import Awaitable, Callable, Iterator
from itertools import count, islice
from typing import Any

from prometheus_client import REGISTRY

from aggregator.engine import metrics
from schemas.position import SOURCES, Counts
from schemas.rejection import Reason
from tests.unit.gateway_in_memory import GatewayInMemory

KEYS, PATHS = 60_000, 40_000
ROUTED = 1_000
"""Of the paths, those that get as far as the framework, which takes its time."""
BATCH = 1_000

ROUTES = (
    ("GET", "/api/v1/usage-events/ue_0_{}"),
    ("GET", "/api/v1/services/{}"),
    ("POST", "/api/v1/invoices/{}/void"),
    ("GET", "/api/v1/subscriptions/{}/usage"),
    ("PATCH", "/api/v1/services/%2F{}"),
    ("DELETE", "/api/v1/plans/{}"),
    ("GET", "/api/v1/{}"),
    ("GET", "/{}"),
    ("M{}", "/api/v1/usage-events"),
    ("POST", "/api/v1/usage-events/{}"),
)


def series() -> int:
    return sum(len(family.samples) for family in REGISTRY.collect())


async def whole_answer(app: Callable[..., Awaitable[None]], method: str, path: str, key: str, body: bytes) -> int:
    """The status of the answer to a request that is handed to the application as a server does."""
    statuses = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    headers = [(b"authorization", b"Bearer " + key.encode()), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": method, "path": path.replace("%2F", "/"), "raw_path": path.encode()}
    await app({**scope, "headers": headers, "query_string": b""}, receive, send)
    return int(statuses[0])


def batches() -> Iterator[bytes]:
    """Events of which each has a service, a user, a subscription, a key and a meter of its own; a third are refused."""
    numbers = count()
    while True:
        events = [
            {
                "serviceId": f"service-{number}",
                "userId": f"user-{number}",
                "subscriptionId": f"subscription-{number}",
                "eventKey": f"meter-{number}#key-{number}",
                "quantity": 1 if number % 3 else f"none-{number}",
            }
            for number in islice(numbers, BATCH)
        ]
        yield json.dumps({"usageEvents": events}).encode()


async def test_keys_and_meters_that_callers_make_up_make_no_series() -> None:
    gateway, events = GatewayInMemory(), batches()

    async def post() -> None:
        path = "/api/v1/usage-events/batch"
        assert await whole_answer(gateway.app, "POST", path, gateway.key, next(events)) == 207

    await post()
    before = series()
    for _ in range(KEYS // BATCH):
        await post()
    assert len(gateway.producer.published) > KEYS / 2
    assert series() == before


async def test_paths_and_methods_that_callers_make_up_make_no_series() -> None:
    gateway = GatewayInMemory()
    gateway.keys.rows[0]["scopes"] = []  # so that what has a route is refused there, and needs no database
    statuses = set()

    async def ask(number: int, key: str) -> None:
        method, path = ROUTES[number % len(ROUTES)]
        statuses.add(await whole_answer(gateway.app, method.format(number), path.format(number), key, b"{}"))

    for number in range(len(ROUTES)):
        await ask(number, gateway.key)
        await ask(number, "")
    before = series()
    for number in range(PATHS):
        await ask(number, gateway.key if number < ROUTED else "")
    assert statuses == {401, 403, 404, 405}
    assert series() == before


def test_every_verdict_of_every_source_makes_a_bounded_number_of_series() -> None:
    partitions = range(1_000, 1_008)

    def count_all(number: int) -> None:
        for partition in partitions:
            for source in SOURCES:
                reasons = dict.fromkeys(Reason, number + 1)
                metrics.batch(partition, source, Counts(1, 1, 1), reasons)

    before = series()
    count_all(0)
    bound = len(partitions) * (len(Reason) - 1 + len(SOURCES) + 4) * 2  # each with its _created
    assert before < series() <= before + bound
    before = series()
    for number in range(10):
        count_all(number)
    assert series() == before


def _record(number: int) -> Any:
    return number
