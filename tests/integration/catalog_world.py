"""A catalog of one service, one plan and one subscription."""

from typing import Any

from tests.integration.running_gateway import RunningGateway

SERVICE: dict[str, Any] = {"id": "svc", "name": "Service"}
PLAN: dict[str, Any] = {
    "id": "plan",
    "serviceId": "svc",
    "name": "Plan",
    "pricingType": "USAGE_BASED",
    "billingInterval": "MONTH",
    "unitPrices": {"tokens": "0.000000000001"},
}
SUBSCRIPTION: dict[str, Any] = {"id": "sub", "serviceId": "svc", "paymentPlanId": "plan", "userId": "user"}


async def set_up(gateway: RunningGateway, **subscription: Any) -> None:
    """Create all three, the subscription with these fields."""
    for path, body in (
        ("/services", SERVICE),
        ("/plans", PLAN),
        ("/subscriptions", {**SUBSCRIPTION, **subscription}),
    ):
        answer = await gateway.post(path, body)
        assert answer.status_code == 201, answer.text
