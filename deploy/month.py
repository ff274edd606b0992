"""A seeded month of usage of an AI API: a service, three plans, subscribers large and small, and what they used."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

from deploy.sending import Api, Event
from schemas.decimals import decimal_text
from schemas.timestamps import DAY_MS, milliseconds, timestamp_text

START = milliseconds(datetime(2026, 1, 1, tzinfo=UTC))
DAYS = 31
SUBSCRIPTIONS = 24
SERVICE = {"id": "svc_llm", "name": "LLM API", "gracePeriodSeconds": 5}
PLANS: list[dict[str, Any]] = [
    {
        "id": "plan_pay_as_you_go",
        "serviceId": "svc_llm",
        "name": "Pay as you go",
        "pricingType": "USAGE_BASED",
        "billingInterval": "MONTH",
        "unitPrices": {
            "token_consumed": "0.000003",
            "token_generated": "0.000015",
            "api_request": "0.0002",
            "storage_gigabyte": "0.021",
        },
    },
    {
        "id": "plan_volume",
        "serviceId": "svc_llm",
        "name": "Volume",
        "pricingType": "USAGE_BASED",
        "billingInterval": "MONTH",
        "unitPrices": {"token_consumed": "0.0000021", "token_generated": "0.0000105", "api_request": "0"},
        "amount": "0.02",
    },
    {
        "id": "plan_flat",
        "serviceId": "svc_llm",
        "name": "Flat",
        "pricingType": "FIXED_RECURRING",
        "billingInterval": "MONTH",
        "amount": "49",
    },
]


def subscriptions() -> list[dict[str, Any]]:
    """The subscriptions, as they are created over HTTP. Every sixth is flat, every third of the others has volume."""
    return [
        {
            "id": f"sub_{number:02d}",
            "serviceId": SERVICE["id"],
            "paymentPlanId": PLANS[2 if number % 6 == 5 else 1 if number % 3 == 1 else 0]["id"],
            "userId": f"user_{number % 20:02d}",
            "billingAnchor": timestamp_text(START),
        }
        for number in range(SUBSCRIPTIONS)
    ]


async def create_catalog(api: Api) -> None:
    """Create service, plans and subscriptions; what exists already is fine."""
    await api.create("/services", [SERVICE])
    await api.create("/plans", PLANS)
    await api.create("/subscriptions", subscriptions())


def usage(seed: int, requests: int) -> Iterator[Event]:
    """The month's usage: three events a request, and once a day the gigabytes each subscription stores."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    subscribers = subscriptions()
    for number in range(requests):
        subscriber = subscribers[min(int(chance.expovariate(5 / SUBSCRIPTIONS)), SUBSCRIPTIONS - 1)]
        at = START + chance.randrange(DAYS * DAY_MS)
        yield from _request(subscriber, f"req-{number}", at, chance)
    for day in range(DAYS):
        for subscriber in subscribers:
            gigabytes = chance.randrange(1, 40_000_000)
            at = START + day * DAY_MS + DAY_MS // 2
            yield _event(subscriber, f"storage_gigabyte#day-{day}", decimal_text(gigabytes), at)


def usage_of_now(seed: int, run: str) -> Iterator[Event]:
    """Usage without end that occurs when it is sent; `run` keeps its keys apart from another's."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    subscribers = subscriptions()
    for number in count():
        yield from _request(chance.choice(subscribers), f"{run}-{number}", None, chance)


def _request(subscriber: dict[str, Any], name: str, at: int | None, chance: random.Random) -> Iterator[Event]:
    yield _event(subscriber, f"api_request#{name}", "1", at)
    yield _event(subscriber, f"token_consumed#{name}", str(int(chance.lognormvariate(6.5, 1.1))), at)
    yield _event(subscriber, f"token_generated#{name}", str(int(chance.lognormvariate(5.0, 0.9))), at)


def _event(subscriber: dict[str, Any], key: str, quantity: str, at: int | None) -> Event:
    event = {
        "serviceId": subscriber["serviceId"],
        "subscriptionId": subscriber["id"],
        "userId": subscriber["userId"],
        "eventKey": key,
        "quantity": quantity,
    }
    return event if at is None else {**event, "occurredAt": timestamp_text(at)}
