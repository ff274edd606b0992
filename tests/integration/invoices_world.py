"""Invoices asked for over HTTP, and the rows that only other parts write: the closer's invoices, usage events."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import asyncpg
import httpx

from tests.integration.catalog_world import PLAN, SUBSCRIPTION, set_up
from tests.integration.running_gateway import RunningGateway, until

INVOICE: dict[str, Any] = {
    "id": "inv",
    "serviceId": "svc",
    "paymentPlanId": "plan",
    "userId": "user",
    "subscriptionId": "sub",
    "amount": "12.345678",
    "periodStart": "2026-01-01T00:00:00.000Z",
    "periodEnd": "2026-02-01T00:00:00.000Z",
}


async def set_up_two_services(gateway: RunningGateway) -> None:
    """A second service with a plan, and a second subscription of each service."""
    await set_up(gateway)
    await gateway.post("/services", {"id": "other", "name": "Other"})
    await gateway.post("/plans", {**PLAN, "id": "elsewhere", "serviceId": "other", "currency": "EUR"})
    await gateway.post("/subscriptions", {**SUBSCRIPTION, "id": "sub_2"})
    theirs = {"id": "theirs", "serviceId": "other", "paymentPlanId": "elsewhere", "userId": "user"}
    await gateway.post("/subscriptions", theirs)


async def close_period(gateway: RunningGateway, invoice_id: str, month: int, amount: int = 1) -> None:
    """Put an invoice of `sub` into Postgres as the closer does, for a month of 2026."""
    entry = (
        f'{{"id": "{invoice_id}", "serviceId": "svc", "userId": "user", "version": 1,'
        ' "transitions": [{"version": 1, "status": "OPEN", "at": null}]}'
    )
    await insert_invoice(gateway, invoice_id, month, amount)
    await execute(
        gateway, "INSERT INTO catalog_outbox (key, version, payload) VALUES ($1, 1, $2)", f"invoice/{invoice_id}", entry
    )


async def insert_invoice(
    gateway: RunningGateway, invoice_id: str, month: int, amount: int = 1, **columns: str | int
) -> None:
    """Put an invoice of `sub` into Postgres, and announce it nowhere."""
    row = {
        "id": invoice_id,
        "source": "CLOSER",
        "service_id": "svc",
        "payment_plan_id": "plan",
        "user_id": "user",
        "subscription_id": "sub",
        "status": "OPEN",
        "amount": amount,
        "currency": "USDC",
        "period_start": f"2026-{month:02d}-01",
        "period_end": f"2026-{month + 1:02d}-01",
        "sequence": 0,
        "digest": "digest",
        "log_partition": 0,
        **columns,
    }
    values = ", ".join(f"'{value}'" for value in row.values())
    await execute(gateway, f"INSERT INTO invoices ({', '.join(row)}) VALUES ({values})")


async def insert_lines(gateway: RunningGateway, *lines: tuple[Any, ...]) -> None:
    """Put lines into Postgres: invoice, meter, quantity, unit price, amount, number of events."""
    for line in lines:
        values = ", ".join("NULL" if value is None else f"'{value}'" for value in line)
        await execute(gateway, f"INSERT INTO invoice_lines VALUES ({values})")


async def project_events(gateway: RunningGateway, *offsets: int, **columns: str | int) -> None:
    """Put usage events of `sub` in January into Postgres as the projector does; the day of each is its offset."""
    fixed = {
        "service_id": "svc",
        "subscription_id": "sub",
        "user_id": "user",
        "event_key": "tokens#1",
        "meter": "tokens",
        "quantity": 1,
        "period_start": "2026-01-01",
        "period_end": "2026-02-01",
        "status": "RECORDED",
        "created_at": "2026-01-31",
        "updated_at": "2026-01-31",
        **columns,
    }
    occurred_at = fixed.pop("occurred_at", None)
    values = ", ".join(f"'{value}'" for value in fixed.values())
    rows = (f"('ue_0_{offset}', '{occurred_at or f'2026-01-{offset:02d}'}', {values})" for offset in offsets)
    names = f"id, occurred_at, {', '.join(fixed)}"
    await execute(gateway, f"INSERT INTO usage_events ({names}) VALUES {', '.join(rows)}")


async def after_waiting_for_sub(gateway: RunningGateway, *requests: Awaitable[httpx.Response]) -> list[httpx.Response]:
    """The answers to requests, each of which has had to wait for the subscription `sub` before any could go on."""
    owner, watcher = [await asyncpg.connect(gateway.settings.database_url) for _ in range(2)]

    async def all_wait() -> bool:
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(await watcher.fetchval(waiting) == len(requests))

    try:
        async with owner.transaction():
            await owner.execute("SELECT FROM subscriptions WHERE id = 'sub' FOR UPDATE")
            answers = asyncio.gather(*requests)
            await until(all_wait)
        return await answers
    finally:
        await owner.close()
        await watcher.close()


async def execute(gateway: RunningGateway, sql: str, *arguments: Any) -> None:
    """Run a statement as the owner of the tables."""
    connection = await asyncpg.connect(gateway.settings.database_url)
    try:
        await connection.execute(sql, *arguments)
    finally:
        await connection.close()
