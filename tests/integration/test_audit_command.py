"""`tally audit` and `tally recount` on a deployment that runs, on one that was tampered with for real, and where there
can be neither."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from schemas.settings import Settings
from schemas.topics import Topic
from tests.integration.audit_captured import Captured, latest
from tests.integration.audit_world import (
    HOME,
    JANUARY,
    NEAR,
    PARTITIONS,
    SUBS,
    catalog,
    copying_to_postgres,
    event,
    home_of,
    make,
    new_world,
)
from tests.integration.halts_world import delete_records
from tests.integration.worker import Deployment

ROUNDS = 3
EVENTS_A_ROUND = 200


async def audit(*flags: str) -> tuple[int, dict[str, Any], str]:
    """Run the command: its exit code, its report and what it said."""
    code, out, said = await run_tally(("audit", *flags))
    return code, json.loads(out) if out else {}, said


async def recount(subscription_id: str, *flags: str) -> tuple[int, str, str]:
    """Run the command: its exit code, what it printed and what it said."""
    return await run_tally(("recount", "--subscription", subscription_id, *flags))


async def run_tally(command: Sequence[str]) -> tuple[int, str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TALLY_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy", *command, "--processes", "2"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, said = await process.communicate()
    assert process.returncode is not None
    assert b"Traceback" not in said, said.decode()
    return process.returncode, out.decode(), said.decode()


def flags_of(settings: Settings, database_url: str) -> list[str]:
    return ["--kafka", settings.kafka, "--topic-prefix", settings.topic_prefix, "--database-url", database_url]


@pytest.fixture
async def empty(kafka_bootstrap: str, postgres_dsn: str, tmp_path: Path) -> AsyncIterator[tuple[Deployment, str]]:
    async with new_world(kafka_bootstrap, postgres_dsn, tmp_path) as opened:
        yield opened


async def test_what_is_tampered_with_for_real_is_found(empty: tuple[Deployment, str], tmp_path: Path) -> None:
    """Each step adds one more: rows deleted and changed in Postgres, a record forged onto a changelog."""
    tally, database_url = empty
    captured = await make(tally, database_url)
    flags = flags_of(tally.settings, database_url)
    code, report, said = await audit(*flags)
    assert (code, report["agrees"], report["disagreements"]) == (0, True, [])
    assert report["counts"]["received"] == sum(len(captured.records[Topic.USAGE_EVENTS, p]) for p in range(PARTITIONS))
    assert "tally: audit: all agrees" in said
    code, out, said = await recount(NEAR, *flags, "--json")
    assert (code, json.loads(out)["agrees"]) == (0, True)
    assert "tally: recount: no difference" in said

    database = await asyncpg.connect(database_url)
    deleted = await database.fetchval("SELECT id FROM invoices WHERE subscription_id = $1 AND amount > 0", SUBS["flat"])
    await database.execute("DELETE FROM invoice_lines WHERE invoice_id = $1", deleted)
    await database.execute("DELETE FROM invoices WHERE id = $1", deleted)
    code, report, said = await audit(*flags)
    assert (code, found_in(report, "invoices", "id")) == (1, {deleted})
    assert "1 disagreements (1 of invoices)" in said

    changed = await database.fetchval(
        "UPDATE invoice_lines SET amount = amount + 0.000001 WHERE invoice_id = (SELECT id FROM invoices"
        " WHERE subscription_id = $1 AND sequence = 0 LIMIT 1) AND meter = 'tokens' RETURNING invoice_id",
        NEAR,
    )
    await database.close()
    code, report, _ = await audit(*flags)
    assert (code, found_in(report, "invoice lines", "id")) == (1, {changed})
    code, out, said = await recount(NEAR, *flags, "--period", "2026-01-15T12:00:00+01:00")
    assert code == 1, said
    assert re.search(r"tokens +6 +11000011.500000 +11000011.500000 +33.000034 +33.000035 +0.000001\n", out), out
    assert changed in out
    assert "tally: recount: a difference, in 2026-01-01T00:00:00.000Z" in said

    offset = await forge_a_total(tally, captured)
    file = tmp_path / "report.json"
    code, report, _ = await audit(*flags, "--report", str(file))
    assert (code, report) == (1, {})
    assert found_in(json.loads(file.read_text()), "totals", "offset") == {offset}


def found_in(report: dict[str, Any], check: str, field: str) -> set[Any]:
    return {found[field] for found in report["disagreements"] if found["check"] == check}


async def forge_a_total(tally: Deployment, captured: Captured) -> int:
    """Write once more what a total says, a millionth higher."""
    (topic, partition), index = latest(captured, Topic.USAGE_TOTALS, NEAR, JANUARY, "tokens")
    record = captured.records[topic, partition][index]
    value = record.document | {"quantity": record.document["quantity"][:-1] + "9"}
    assert value != record.document
    return await tally.put_on(topic, record.key, json.dumps(value).encode(), partition)


async def test_a_deployment_at_work_agrees_whenever_it_is_asked(empty: tuple[Deployment, str]) -> None:
    """Events go on coming while it is audited, half of them into the wrong partition, some of them twice."""
    tally, database_url = empty
    await tally.publish(*catalog())
    stop = asyncio.Event()

    async def send() -> None:
        for number in count():
            if stop.is_set():
                return
            value = event("near", f"tokens#{number - number % 7 // 6}", str(number))
            await tally.put(None, value, number % PARTITIONS)

    async with tally.worker(), copying_to_postgres(tally.settings, database_url):
        sending = asyncio.create_task(send())
        counted = (await tally.decided(0, forwardedIn=1))["received"]
        for _ in range(ROUNDS):
            counted = (await tally.decided(counted + EVENTS_A_ROUND))["received"]
            code, report, said = await audit(*flags_of(tally.settings, database_url))
            assert (code, report["disagreements"]) == (0, []), said
            assert report["counts"]["received"] >= counted
            assert report["counts"]["forwardedInAccepted"] > 0
        code, out, said = await recount(NEAR, *flags_of(tally.settings, database_url), "--json")
        assert (code, json.loads(out)["disagreements"]) == (0, []), said
        stop.set()
        await sending


async def test_where_there_can_be_no_audit_one_sentence_says_why(
    empty: tuple[Deployment, str], tmp_path: Path, postgres_dsn: str
) -> None:
    tally, database_url = empty
    flags = flags_of(tally.settings, database_url)
    nowhere, of_another = "127.0.0.1:1", urlunsplit(urlsplit(postgres_dsn)._replace(path="/template1"))
    for instead, code, why in (
        (["--kafka", nowhere], 3, f"Kafka at {nowhere} can't be read"),
        (["--database-url", f"postgresql://{nowhere}/tally"], 3, "Postgres can't be read"),
        (["--database-url", of_another], 3, "The database is not one of Tally"),
        (["--topic-prefix", "nobody-made-these-"], 3, "Kafka has no topic nobody-made-these-"),
        (["--partitions", "no"], 2, "--partitions"),
        (["--report", str(tmp_path / "absent" / "report.json")], 3, "The report can't be written"),
    ):
        ended, _, said = await audit(*flags, *instead)
        assert (ended, why in said) == (code, True), said
        assert said.strip().splitlines()[-1].startswith("tally audit: ")
    ended, _, said = await recount("sub_none", *flags)
    assert ended == 3
    assert said.strip().splitlines()[-1].startswith("tally recount: The catalog has no subscription 'sub_none'")


async def test_a_log_without_its_beginning_can_not_be_recounted(empty: tuple[Deployment, str]) -> None:
    tally, database_url = empty
    await tally.publish(*catalog())
    offset = await tally.put(None, event("near", "tokens#1"), HOME)
    assert home_of("near") == HOME
    await delete_records(tally, Topic.USAGE_EVENTS, HOME)
    code, _, said = await audit(*flags_of(tally.settings, database_url))
    assert code == 3
    assert f"Partition {HOME} of usage-events begins at offset {offset + 1}" in said
