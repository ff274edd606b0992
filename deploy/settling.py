"""Waiting until usage has become invoices, and showing them."""

import asyncio
import time
from decimal import Decimal
from typing import Any

import asyncpg

from deploy.progress import Progress
from schemas.errors import OperatorError

POLL_SECONDS = 0.3
TIMEOUT_SECONDS = 180.0

INVOICED_EVENTS = """
SELECT coalesce(sum(line.event_count), 0) FROM invoice_lines line JOIN invoices invoice ON invoice.id = line.invoice_id
WHERE invoice.source = 'CLOSER' AND invoice.subscription_id = any($1::text[])
"""

INVOICES = """
SELECT subscription_id, user_id, period_start, currency, sum(amount) AS amount, count(*) AS sequences
FROM invoices WHERE source = 'CLOSER' AND subscription_id = any($1::text[])
GROUP BY subscription_id, user_id, period_start, currency ORDER BY subscription_id, period_start
"""


class NotInvoiced(OperatorError):
    """Usage was not invoiced in time."""


async def wait_until_invoiced(database_url: str, subscription_ids: list[str], events: int) -> None:
    """Return once the invoices of the subscriptions hold so many events. Raises NotInvoiced."""
    progress = Progress("events invoiced", events)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    connection = await asyncpg.connect(database_url)
    try:
        while (invoiced := int(await connection.fetchval(INVOICED_EVENTS, subscription_ids))) < events:
            progress.set(invoiced)
            if time.monotonic() > deadline:
                raise NotInvoiced(f"Only {invoiced} of {events} events are invoiced; look at the logs and /metrics.")
            await asyncio.sleep(POLL_SECONDS)
        progress.set(invoiced)
    finally:
        await connection.close()
    progress.finish()


async def invoice_table(database_url: str, subscription_ids: list[str], rows_max: int = 40) -> str:
    """The invoices of the subscriptions as text, summed over the sequences of a period."""
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch(INVOICES, subscription_ids)
    finally:
        await connection.close()
    lines = [f"{'subscription':<14} {'user':<10} {'period':<8} {'amount':>18}  invoices"]
    lines += [_row(row) for row in rows[:rows_max]]
    if len(rows) > rows_max:
        lines.append(f"... and {len(rows) - rows_max} more")
    total = sum((row["amount"] for row in rows), Decimal(0))
    lines.append(f"{len(rows)} subscription-months, {total} in all")
    return "\n".join(lines)


def _row(row: Any) -> str:
    amount = f"{row['amount']} {row['currency']}"
    period = f"{row['period_start']:%Y-%m}"
    return f"{row['subscription_id']:<14} {row['user_id']:<10} {period:<8} {amount:>18}  {row['sequences']}"
