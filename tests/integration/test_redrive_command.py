"""`tally redrive` as a person runs it, on a gateway with a worker behind it."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from ingest.keys import Scope
from schemas.topics import Topic
from tests.integration.deciding_world import USAGE, DecidingWorld, deciding
from tests.integration.usage_rows import reject


async def redrive(world: DecidingWorld, *flags: str, key: str | None = None) -> tuple[int, list[str], str]:
    """Exit code, lines of the output, and errors."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy", "redrive", "--url", world.gateway.url, *flags),
        env={**os.environ, "TALLY_API_KEY": key or world.gateway.key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    assert process.returncode is not None
    assert b"Traceback" not in errors, errors.decode()
    return process.returncode, out.decode().splitlines(), errors.decode()


@pytest.fixture
async def world(
    kafka_bootstrap: str, database_url: str, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[DecidingWorld]:
    async with deciding(kafka_bootstrap, database_url, topic_prefix, tmp_path) as opened:
        database = await asyncpg.connect(database_url)
        for offset in range(250):  # more than two pages
            value = {**USAGE, "eventKey": f"tokens#{offset}", **({"userId": "eve"} if offset % 50 == 0 else {})}
            await reject(
                database, f"ue_0_{offset}", f"2026-01-05T00:{offset // 60:02d}:{offset % 60:02d}",
                value=json.dumps(value).encode(),
            )  # fmt: skip
        await reject(database, "ue_0_900", "2026-01-06T00:00:00", code="duplicate_event_key")
        await reject(database, "ue_0_901", "2026-01-06T00:00:00", code="invalid_body", value=b"[")
        void = {"code": "event_not_recorded", "origin_topic": "usage-corrections"}
        await reject(database, "uc_0_0", "2026-01-06T00:00:00", **void)
        await database.close()
        yield opened


async def test_all_are_sent_again_but_duplicates_and_what_is_no_event(world: DecidingWorld) -> None:
    left_out = "left out: 1 duplicate_event_key, 1 event_not_recorded"
    code, said, _ = await redrive(world, "--dry-run")
    assert (code, sorted(said)) == (0, sorted(["to redrive: 250 subscription_not_active, 1 invalid_body", left_out]))
    assert await world.tally.records(Topic.USAGE_EVENTS) == []
    async with world.tally.worker(TALLY_GRACE_SECONDS="3600"):
        await world.can_wait()
        already = len(await world.tally.records(Topic.USAGE_EVENTS))
        code, said, progress = await redrive(world)
        assert (code, said) == (0, ["redriven: 245 recorded, 5 subscription_mismatch, 1 invalid_body", left_out])
        assert "251 of 251" in progress
        assert len(await world.tally.records(Topic.USAGE_EVENTS)) == already + 250
        again = await redrive(world, "--from", "2026-01-05T00:04:00Z", "--to", "2026-01-06T00:00:00Z")
        assert again[1] == ["redriven: 10 duplicate_event_key", "left out: none"]


async def test_only_what_the_flags_name_is_sent(world: DecidingWorld) -> None:
    for flags, said in (
        (["--code", "duplicate_event_key"], ["to redrive: 1 duplicate_event_key", "left out: none"]),
        (
            ["--code", "duplicate_event_key", "--code", "invalid_body"],
            ["to redrive: 1 invalid_body, 1 duplicate_event_key", "left out: none"],
        ),
        (["--subscription", "another"], ["to redrive: none", "left out: none"]),
        (["--to", "2026-01-05T00:00:07Z"], ["to redrive: 7 subscription_not_active", "left out: none"]),
    ):
        code, lines, _ = await redrive(world, "--dry-run", *flags)
        assert (code, lines) == (0, said), flags


async def test_what_a_person_can_get_wrong_is_one_sentence(world: DecidingWorld, tmp_path: Path) -> None:
    _, reader = await world.gateway.new_key([Scope.READ])
    for flags, key, sentence in (
        (["--from", "yesterday"], None, "The gateway answered 400: from must be a time"),
        ([], "tally_" + "x" * 43, "The gateway answered 401: Send a valid API key"),
        (["--code", "invalid_body"], reader, "The gateway answered 403: This API key lacks the scope"),
        (["--url", "nowhere"], None, "'nowhere' is no URL"),
    ):
        code, out, errors = await redrive(world, *flags, key=key)
        assert (code, out) == (1, []), flags
        assert f"tally redrive: {sentence}" in errors, errors
    environment = {name: value for name, value in os.environ.items() if name != "TALLY_API_KEY"}
    for flags, sentence in (
        (["--url", world.gateway.url], "Set TALLY_API_KEY to a key"),
        (["--data", str(tmp_path)], f"No Tally runs on {tmp_path}"),
    ):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy", "redrive", *flags),
            env=environment,
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors_bytes = await process.communicate()
        assert process.returncode == 1
        assert sentence in errors_bytes.decode()
