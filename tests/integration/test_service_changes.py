"""Services that change over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.integration.catalog_world import SERVICE
from tests.integration.running_gateway import RunningGateway, new_topics, running_gateway


@pytest.fixture
async def gateway(kafka_bootstrap: str, database_url: str) -> AsyncIterator[RunningGateway]:
    prefix = await new_topics(kafka_bootstrap, 1)
    async with running_gateway(kafka_bootstrap, database_url, prefix) as running:
        yield running


CREATED: dict[str, Any] = {
    **SERVICE,
    "status": "ACTIVE",
    "eventKeyScope": "PERIOD",
    "gracePeriodSeconds": 60,
    "maxEventAgeSeconds": 3600,
}

STEPS: list[tuple[dict[str, Any], dict[str, Any], int]] = [
    ({}, {}, 1),
    ({"name": "Service"}, {}, 1),
    ({"name": " Another "}, {"name": "Another"}, 2),
    ({"status": "DISABLED"}, {"status": "DISABLED"}, 3),
    ({"gracePeriodSeconds": 0}, {"gracePeriodSeconds": 0}, 4),
    ({"gracePeriodSeconds": None}, {"gracePeriodSeconds": None}, 5),
    ({"maxEventAgeSeconds": None, "eventKeyScope": "PERIOD"}, {"maxEventAgeSeconds": None}, 6),
    ({"maxEventAgeSeconds": None, "eventKeyScope": None, "id": "other", "owner": [1]}, {}, 6),
]


async def test_service_changes_as_it_is_asked_and_is_published_where_it_did(gateway: RunningGateway) -> None:
    await gateway.post("/services", CREATED)
    expected = CREATED
    for change, changed, version in STEPS:
        answer = await gateway.patch("/services/svc", change)
        expected = {**expected, **changed}
        assert (answer.status_code, answer.json()) == (200, {"service": expected}), change
        assert (await gateway.get("/services/svc")).json() == answer.json()
        assert (await gateway.catalog())[-1][:2] == ("service/svc", {**expected, "version": version}), change
    again = await gateway.post("/services", CREATED)
    assert (again.status_code, again.json()) == (200, {"service": expected})
    refused = await gateway.post("/services", expected)
    assert (refused.status_code, refused.json()["code"]) == (409, "already_exists")


REFUSALS: list[tuple[str, dict[str, Any], int, str, str | None]] = [
    ("none", {"name": "x"}, 404, "service_not_found", None),
    ("none", {"name": " "}, 400, "field_invalid", "name"),
    ("svc", {"name": None}, 400, "field_required", "name"),
    ("svc", {"status": None}, 400, "field_invalid", "status"),
    ("svc", {"status": "GONE"}, 400, "field_invalid", "status"),
    ("svc", {"gracePeriodSeconds": -1}, 400, "field_invalid", "gracePeriodSeconds"),
    ("svc", {"maxEventAgeSeconds": "1"}, 400, "field_invalid", "maxEventAgeSeconds"),
    ("svc", {"eventKeyScope": "EVENT"}, 400, "field_invalid", "eventKeyScope"),
    ("svc", {"eventKeyScope": "ALL"}, 400, "field_invalid", "eventKeyScope"),
]


async def test_change_that_makes_no_service_is_refused_as_a_whole(gateway: RunningGateway) -> None:
    await gateway.post("/services", CREATED)
    for path, change, *expected in REFUSALS:
        answer = await gateway.patch(f"/services/{path}", {"gracePeriodSeconds": 5, **change})
        document = answer.json()
        assert [answer.status_code, document["code"], document["field"]] == expected, change
    assert (await gateway.get("/services/svc")).json() == {"service": CREATED}


async def test_service_that_a_key_may_not_touch_is_unknown(gateway: RunningGateway) -> None:
    await gateway.post("/services", CREATED)
    _, theirs = await gateway.new_key(services=["other"])
    answer = await gateway.patch("/services/svc", {"name": "x"}, theirs)
    assert (answer.status_code, answer.json()["code"]) == (404, "service_not_found")


async def test_changes_at_once_all_happen(gateway: RunningGateway) -> None:
    await gateway.post("/services", CREATED)
    changes: list[dict[str, Any]] = [
        {"name": "Another"},
        {"status": "DRAFT"},
        {"gracePeriodSeconds": 7},
        {"maxEventAgeSeconds": 8},
    ]
    await asyncio.gather(*(gateway.patch("/services/svc", change) for change in changes))
    shown = (await gateway.get("/services/svc")).json()["service"]
    assert shown == {key: value for change in [CREATED, *changes] for key, value in change.items()}
    assert [entry["version"] for _, entry, _ in await gateway.catalog()] == [1, 2, 3, 4, 5]
