"""Postgres against the recount: running totals, and invoices of the periods that have closed."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import asyncpg

from tests.chaos.reading import Log
from tests.chaos.recount import TotalKey, Usage

MILLIONTH = Decimal("0.000001")

TOTALS = "SELECT subscription_id, period_start, meter, quantity, event_count FROM usage_totals"
LINES = """
SELECT subscription_id, period_start, meter, sum(line.quantity) AS quantity, sum(line.event_count) AS events,
    sum(line.amount) AS amount
FROM invoice_lines line JOIN invoices ON invoices.id = invoice_id WHERE source = 'CLOSER' GROUP BY 1, 2, 3
"""
INVOICES = """
SELECT subscription_id, period_start, count(*) AS sequences, max(sequence) AS newest, sum(amount) AS amount,
    sum((SELECT coalesce(sum(line.amount), 0) FROM invoice_lines line WHERE invoice_id = invoices.id)) AS of_lines
FROM invoices WHERE source = 'CLOSER' GROUP BY 1, 2
"""
HELD = "SELECT reason, detail FROM held_periods"


@dataclass
class Billing:
    """What is wrong, a sentence each, and how many invoices there are."""

    wrong: list[str] = field(default_factory=list)
    invoices: int = 0
    adjustments: int = 0


async def check_billing(connection: asyncpg.Connection, log: Log, totals: dict[TotalKey, Usage]) -> Billing:
    """Compare every total, line and amount. All that is due must be closed and written."""
    billing = Billing()
    found = {_total_key(row): (row["quantity"], row["event_count"]) for row in await connection.fetch(TOTALS)}
    for key in totals.keys() | found.keys():
        usage = totals.get(key, Usage())
        if found.get(key, (Decimal(0), 0)) != (usage.quantity, usage.events):
            billing.wrong.append(f"usage_totals of {key} is {found.get(key)} instead of {usage}")
    billing.wrong += [f"held: {row['reason']} {row['detail']}" for row in await connection.fetch(HELD)]
    lines = {_total_key(row): row for row in await connection.fetch(LINES)}
    invoices = {_period_key(row): row for row in await connection.fetch(INVOICES)}
    closed: defaultdict[tuple[str, str], dict[str, Usage]] = defaultdict(dict)
    for (subscription_id, start, meter), usage in totals.items():
        if log.periods.get((subscription_id, start), {}).get("closed"):
            closed[subscription_id, start][meter] = usage
    for period, meters in closed.items():
        _check_period(log, period, meters, lines, invoices.pop(period, None), billing)
    for period, row in invoices.items():
        if row["amount"] != 0:
            billing.wrong.append(f"{period} was invoiced and has no usage: {row['amount']}")
    return billing


def _check_period(
    log: Log, period: tuple[str, str], meters: dict[str, Usage], lines: dict[TotalKey, Any], row: Any, billing: Billing
) -> None:
    plan = _plan(log, period[0])
    if plan["invoicing"] == "MANUAL":
        if row is not None:
            billing.wrong.append(f"{period} is invoiced by hand, and the closer wrote {row['sequences']} invoices")
        return
    if row is None:
        if any(usage.events for usage in meters.values()):
            billing.wrong.append(f"{period} has closed and has no invoice")
        return
    billing.invoices += row["sequences"]
    billing.adjustments += row["sequences"] - 1
    if row["newest"] != row["sequences"] - 1:
        billing.wrong.append(f"{period} has {row['sequences']} invoices, and the newest is number {row['newest']}")
    if plan["pricingType"] == "FIXED_RECURRING":
        if row["amount"] != Decimal(plan["amount"]):
            billing.wrong.append(f"{period} was invoiced {row['amount']} instead of {plan['amount']}")
        return
    expected = {meter: _amount(plan, meter, usage.quantity) for meter, usage in meters.items()}
    if row["amount"] != sum(expected.values()) or row["amount"] != row["of_lines"]:
        billing.wrong.append(f"{period} was invoiced {row['amount']} instead of {sum(expected.values())}")
    for meter, usage in meters.items():
        line = lines.get((*period, meter))
        found = (Decimal(0), 0, Decimal(0)) if line is None else (line["quantity"], line["events"], line["amount"])
        if found != (usage.quantity, usage.events, expected[meter]):
            billing.wrong.append(f"{period} {meter} was billed {found} instead of {usage}, {expected[meter]}")


def _plan(log: Log, subscription_id: str) -> dict[str, Any]:
    whose = log.catalog[f"subscription/{subscription_id}"][-1].document
    assert whose is not None
    plan = log.catalog[f"plan/{whose['paymentPlanId']}"][-1].document
    assert plan is not None
    return plan


def _amount(plan: dict[str, Any], meter: str, quantity: Decimal) -> Decimal:
    price = Decimal(plan["unitPrices"].get(meter, plan["amount"]))
    return (quantity * price).quantize(MILLIONTH, ROUND_HALF_EVEN)


def _total_key(row: Any) -> TotalKey:
    return (*_period_key(row), row["meter"])


def _period_key(row: Any) -> tuple[str, str]:
    start: datetime = row["period_start"]
    return row["subscription_id"], f"{start:%Y-%m-%dT%H:%M:%S}.000Z"
