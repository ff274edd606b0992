"""Who uses what in a campaign: services of each key scope, plans of each kind, subscriptions; and their usage, seeded.

Billing periods are months that begin on the 1st or the 15th, so that the recount can find them with three lines.
"""

import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.chaos.journal import Event, Journal

SERVICES: list[dict[str, Any]] = [
    {"id": "svc_pair", "name": "Once a subscription"},
    {"id": "svc_period", "name": "Once a period", "eventKeyScope": "PERIOD"},
    {"id": "svc_event", "name": "Once an event id", "eventKeyScope": "EVENT"},
]
PRICES = {"call": "0.003", "token": "0.000015", "byte": "0.0000007"}
ANCHORS = ("2025-01-01T00:00:00Z", "2025-01-15T00:00:00Z")

HOT_SECONDS = 5.0
"""Usage dwells on a past month for so long; then it falls quiet and closes, and what still comes is late."""
MONTHS = 8


def _plan(service: str, name: str, **fields: Any) -> dict[str, Any]:
    plan = {"id": f"{service}_{name}", "serviceId": service, "name": name, "billingInterval": "MONTH", **fields}
    return {"pricingType": "USAGE_BASED", "amount": "0.25", "unitPrices": PRICES} | plan


PLANS = [
    *(_plan(service["id"], "usage") for service in SERVICES),
    _plan("svc_pair", "manual", invoicing="MANUAL"),
    _plan("svc_pair", "flat", pricingType="FIXED_RECURRING", amount="49", unitPrices={}),
]

_KINDS = (
    *(("svc_pair", "usage", 10), ("svc_pair", "flat", 3), ("svc_pair", "manual", 2)),
    *(("svc_period", "usage", 5), ("svc_event", "usage", 5), ("svc_pair", "cancelled", 3)),
)


def subscription(number: int, service: str, plan: str, name: str = "sub") -> dict[str, Any]:
    """A subscription as it is created over HTTP."""
    return {
        "id": f"{name}_{number:03d}",
        "serviceId": service,
        "paymentPlanId": f"{service}_{plan}",
        "userId": f"user_{number % 17:02d}",
        "billingAnchor": ANCHORS[number % 2],
    }


def subscriptions() -> list[dict[str, Any]]:
    """Those that are there from the beginning."""
    kinds = [(service, plan) for service, plan, count in _KINDS for _ in range(count)]
    return [
        subscription(number, service, "usage" if plan == "cancelled" else plan, f"sub_{plan}")
        for number, (service, plan) in enumerate(kinds)
    ]


class Usage:
    """Events without end, whose keys no other seed uses. Repeats depend on what the clients were told."""

    def __init__(self, seed: int, journal: Journal) -> None:
        self._chance = random.Random(seed)
        self._seed = seed
        self._journal = journal
        self._number = 0
        self._begun = time.monotonic()
        self.subscriptions = subscriptions()

    def next(self) -> tuple[Event, bool]:
        """The next event to send, and whether it is sent again because its outcome is unknown."""
        chance, journal = self._chance, self._journal
        if journal.unsettled and chance.random() < 0.3:
            return journal.unsettled.popleft(), True
        if journal.recent and chance.random() < 0.08:
            event = dict(chance.choice(journal.recent).event)
            if chance.random() < 0.4:
                event["quantity"] = self._quantity()
            return event, False
        event = self._fresh()
        kind = chance.random()
        if kind < 0.02:
            event["quantity"] = chance.choice(["-1", "NaN", "1e99", "1.1234567", True, None])
        elif kind < 0.03:
            event["userId"] = "somebody_else"
        elif kind < 0.04:
            event["subscriptionId"] = "sub_of_nobody"
        return event, False

    def _fresh(self) -> Event:
        chance = self._chance
        self._number += 1
        whose = chance.choice(self.subscriptions)
        event: Event = {
            "serviceId": whose["serviceId"],
            "subscriptionId": whose["id"],
            "userId": whose["userId"],
            "eventKey": f"{chance.choice(list(PRICES))}#{self._seed}-{self._number}",
            "quantity": self._quantity(),
        }
        if whose["serviceId"] == "svc_event":
            event["eventId"] = f"id-{self._seed}-{self._number}"
            event["eventKey"] = f"{chance.choice(list(PRICES))}#{self._number % 50}"
        if chance.random() < 0.9:
            event["occurredAt"] = self._occurred_at().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return event

    def _quantity(self) -> str:
        return f"{self._chance.randrange(1, 500)}.{self._chance.randrange(10**6):06d}"

    def _occurred_at(self) -> datetime:
        hot = int((time.monotonic() - self._begun) / HOT_SECONDS) % MONTHS
        month = hot if self._chance.random() < 0.9 else self._chance.randrange(MONTHS)
        days = self._chance.randrange(28 * 24 * 3600)
        return datetime(2026, 1, 15, tzinfo=UTC) + timedelta(
            days=28 * month, seconds=days, milliseconds=self._number % 1000
        )
