"""What the parts log for debugging: an object a line, and nothing that was entrusted to them."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import httpx

from deploy.local.ports import free_port
from deploy.topics import ensure_topics
from ingest.keys import Scope, create_key
from schemas.settings import Settings
from tests.integration.stream_world import eventually

PARTS = ("gateway", "aggregator", "closer", "projector")
UNKNOWN_KEY = f"tally_{'canary-' * 6}X"
OTHER_SCHEME = "Basic Y2FuYXJ5OmNhbmFyeQ=="
WRONG_PASSWORD = "a-canary-in-the-mine"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
EVENT = {"serviceId": "svc", "subscriptionId": "sub", "userId": "user", "eventKey": "tokens#1", "quantity": "1"}
END_SECONDS = 30


@asynccontextmanager
async def running(part: str, directory: Path, **environment: str) -> AsyncIterator[Path]:
    """A part that logs all it can; the file that it logs to. It is stopped when the block ends, and has ended then."""
    log = directory / f"{part}.log"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy", "--log-level", "debug", part),
            env={**os.environ, "TALLY_STATE_DIR": str(directory / "state"), **environment},
            stderr=stderr,
        )
    try:
        yield log
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(END_SECONDS):
            await process.wait()


async def is_ready(client: httpx.AsyncClient, port: int) -> bool:
    try:
        return (await client.get(f"http://127.0.0.1:{port}/health/ready")).is_success
    except httpx.TransportError:
        return False


async def has_ended(log: Path) -> bool:
    return any(line["level"] == "critical" for line in lines(log))


def lines(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


async def test_no_part_logs_what_was_entrusted_to_it(
    kafka_bootstrap: str, topic_prefix: str, database_url: str, database: asyncpg.Connection, tmp_path: Path
) -> None:
    settings = Settings(kafka=kafka_bootstrap, topic_prefix=topic_prefix, partitions=2)
    await ensure_topics(settings)
    _, key = await create_key(database, "canary", Scope)
    common = {"TALLY_KAFKA": kafka_bootstrap, "TALLY_TOPIC_PREFIX": topic_prefix, "TALLY_DATABASE_URL": database_url}
    ports = {part: free_port() for part in PARTS}
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        logs = {}
        for part, port in ports.items():  # one after the other, for a start takes the whole of a small machine
            own = {"TALLY_HTTP_PORT": str(port), "TALLY_METRICS_PORT": str(port)}
            logs[part] = await stack.enter_async_context(running(part, tmp_path, **common, **own))
            await eventually(partial(is_ready, client, port))
        url = f"http://127.0.0.1:{ports['gateway']}/api/v1/usage-events"
        statuses = []
        for authorization in (f"Bearer {key}", f"Bearer {UNKNOWN_KEY}", OTHER_SCHEME):
            headers = {"authorization": authorization, "x-request-id": "req-1", "traceparent": TRACE}
            statuses.append((await client.post(url, json=EVENT, headers=headers)).status_code)
        assert statuses == [404, 401, 401]
    secrets = [key, UNKNOWN_KEY, OTHER_SCHEME.split()[1], urlsplit(database_url).password]
    for part, log in logs.items():
        text = log.read_text()
        assert [secret for secret in secrets if secret and secret in text] == [], part
        assert all(line["part"] == part and {"time", "level", "message"} <= set(line) for line in lines(log)), part
        assert [line for line in lines(log) if line["level"] in {"error", "critical"}] == [], part
    requests = [line for line in lines(logs["gateway"]) if line.get("request_id") == "req-1"]
    assert [line["status"] for line in requests] == statuses
    assert {line["traceparent"] for line in requests} == {TRACE}
    assert any("restored_records" in line for line in lines(logs["aggregator"]))


async def test_a_password_that_is_refused_is_not_logged_and_the_end_is_a_line_too(
    kafka_bootstrap: str, topic_prefix: str, database_url: str, database: asyncpg.Connection, tmp_path: Path
) -> None:
    del database  # it is migrated
    await ensure_topics(Settings(kafka=kafka_bootstrap, topic_prefix=topic_prefix, partitions=1))
    url = re.sub(r"(?<=://)[^@]*(?=@)", f"tally:{WRONG_PASSWORD}", database_url)
    common = {"TALLY_KAFKA": kafka_bootstrap, "TALLY_TOPIC_PREFIX": topic_prefix, "TALLY_DATABASE_URL": url}
    for part in ("gateway", "closer", "projector"):
        async with running(part, tmp_path, TALLY_HTTP_PORT="0", **common) as log:
            await eventually(partial(has_ended, log))
        assert WRONG_PASSWORD not in log.read_text()
        last = lines(log)[-1]
        assert (last["level"], last["exit_code"]) == ("critical", 1)
        assert "check TALLY_DATABASE_URL" in str(last["message"])
