"""Which invoices have a webhook, and what the sender makes of a receiver's answers."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import asyncpg
import httpx
import pytest

from aggregator.insights.deliveries import Failure, mark, tidy, turn_off, turn_on
from aggregator.insights.sending import ROLE, Sender
from aggregator.rules.retrying import ATTEMPTS_MAX
from aggregator.settings import InsightsSettings
from aggregator.stream.database import connected
from ingest.gateway.invoice_views import invoice_views
from tests.integration.closer_world import World, calls, period
from tests.integration.webhook_receiver import SECRET, Receiver, receiving

Send = Callable[[], Any]

INVOICE = """
INSERT INTO invoices (id, source, service_id, payment_plan_id, user_id, status, amount, currency, due_at)
VALUES ($1, 'MANUAL', 'svc_1', 'plan_1', 'user_1', $2, 5.25, 'USDC', '2026-03-01T00:00:00.1239Z')
"""
DUE = "UPDATE webhook_deliveries SET next_attempt_at = now()"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as opened:
        yield opened


@pytest.fixture
async def send(database_url: str, database: asyncpg.Connection, receiver: Receiver) -> AsyncIterator[Send]:
    """Sends what is due, once, with a sender for which webhooks are on."""
    settings = InsightsSettings(
        database_url=database_url, webhook_secret=SECRET, webhook_url=receiver.url, webhook_timeout_seconds=2
    )
    async with connected(database_url, ROLE) as connection, httpx.AsyncClient(timeout=None, trust_env=False) as client:
        await turn_on(connection)
        sender = Sender(settings)
        yield lambda: sender.send_due(connection, client)


async def issue(database: asyncpg.Connection, invoice_id: str, status: str = "OPEN") -> None:
    await database.execute(INVOICE, invoice_id, status)


async def invoice_ids(database: asyncpg.Connection) -> list[str]:
    return [row["invoice_id"] for row in await database.fetch("SELECT invoice_id FROM webhook_deliveries ORDER BY 1")]


async def test_each_invoice_has_one_webhook_when_it_is_issued_whoever_issues_it(database: asyncpg.Connection) -> None:
    await turn_on(database)
    await database.execute("SET ROLE tally_gateway")
    await issue(database, "made_open")
    await issue(database, "made_as_draft", "DRAFT")
    await database.execute("RESET ROLE")
    assert await invoice_ids(database) == ["made_open"]
    await database.execute("SET ROLE tally_gateway")
    await database.execute("UPDATE invoices SET status = 'OPEN'")
    await database.execute("UPDATE invoices SET status = 'PAID'")
    await database.execute("RESET ROLE")
    assert await invoice_ids(database) == ["made_as_draft", "made_open"]


async def test_invoices_of_the_closer_have_webhooks_once_however_often_it_reads_them(world: World) -> None:
    await turn_on(world.database)
    await world.close_periods(period(f"sub_{number}", calls(number)) for number in range(1, 6))
    await world.run_closer()
    await world.stream.rewind()
    await world.run_closer()
    issued = await world.rows("SELECT id FROM invoices ORDER BY id")
    assert len(issued) == 5
    assert [(id_,) for id_ in await invoice_ids(world.database)] == issued


async def test_without_a_receiver_there_is_nothing_to_deliver(database: asyncpg.Connection) -> None:
    await issue(database, "before")
    await turn_on(database)
    await turn_off(database)
    await issue(database, "after")
    assert await invoice_ids(database) == []


async def test_a_webhook_shows_the_invoice_as_the_gateway_does_but_for_what_explains_its_lines(
    world: World, send: Send, receiver: Receiver
) -> None:
    await world.close_periods([period("sub_1", calls(3))])
    await world.run_closer()
    await issue(world.database, "made by hand")
    assert await send() == 2
    shown = await invoice_views(world.database, await world.database.fetch("SELECT * FROM invoices"))
    sent = {received.document["data"]["invoice"]["id"]: received for received in receiver.of("invoice.issued")}
    assert len(sent) == 2
    for view in shown:
        received = sent[view.id]
        assert received.is_signed()
        explaining = {"lines": {"__all__": {"price", "charged_before"}}}
        expected = view.model_dump(by_alias=True, mode="json", exclude=explaining)
        assert received.document["data"]["invoice"] == expected
        assert received.document["timestamp"] == view.created_at


async def test_lines_are_left_out_where_there_are_more_than_a_thousand(
    database: asyncpg.Connection, send: Send, receiver: Receiver
) -> None:
    for invoice_id, lines in (("inv_1", 1_000), ("inv_2", 1_001)):
        await issue(database, invoice_id)
        await database.execute(
            "INSERT INTO invoice_lines SELECT $1, 'm' || n, 1, 1, 1, 1 FROM generate_series(1, $2::int) AS n",
            invoice_id,
            lines,
        )
    await send()
    sent = {r.document["data"]["invoice"]["id"]: r.document["data"]["invoice"]["lines"] for r in receiver.received}
    assert len(sent["inv_1"]) == 1_000
    assert sent["inv_2"] is None


async def test_a_receiver_that_fails_is_tried_again_under_the_same_id(
    database: asyncpg.Connection, send: Send, receiver: Receiver
) -> None:
    await issue(database, "inv_1")
    receiver.answers.extend([500, 307])
    assert await send() == 1
    assert await send() == 0  # it is not due yet
    wait = await database.fetchval("SELECT extract(epoch FROM next_attempt_at - now()) FROM webhook_deliveries")
    assert 0 < wait < 6.25  # 5 s and a quarter
    for _ in range(2):
        await database.execute(DUE)
        assert await send() == 1
    await database.execute(DUE)
    assert await send() == 0  # it is delivered
    first, second, third = receiver.received
    assert first.id == second.id == third.id
    assert third.is_signed()
    row = await database.fetchrow("SELECT attempts, last_error, parked_at, delivered_at FROM webhook_deliveries")
    assert row is not None
    assert (row["attempts"], row["last_error"], row["parked_at"]) == (3, None, None)
    assert row["delivered_at"] is not None


async def test_a_receiver_that_says_nothing_is_given_up_in_time_and_holds_up_no_other(
    database: asyncpg.Connection, send: Send, receiver: Receiver
) -> None:
    receiver.hold()
    for number in range(3):
        await issue(database, f"inv_{number}")
    assert await send() == 3
    errors = await database.fetch("SELECT DISTINCT last_error FROM webhook_deliveries")
    assert [row["last_error"] for row in errors] == ["no answer within 2 s"]


async def test_an_answer_without_an_end_is_a_success_by_its_status(
    database: asyncpg.Connection, send: Send, receiver: Receiver
) -> None:
    receiver.is_endless = True
    receiver.answers.append(200)
    await issue(database, "inv_1")
    assert await send() == 1
    row = await database.fetchrow("SELECT delivered_at IS NULL AS waits, last_error FROM webhook_deliveries")
    assert row is not None
    assert (row["waits"], row["last_error"]) == (False, None)


async def test_a_webhook_whose_invoice_is_gone_says_so_and_is_given_up_like_any_other(
    database: asyncpg.Connection, send: Send, receiver: Receiver
) -> None:
    await issue(database, "inv_1")
    await database.execute("DELETE FROM invoices")
    await database.execute("UPDATE webhook_deliveries SET attempts = $1", ATTEMPTS_MAX - 1)
    await send()
    error = await database.fetchval("SELECT last_error FROM webhook_deliveries WHERE parked_at IS NOT NULL")
    assert error == "its invoice is no longer in the table invoices"
    assert receiver.received == []


@pytest.mark.parametrize("delivered_first", [True, False])
async def test_what_one_of_two_senders_has_delivered_is_delivered_whatever_the_other_one_met(
    database: asyncpg.Connection, database_url: str, send: Send, delivered_first: bool
) -> None:
    """Both have it where the claim of one ran out while it was stopped."""
    await issue(database, "inv_1")
    webhook_id = str(await database.fetchval("SELECT id FROM webhook_deliveries"))
    given_up = Failure(webhook_id, None, "answered with status 503")
    async with connected(database_url, ROLE) as connection:
        for delivered in (delivered_first, not delivered_first):
            await mark(connection, [webhook_id] if delivered else [], [] if delivered else [given_up])
    row = await database.fetchrow("SELECT delivered_at IS NULL AS waits, parked_at, last_error FROM webhook_deliveries")
    assert row is not None
    assert (row["waits"], row["parked_at"], row["last_error"]) == (False, None, None)


async def test_what_is_given_up_waits_for_a_person_who_sends_it_again(
    database: asyncpg.Connection, send: Send, receiver: Receiver
) -> None:
    await issue(database, "inv_1")
    await database.execute(f"{DUE}, attempts = $1", ATTEMPTS_MAX - 1)
    receiver.answers.append(503)
    await send()
    await database.execute(DUE)
    assert await send() == 0
    parked = await database.fetchrow("SELECT * FROM webhook_deliveries WHERE parked_at IS NOT NULL")
    assert parked is not None
    assert parked["last_error"] == "answered with status 503"
    # docs/operations.md
    await database.execute(
        "UPDATE webhook_deliveries SET parked_at = NULL, attempts = 0, next_attempt_at = now() "
        "WHERE parked_at IS NOT NULL"
    )
    assert await send() == 1
    assert len(receiver.received) == 2


async def test_of_two_senders_each_takes_others(
    database: asyncpg.Connection, database_url: str, send: Send, receiver: Receiver
) -> None:
    await issue(database, "inv_1")
    other = await asyncpg.connect(database_url)
    try:
        async with other.transaction():
            await other.execute("SELECT FROM webhook_deliveries FOR UPDATE")
            assert await send() == 0
        assert await send() == 1
    finally:
        await other.close()


async def test_delivered_webhooks_are_forgotten_after_a_week_and_others_never(
    database: asyncpg.Connection, database_url: str, send: Send
) -> None:
    for invoice_id in ("old", "young", "waiting"):
        await issue(database, invoice_id)
    await database.execute("UPDATE webhook_deliveries SET created_at = now() - interval '30 days'")
    await database.execute(
        "UPDATE webhook_deliveries SET delivered_at = now() - CASE invoice_id WHEN 'old' THEN interval '8 days' "
        "ELSE interval '6 days' END WHERE invoice_id <> 'waiting'"
    )
    async with connected(database_url, ROLE) as connection:
        await tidy(connection)
    assert await invoice_ids(database) == ["waiting", "young"]
