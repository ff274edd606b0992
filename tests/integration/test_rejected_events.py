"""Rejected events over HTTP: read, and sent on their way again."""

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from ingest.gateway.routes.rejected_events import PAGE_BYTES_MAX
from ingest.keys import Scope
from schemas.topics import Topic
from tests.integration.deciding_world import USAGE, DecidingWorld, deciding
from tests.integration.usage_rows import reject


@dataclass
class Rejecting(DecidingWorld):
    """A world with a hand on the tables that the projector would write."""

    database: asyncpg.Connection

    async def ids(self, key: str | None = None, **parameters: Any) -> list[str]:
        answer = await self.gateway.get("/rejected-events", key, **parameters)
        assert answer.status_code == 200, answer.text
        return [event["id"] for event in answer.json()["rejectedEvents"]]

    async def redrive(self, event_id: str, prefer: str | None = "wait=30") -> httpx.Response:
        return await self.post(f"/rejected-events/{event_id}/redrive", None, prefer)


@pytest.fixture
async def world(kafka_bootstrap: str, database_url: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Rejecting]:
    async with deciding(kafka_bootstrap, database_url, topic_prefix, tmp_path) as opened:
        database = await asyncpg.connect(database_url)
        try:
            yield Rejecting(opened.gateway, opened.tally, database)
        finally:
            await database.close()


async def test_the_list_holds_what_meets_all_conditions_newest_first(world: Rejecting) -> None:
    for event_id, received_at, changes in (
        ("ue_0_1", "2026-01-05T00:00:00", {}),
        ("ue_0_2", "2026-01-03T00:00:00", {"code": "duplicate_event_key"}),
        ("ue_1_2", "2026-01-03T00:00:00", {"subscription_id": "sub_2", "service_id": "svc_2"}),
        ("ue_0_3", "2026-01-01T00:00:00", {"code": "invalid_body", "subscription_id": None, "service_id": None}),
        ("uc_0_0", "2026-01-09T00:00:00", {"code": "event_not_recorded", "origin_topic": "usage-corrections"}),
    ):
        await reject(world.database, event_id, received_at, **changes)
    whole = ["uc_0_0", "ue_0_1", "ue_1_2", "ue_0_2", "ue_0_3"]
    for parameters, expected in (
        ({}, whole),
        ({"subscriptionId": "sub_2"}, ["ue_1_2"]),
        ({"code": "duplicate_event_key"}, ["ue_0_2"]),
        ({"code": "nothing"}, []),
        ({"from": "2026-01-03T00:00:00Z"}, whole[:4]),
        ({"from": "2026-01-03T00:00:00.001Z"}, whole[:2]),
        ({"to": "2026-01-03T00:00:00Z"}, ["ue_0_3"]),
        ({"to": "2026-01-03T00:00:00.001Z"}, ["ue_1_2", "ue_0_2", "ue_0_3"]),
        ({"subscriptionId": "sub", "to": "2026-01-09T00:00:00Z"}, ["ue_0_1", "ue_0_2"]),
    ):
        assert await world.ids(**parameters) == expected, parameters
    _, mine = await world.gateway.new_key([Scope.READ, Scope.USAGE_WRITE], services=["svc"])
    assert await world.ids(mine) == ["uc_0_0", "ue_0_1", "ue_0_2"]
    assert (await world.gateway.get("/rejected-events/ue_0_1", mine)).json()["rejectedEvent"]["id"] == "ue_0_1"
    for event_id, key in (("ue_1_2", mine), ("ue_0_3", mine), ("ue_9_9", None), ("nonsense", None)):
        answer = await world.gateway.get(f"/rejected-events/{event_id}", key)
        assert (answer.status_code, answer.json()["code"]) == (404, "usage_event_not_found")
        answer = await world.gateway.post(f"/rejected-events/{event_id}/redrive", None, key)
        assert (answer.status_code, answer.json()["code"]) == (404, "usage_event_not_found")


@pytest.mark.parametrize(
    ("sizes", "limit", "pages"),
    [
        ([10] * 5, 2, [2, 2, 1]),
        ([10] * 4, 2, [2, 2]),
        ([PAGE_BYTES_MAX - 7, 1, 1, 1], 10, [2, 2]),  # each has a key of 3 bytes as well
        ([PAGE_BYTES_MAX - 6, 1, 1, 1], 10, [1, 3]),
        ([PAGE_BYTES_MAX * 2, PAGE_BYTES_MAX * 2, 1], 10, [1, 1, 1]),
    ],
)
async def test_pages_hold_the_whole_list_once_and_not_too_many_bytes(
    world: Rejecting, sizes: list[int], limit: int, pages: list[int]
) -> None:
    for number, size in enumerate(sizes):
        await reject(world.database, f"ue_0_{number}", f"2026-01-{20 - number:02d}T00:00:00", value=b"x" * size)
    lengths, values = [], []
    cursor: dict[str, str] = {}
    while True:
        page = (await world.gateway.get("/rejected-events", limit=limit, **cursor)).json()
        lengths.append(len(page["rejectedEvents"]))
        values += [len(base64.b64decode(event["valueBase64"])) for event in page["rejectedEvents"]]
        if page["nextCursor"] is None:
            break
        cursor = {"cursor": page["nextCursor"]}
    assert values == sizes
    assert lengths == pages


async def test_a_redriven_event_is_judged_anew_and_keeps_its_first_time(world: Rejecting) -> None:
    dateless = {name: value for name, value in USAGE.items() if name != "occurredAt"}
    for event_id, value in (
        ("ue_0_1", {**dateless, "eventKey": "tokens#1", "extra": [1]}),
        ("ue_0_2", {**USAGE, "eventKey": "tokens#2"}),
        ("ue_0_3", {**USAGE, "eventKey": "tokens#1"}),
        ("ue_0_4", {**USAGE, "eventKey": "tokens#4", "userId": "eve"}),
    ):
        await reject(world.database, event_id, "2026-01-05T06:07:08.9+00:00", value=json.dumps(value).encode())
    async with world.tally.worker(TALLY_GRACE_SECONDS="3600"):
        await world.can_wait()
        first = await world.redrive("ue_0_1")
        assert first.status_code == 201
        assert first.headers["location"] == f"/api/v1/usage-events/{first.json()['usageEvent']['id']}"
        assert first.json()["usageEvent"]["occurredAt"] == "2026-01-05T06:07:08.900Z"
        second = await world.redrive("ue_0_2")
        assert second.json()["usageEvent"]["occurredAt"] == USAGE["occurredAt"]
        for event_id, status, code in (
            ("ue_0_1", 409, "duplicate_event_key"),
            ("ue_0_3", 409, "duplicate_event_key"),
            ("ue_0_4", 400, "subscription_mismatch"),
        ):
            answer = await world.redrive(event_id)
            assert (answer.status_code, answer.json()["code"]) == (status, code)
    pending = await world.redrive("ue_0_4", prefer="respond-async")
    assert (pending.status_code, pending.json()["receipt"]["status"]) == (202, "PENDING")


async def test_what_can_not_be_an_event_is_not_published_again(world: Rejecting) -> None:
    for event_id, value, origin in (
        ("ue_0_1", b"[", Topic.USAGE_EVENTS),
        ("ue_0_2", b'{"serviceId":"svc"}', Topic.USAGE_EVENTS),
        ("ue_0_3", None, Topic.USAGE_EVENTS),
        ("ue_0_4", b" " * 70_000, Topic.USAGE_EVENTS),
        ("uc_0_5", json.dumps(USAGE).encode(), Topic.USAGE_CORRECTIONS),
        ("uf_0_6", json.dumps(USAGE).encode(), Topic.USAGE_FORWARDED),
    ):
        await reject(world.database, event_id, "2026-01-05T00:00:00", value=value, origin_topic=origin.value)
    for event_id, status, code in (
        ("ue_0_1", 400, "invalid_body"),
        ("ue_0_2", 400, "field_required"),
        ("ue_0_3", 400, "invalid_body"),
        ("ue_0_4", 413, "body_too_large"),
        ("uc_0_5", 409, "event_not_recorded"),
        ("uf_0_6", 409, "event_not_recorded"),
    ):
        answer = await world.redrive(event_id)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    fields = (await world.redrive("ue_0_2")).json()["details"]
    assert [detail["field"] for detail in fields] == ["subscriptionId", "userId", "eventKey", "quantity"]
    assert await world.tally.records(Topic.USAGE_EVENTS) == []
