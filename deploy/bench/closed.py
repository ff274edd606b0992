"""Deterministic closed periods for the benchmark of the closer, with their invoices worked out on the way.

Quantities are whole and prices have at most 6 decimals, so every amount is a product of integers and nothing rounds.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from schemas.billing_period import BillingInterval
from schemas.closed_period import ClosedLine, ClosedPeriod
from schemas.plan import Plan, PricingType
from schemas.timestamps import parse_timestamp
from schemas.topics import partition_of

MILLION: Final = 10**6
SERVICES: Final = 20
PRICE_TEXTS: Final = ("0.000015", "0.25", "3")
PRICES: Final = (15, 250_000, 3 * MILLION)
"""The same in millionths. A meter has the price of its number, counted round."""

START: Final = parse_timestamp("2026-01-01T00:00:00.000Z")
END: Final = parse_timestamp("2026-02-01T00:00:00.000Z")

Row = tuple[str, str, str | None, str | None, str | None, int | None]
"""Subscription and amount of an invoice; meter, quantity, amount and number of events of one of its lines."""


@dataclass(frozen=True)
class ClosedWorkload:
    """How many periods, with how many lines each. The same seed gives the same bytes."""

    periods: int
    lines: int
    partitions: int
    seed: int


@dataclass
class ExpectedInvoices:
    """What must stand in Postgres, a row for each line, as the generator works it out."""

    rows: set[Row] = field(default_factory=set)


def closed_records(workload: ClosedWorkload, expected: ExpectedInvoices) -> Iterator[tuple[int, bytes, bytes]]:
    """Partition, key and value of each record of `closed-periods`."""
    chance = random.Random(workload.seed)  # noqa: S311 - repeatable, not secret
    plans = [_plan(number, workload.lines) for number in range(SERVICES)]
    for number in range(workload.periods):
        quantities = [chance.randrange(1, 100_000) for _ in range(workload.lines)]
        closed = _closed(number, plans[number % SERVICES], quantities)
        expected.rows.update(_rows(closed.subscription_id, quantities))
        partition = partition_of(closed.subscription_id, workload.partitions)
        for key, value in closed.records():
            yield partition, key, value


def _meter(number: int) -> str:
    return f"meter_{number:03d}"


def _plan(number: int, meters: int) -> Plan:
    return Plan.model_validate(
        {
            "id": f"plan-{number:03d}",
            "serviceId": f"svc-{number:03d}",
            "name": "bench",
            "pricingType": PricingType.USAGE_BASED,
            "billingInterval": BillingInterval.MONTH,
            "unitPrices": {_meter(meter): PRICE_TEXTS[meter % len(PRICE_TEXTS)] for meter in range(meters)},
        }
    )


def _closed(number: int, plan: Plan, quantities: list[int]) -> ClosedPeriod:
    lines = [ClosedLine(_meter(m), quantity * MILLION, 1 + m) for m, quantity in enumerate(quantities)]
    return ClosedPeriod(
        *(f"sub-{number:08d}", plan.service_id, f"user-{number:08d}", plan, START, END),
        sequence=0,
        lines=tuple(lines),
        first_offset=number,
        last_offset=number + 100,
    )


def _rows(subscription_id: str, quantities: list[int]) -> Iterator[Row]:
    amounts = [quantity * PRICES[number % len(PRICES)] for number, quantity in enumerate(quantities)]
    total = _text(sum(amounts))
    if not quantities:
        yield subscription_id, total, None, None, None, None
    for number, (quantity, amount) in enumerate(zip(quantities, amounts, strict=True)):
        yield subscription_id, total, _meter(number), f"{quantity}.000000", _text(amount), 1 + number


def _text(millionths: int) -> str:
    return f"{millionths // MILLION}.{millionths % MILLION:06d}"
