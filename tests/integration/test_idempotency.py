"""`Idempotency-Key` on a real gateway: what is sent again is answered again, and executed once."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest

from deploy.local.ports import free_port
from ingest.database import Database
from ingest.gateway.idempotent_requests import IdempotentRequests
from ingest.keys import Scope
from ingest.settings import GatewaySettings
from tests.integration.catalog_world import PLAN, SERVICE, SUBSCRIPTION, set_up
from tests.integration.running_gateway import RunningGateway, new_topics, running_gateway, until
from tests.integration.test_gateway import event, logged
from tests.integration.test_shutdown import start

PARTITIONS = 4
ANSWER_SECONDS = 3.0


@pytest.fixture
async def gateway(kafka_bootstrap: str, database_url: str) -> AsyncIterator[RunningGateway]:
    prefix = await new_topics(kafka_bootstrap, PARTITIONS)
    async with running_gateway(kafka_bootstrap, database_url, prefix, answer_seconds=ANSWER_SECONDS) as running:
        yield running


async def post(
    gateway: RunningGateway, path: str, body: Any, idempotency_key: str | None = "k", key: str | None = None
) -> httpx.Response:
    headers = {"authorization": f"Bearer {key or gateway.key}", "prefer": "respond-async"}
    if idempotency_key is not None:
        headers["idempotency-key"] = idempotency_key
    return await gateway.client.post(f"/api/v1{path}", json=body, headers=headers)


def is_replay(answer: httpx.Response) -> bool:
    return "true" in answer.headers.get_list("idempotent-replayed")


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@asynccontextmanager
async def owner(gateway: RunningGateway) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(gateway.settings.database_url)
    try:
        yield connection
    finally:
        await connection.close()


async def execute(gateway: RunningGateway, statement: str) -> None:
    async with owner(gateway) as connection:
        await connection.execute(statement)


@asynccontextmanager
async def barrier(gateway: RunningGateway) -> AsyncIterator[None]:
    """While the block lasts, whoever creates the service `svc` waits."""
    async with owner(gateway) as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("INSERT INTO services (id, document) VALUES ('svc', '{}')")
        yield
        await transaction.rollback()


async def in_flight(gateway: RunningGateway, idempotency_key: str = "k") -> bool:
    async with owner(gateway) as connection:
        found = await connection.fetchval(
            "SELECT count(*) FROM idempotent_requests WHERE idempotency_key = $1 AND status IS NULL", idempotency_key
        )
    return bool(found)


REQUESTS: list[tuple[str, Any, int]] = [
    ("/services", {"name": "chosen"}, 201),
    ("/plans", {**PLAN, "id": None}, 201),
    ("/subscriptions", {**SUBSCRIPTION, "id": None}, 201),
    ("/services", SERVICE, 200),
    ("/services", {**SERVICE, "name": "Other"}, 409),
    ("/services", {}, 400),
    ("/subscriptions/none/status", {"status": "CANCELLED"}, 404),
    ("/nothing", {}, 404),
    ("/usage-events", event(), 202),
    ("/usage-events", event(quantity=-1), 400),
    ("/usage-events/batch", {"usageEvents": [event(1), event(2, quantity="x"), event(3)]}, 207),
]


async def test_replay_is_the_first_answer_and_nothing_else_happens(gateway: RunningGateway) -> None:
    await set_up(gateway)
    firsts = [await post(gateway, path, body, f"{n}") for n, (path, body, _) in enumerate(REQUESTS)]
    assert [(answer.status_code, is_replay(answer)) for answer in firsts] == [(row[2], False) for row in REQUESTS]
    state = await gateway.catalog(), await logged(gateway)
    for number, first in [*enumerate(firsts)] * 2:
        again = await post(gateway, *REQUESTS[number][:2], f"{number}")
        assert is_replay(again)
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert {*again.headers} == {*first.headers, "idempotent-replayed"}
        for name in ("location", "content-type", "content-length"):
            assert again.headers.get(name) == first.headers.get(name)
        assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert (await gateway.catalog(), await logged(gateway)) == state


async def test_another_request_under_the_same_key_is_refused_and_under_another_key_is_not(
    gateway: RunningGateway,
) -> None:
    assert (await post(gateway, "/services", {"id": "a", "name": "a"})).status_code == 201
    for path, body in (("/services", {"id": "a", "name": "b"}), ("/plans", {"id": "a", "name": "a"})):
        assert code(await post(gateway, path, body)) == (422, "idempotency_key_reused")
    assert (await post(gateway, "/services", {"id": "b", "name": "b"}, "K")).status_code == 201
    _, other = await gateway.new_key()
    of_another_caller = await post(gateway, "/services", {"id": "c", "name": "c"}, "k", other)
    assert (of_another_caller.status_code, is_replay(of_another_caller)) == (201, False)
    got = await gateway.client.get(
        "/api/v1/services", headers={"authorization": f"Bearer {gateway.key}", "idempotency-key": "k"}
    )
    assert [service["id"] for service in got.json()["services"]] == ["c", "b", "a"]  # of a GET it means nothing


async def test_of_two_at_once_one_is_executed_and_the_other_told_to_wait(gateway: RunningGateway) -> None:
    async with barrier(gateway):
        first = asyncio.create_task(post(gateway, "/services", SERVICE))
        await until(lambda: in_flight(gateway))
        second = await post(gateway, "/services", SERVICE)
        assert code(second) == (409, "idempotency_in_progress")
        assert second.headers["retry-after"] == "1"
        assert code(await post(gateway, "/services", {"name": "n"})) == (422, "idempotency_key_reused")
    assert ((await first).status_code, is_replay(await first)) == (201, False)
    third = await post(gateway, "/services", SERVICE)
    assert (third.status_code, third.content, is_replay(third)) == (201, (await first).content, True)


async def test_many_at_once_create_one(gateway: RunningGateway) -> None:
    answers = await asyncio.gather(*(post(gateway, "/services", {"name": "chosen"}) for _ in range(20)))
    created = [answer for answer in answers if answer.status_code == 201]
    assert len({answer.json()["service"]["id"] for answer in created}) == 1
    assert [is_replay(answer) for answer in created].count(False) == 1
    assert {code(answer) for answer in answers if answer not in created} <= {(409, "idempotency_in_progress")}
    assert len(await gateway.catalog()) == 1


async def test_answer_is_kept_though_the_caller_has_gone(gateway: RunningGateway) -> None:
    url, body = httpx.URL(gateway.url), json.dumps(SERVICE).encode()
    async with barrier(gateway):
        _, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(
            b"POST /api/v1/services HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nidempotency-key: k\r\n"
            b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b" % (gateway.key.encode(), len(body), body)
        )
        await until(lambda: in_flight(gateway))
        writer.close()
        await writer.wait_closed()

    async def answered() -> bool:
        return not await in_flight(gateway)

    await until(answered)
    async with owner(gateway) as connection:
        assert await connection.fetchval("SELECT status FROM idempotent_requests") == 201


async def test_after_24_hours_the_key_is_new(gateway: RunningGateway) -> None:
    first = await post(gateway, "/services", {"name": "chosen"})
    assert first.status_code == 201
    await execute(gateway, "UPDATE idempotent_requests SET created_at = now() - interval '23 hours 59 minutes'")
    assert is_replay(await post(gateway, "/services", {"name": "chosen"}))
    await execute(gateway, "UPDATE idempotent_requests SET created_at = now() - interval '24 hours 1 second'")
    second = await post(gateway, "/services", {"name": "chosen"})
    assert (second.status_code, is_replay(second)) == (201, False)
    assert second.json()["service"]["id"] != first.json()["service"]["id"]
    assert is_replay(await post(gateway, "/services", {"name": "chosen"}))
    await execute(gateway, "UPDATE idempotent_requests SET created_at = now() - interval '24 hours 1 second'")
    assert (await post(gateway, "/services", {"name": "another"})).status_code == 201


async def test_request_that_died_with_its_gateway_is_taken_over_and_creates_nothing_twice(
    gateway: RunningGateway,
) -> None:
    await set_up(gateway)
    creations = [row for row in REQUESTS if row[2] == 201]
    firsts = [await post(gateway, path, body, path) for path, body, _ in creations]
    catalog = await gateway.catalog()
    dead = "UPDATE idempotent_requests SET status = NULL, headers = NULL, body = NULL, claimed_at = now() - interval"
    await execute(gateway, f"{dead} '50 seconds'")
    for path, body, _ in creations:
        assert code(await post(gateway, path, body, path)) == (409, "idempotency_in_progress")
    await execute(gateway, f"{dead} '61 seconds'")
    for (path, body, _), first in zip(creations, firsts, strict=True):
        assert code(await post(gateway, path, {**body, "name": "n"}, path)) == (422, "idempotency_key_reused")
        taken_over = await post(gateway, path, body, path)
        assert (taken_over.status_code, taken_over.json(), is_replay(taken_over)) == (200, first.json(), False)
        assert is_replay(await post(gateway, path, body, path))
    assert await gateway.catalog() == catalog


@asynccontextmanager
async def gateway_process(settings: GatewaySettings) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Another gateway of the same deployment, as a process, and its URL."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    process = await start(
        "gateway",
        TALLY_KAFKA=settings.kafka,
        TALLY_TOPIC_PREFIX=settings.topic_prefix,
        TALLY_DATABASE_URL=settings.database_url,
        TALLY_HTTP_PORT=str(port),
    )

    async def is_ready() -> bool:
        async with httpx.AsyncClient() as client:
            try:
                return (await client.get(f"{url}/health/ready")).status_code == 200
            except httpx.TransportError:
                return False

    try:
        await until(is_ready)
        yield process, url
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_gateway_that_is_killed_leaves_the_request_to_another(gateway: RunningGateway) -> None:
    headers = {"authorization": f"Bearer {gateway.key}", "idempotency-key": "k"}
    async with gateway_process(gateway.settings) as (doomed, url), barrier(gateway), httpx.AsyncClient() as client:
        posting = asyncio.create_task(client.post(f"{url}/api/v1/services", json=SERVICE, headers=headers))
        await until(lambda: in_flight(gateway))
        doomed.kill()
        with pytest.raises(httpx.TransportError):
            await posting
    assert code(await post(gateway, "/services", SERVICE)) == (409, "idempotency_in_progress")
    await execute(gateway, "UPDATE idempotent_requests SET claimed_at = claimed_at - interval '61 seconds'")
    taken_over = await post(gateway, "/services", SERVICE)
    assert (taken_over.status_code, is_replay(taken_over)) == (201, False)
    assert is_replay(await post(gateway, "/services", SERVICE))


async def test_answer_that_another_try_may_change_frees_the_key(gateway: RunningGateway) -> None:
    async with barrier(gateway):
        away = await post(gateway, "/services", SERVICE)
        assert code(away) == (503, "unavailable")
        assert int(away.headers["retry-after"]) >= 1
    again = await post(gateway, "/services", SERVICE)
    assert (again.status_code, is_replay(again)) == (201, False)
    _, reader = await gateway.new_key([Scope.READ])
    for path in ("/services", "/usage-events"):
        for _ in range(2):
            refused = await post(gateway, path, {}, path, reader)
            assert (code(refused), is_replay(refused)) == ((403, "forbidden"), False)


async def test_forms_of_a_key_and_bounds_of_a_body(gateway: RunningGateway) -> None:
    authorization = (b"authorization", f"Bearer {gateway.key}".encode())
    for path in ("/services", "/usage-events"):
        for keys in ([""], ["k" * 256], ["k\u00e9"], ["k\tk"], ["k", "k"]):
            headers = [authorization, *((b"idempotency-key", key.encode()) for key in keys)]
            answer = await gateway.client.post(f"/api/v1{path}", json=SERVICE, headers=headers)
            assert (*code(answer), answer.json()["field"]) == (400, "parameter_invalid", "Idempotency-Key")
    assert await gateway.catalog() == []
    for key in ("k", "~" * 255, "a b!\"#$%&'()*+,-./:;<=>?@[]^_`{|}"):
        assert (await post(gateway, "/services", SERVICE, key)).status_code in (200, 201)
        assert is_replay(await post(gateway, "/services", SERVICE, key))
    for path, bytes_max in (("/services", 64 * 1024), ("/usage-events", 64 * 1024), ("/usage-events/batch", 2**24)):
        too_large = await post(gateway, path, {"x": "x" * bytes_max}, f"large {path}")
        assert code(too_large) == (413, "body_too_large")
        assert not await in_flight(gateway, f"large {path}")
    large = {"usageEvents": [event(note="n" * 1_000)] * 100}
    answers = [await post(gateway, "/usage-events/batch", large, "batch") for _ in range(2)]
    assert [(answer.status_code, is_replay(answer)) for answer in answers] == [(207, False), (207, True)]


@pytest.mark.parametrize(
    "away",
    [
        "ALTER TABLE idempotent_requests RENAME TO elsewhere",  # as before the migration
        "LOCK TABLE idempotent_requests IN ACCESS EXCLUSIVE MODE",
    ],
)
async def test_postgres_away_is_a_503_for_requests_with_a_key_only(gateway: RunningGateway, away: str) -> None:
    async with owner(gateway) as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(away)
        if "RENAME" in away:
            await transaction.commit()
        answer = await post(gateway, "/usage-events", event())
        assert code(answer) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert await logged(gateway) == {}
        assert (await post(gateway, "/usage-events", event(), None)).status_code == 202
        if "LOCK" in away:
            await transaction.rollback()
            assert (await post(gateway, "/usage-events", event(1))).status_code == 202


async def test_sweeper_deletes_what_is_older_than_24_hours(gateway: RunningGateway) -> None:
    await execute(
        gateway,
        "INSERT INTO idempotent_requests (api_key_id, idempotency_key, body_hash, created_at)"
        " SELECT 'key', n::text, ''::bytea, now() - interval '24 hours 1 second' FROM generate_series(1, 2500) AS n"
        " UNION SELECT 'key', 'young', '', now() - interval '23 hours 59 minutes'",
    )
    database = Database(gateway.settings.database_url, connections=2, seconds=5)
    await database.open()
    await IdempotentRequests(database).sweep()
    await database.close()
    async with owner(gateway) as connection:
        kept = await connection.fetch("SELECT idempotency_key FROM idempotent_requests")
    assert [row["idempotency_key"] for row in kept] == ["young"]
