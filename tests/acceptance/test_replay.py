"""A real trace through all of Tally, with processes killed on the way: the invoices are exact to the last digit."""

import asyncio
import csv
import io
import subprocess
import sys
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from tests.acceptance.running import SHARED_DATA, Running, eventually, tally, tally_up

TRACE = SHARED_DATA / "azure_llm_conv_2023.csv"
EVENTS = 58_098
SETTLE_SECONDS = 90

pytestmark = pytest.mark.skipif(not TRACE.exists(), reason=f"the trace {TRACE} is not on this machine")

Lines = dict[tuple[str, str, str], tuple[Decimal, int, Decimal]]


def expected_lines() -> Lines:
    """Quantity, events and amount by subscription, period and meter, from the program beside the trace."""
    printed = subprocess.run(
        [sys.executable, SHARED_DATA / "expected_invoices.py", TRACE], capture_output=True, text=True, check=True
    ).stdout
    return {
        (row["subscriptionId"], row["periodStart"], row["meter"]): (
            Decimal(row["quantity"]),
            int(row["events"]),
            Decimal(row["lineAmount"]),
        )
        for row in csv.DictReader(io.StringIO(printed))
    }


async def invoiced_lines(connection: Any) -> Lines:
    """The same from Postgres, summed over the sequences of each period."""
    rows = await connection.fetch(
        """SELECT subscription_id, to_char(period_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS start,
        meter, sum(quantity) AS quantity, sum(event_count) AS events, sum(line.amount) AS amount
        FROM invoice_lines line JOIN invoices ON invoices.id = invoice_id GROUP BY 1, 2, 3"""
    )
    return {
        (row["subscription_id"], row["start"], row["meter"]): (row["quantity"], int(row["events"]), row["amount"])
        for row in rows
    }


async def ledger_count(connection: Any, column: str) -> int:
    return int(await connection.fetchval(f"SELECT coalesce(sum({column}), 0) FROM ledger"))


async def kill_in_the_middle(running: Running, connection: Any, parts: list[str]) -> None:
    """SIGKILL each part once a part of the replay, and not all of it, has been counted."""
    for part in parts:
        counted = await ledger_count(connection, "received")

        async def more_is_counted(counted: int = counted) -> bool:
            return await ledger_count(connection, "received") > counted

        await eventually(more_is_counted)
        running.kill(part)
    assert await ledger_count(connection, "received") < EVENTS, "the kills came too late to prove anything"


async def assert_exact(connection: Any) -> None:
    expected = expected_lines()
    assert len({key[:2] for key in expected}) == 300
    assert await invoiced_lines(connection) == expected
    by_invoice: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for (subscription_id, start, _), (_, _, amount) in expected.items():
        by_invoice[subscription_id, start] += amount
    amounts = await connection.fetch(
        """SELECT subscription_id, to_char(period_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS start,
        sum(amount) AS amount FROM invoices GROUP BY 1, 2 HAVING sum(amount) <> 0"""
    )
    assert {(row["subscription_id"], row["start"]): row["amount"] for row in amounts} == by_invoice


async def test_replay_with_a_worker_and_a_closer_killed_in_the_middle_is_exact(tmp_path: Path) -> None:
    async with tally_up(tmp_path) as running:
        connection = await asyncpg.connect(running.target.database_url)
        replay = await asyncio.create_subprocess_exec(*tally("replay", "--data", str(tmp_path), str(TRACE)))
        await kill_in_the_middle(running, connection, ["aggregator", "closer", "projector"])
        assert await asyncio.wait_for(replay.wait(), SETTLE_SECONDS) == 0

        await assert_exact(connection)
        assert await ledger_count(connection, "accepted") == EVENTS
        received = await ledger_count(connection, "received")
        assert received == await ledger_count(connection, "accepted + duplicate + rejected + forwarded")
        await connection.close()


async def test_a_gateway_killed_in_the_middle_loses_nothing_and_a_restart_finds_all_of_it(tmp_path: Path) -> None:
    async with tally_up(tmp_path) as running:
        connection = await asyncpg.connect(running.target.database_url)
        replay = await asyncio.create_subprocess_exec(
            *tally("replay", "--data", str(tmp_path), "--via", "http", str(TRACE))
        )
        await kill_in_the_middle(running, connection, ["gateway"])
        assert await asyncio.wait_for(replay.wait(), SETTLE_SECONDS) == 0
        await assert_exact(connection)
        await connection.close()

    async with tally_up(tmp_path) as running:
        target = running.target
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {target.api_key}"}, verify=False) as client:
            invoices = (await client.get(f"{target.http}/api/v1/invoices?subscriptionId=sub_007&limit=100")).json()
        assert {invoice["periodStart"] for invoice in invoices["invoices"] if Decimal(invoice["amount"])} == {
            f"2026-0{month}-01T00:00:00.000Z" for month in (1, 2, 3)
        }
