"""A plan with every model of price, from events over HTTP to the invoices in Postgres, adjusted and taken back."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aggregator.closer.job import Closer
from aggregator.settings import CloserSettings
from tests.integration.catalog_world import PLAN, SUBSCRIPTION
from tests.integration.deciding_world import DecidingWorld, deciding
from tests.integration.running_gateway import until
from tests.integration.stream_world import working

PRICES: dict[str, Any] = {
    "call": {"model": "PER_UNIT", "included": "10", "unitPrice": "0.25"},
    "gigabyte": {"model": "PACKAGE", "included": "50", "unitPrice": "5", "packageSize": "100"},
    "image": {"model": "VOLUME", "tiers": [{"upTo": "10", "unitPrice": "3"}, {"unitPrice": "2"}]},
    "token": {
        "model": "GRADUATED",
        "tiers": [{"upTo": "1000", "unitPrice": "0.01", "flatAmount": "2"}, {"unitPrice": "0.005"}],
    },
}

Lines = list[tuple[str, str, str | None, str]]
"""Meter, quantity, unit price and amount of each line."""


@pytest.fixture
async def world(
    kafka_bootstrap: str, database_url: str, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[DecidingWorld]:
    settings = {"kafka": kafka_bootstrap, "database_url": database_url, "topic_prefix": topic_prefix}
    async with (
        deciding(kafka_bootstrap, database_url, topic_prefix, tmp_path) as opened,
        opened.projecting(),
        working(Closer(CloserSettings.model_validate(settings)).run),
        opened.tally.worker(TALLY_GRACE_SECONDS="2"),
    ):
        await opened.can_wait()
        yield opened


async def record(world: DecidingWorld, **quantities: str) -> list[dict[str, Any]]:
    """Events of January in one batch, by key."""
    fixed = {"serviceId": "svc", "subscriptionId": "priced", "userId": "user", "occurredAt": "2026-01-31T00:00:00Z"}
    events = [{**fixed, "eventKey": key, "quantity": quantity} for key, quantity in quantities.items()]
    answer = await world.post("/usage-events/batch", {"usageEvents": events})
    return [result["usageEvent"] for result in answer.json()["results"]]


async def invoiced(world: DecidingWorld, sequence: int) -> tuple[str, Lines]:
    """Amount and lines of an invoice of January, once it is there."""
    found: dict[int, Any] = {}

    async def is_there() -> bool:
        answer = await world.gateway.get("/invoices", subscriptionId="priced")
        found.update({invoice["sequence"]: invoice for invoice in answer.json()["invoices"]})
        return sequence in found

    await until(is_there)
    lines = found[sequence]["lines"]
    return found[sequence]["amount"], [(r["meter"], r["quantity"], r["unitPrice"], r["amount"]) for r in lines]


async def test_a_plan_with_every_model_is_billed_adjusted_and_credited(world: DecidingWorld) -> None:
    """| meter    | total  | price of the total                              | sequence |
    | call     |   14   | 4 x 0.25                             =  1       | 0        |
    | gigabyte |  120.5 | 1 package of 5                       =  5       | 0        |
    | image    |    8   | 8 x 3                                = 24       | 0        |
    | token    | 1500   | 1000 x 0.01 + 2 + 500 x 0.005        = 14.5     | 0: 44.5  |
    | gigabyte |  200.5 | 2 packages of 5                      = 10, + 5  | 1        |
    | image    |   11   | 11 x 2                               = 22, - 2  | 1        |
    | token    | 1600   | 1000 x 0.01 + 2 + 600 x 0.005        = 15, + .5 | 1: 3.5   |
    | token    |  100   | 100 x 0.01 + 2                       =  3, - 12 | 2: -12   |
    """
    assert (await world.gateway.post("/plans", {**PLAN, "id": "priced", "unitPrices": {}, "prices": PRICES})).is_success
    subscription = {**SUBSCRIPTION, "id": "priced", "paymentPlanId": "priced", "billingAnchor": "2026-01-01T00:00:00Z"}
    assert (await world.gateway.post("/subscriptions", subscription)).is_success

    first = await record(world, **{"call#1": "14", "gigabyte#1": "120.5", "image#1": "8", "token#1": "1500"})
    assert await invoiced(world, 0) == (
        "44.500000",
        [
            ("call", "14.000000", "0.250000000000", "1.000000"),
            ("gigabyte", "120.500000", "5.000000000000", "5.000000"),
            ("image", "8.000000", "3.000000000000", "24.000000"),
            ("token", "1500.000000", None, "14.500000"),
        ],
    )
    await record(world, **{"gigabyte#2": "80", "image#2": "3", "token#2": "100"})
    assert await invoiced(world, 1) == (
        "3.500000",
        [
            ("gigabyte", "80.000000", "5.000000000000", "5.000000"),
            ("image", "3.000000", "2.000000000000", "-2.000000"),
            ("token", "100.000000", None, "0.500000"),
        ],
    )
    voided = await world.post(f"/usage-events/{first[3]['id']}/void", {"reason": "a mistake"})
    assert voided.json()["usageEvent"]["status"] == "VOIDED"
    assert await invoiced(world, 2) == ("-12.000000", [("token", "-1500.000000", None, "-12.000000")])

    answer = await world.gateway.get("/subscriptions/priced/usage", to="2026-02-01T00:00:00Z")
    (january,) = answer.json()["periods"]
    assert january["amount"] == "36.000000"  # 44.5 + 3.5 - 12
    assert [(total["meter"], total["amount"]) for total in january["totals"]] == [
        ("call", "1.000000"),
        ("gigabyte", "10.000000"),
        ("image", "22.000000"),
        ("token", "3.000000"),
    ]
