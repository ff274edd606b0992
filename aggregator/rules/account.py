"""An account: a subscription with what deciding and closing need to know of its service and plan."""

from dataclasses import dataclass, field
from typing import Protocol

from schemas.billing_period import BillingInterval, BillingPeriod, Calendar
from schemas.invoice import CatalogInvoice
from schemas.plan import Plan
from schemas.service import Service
from schemas.subscription import Subscription, SubscriptionStatus

SECOND_MS = 1_000


@dataclass(slots=True)
class Account:
    """A subscription, its service, its plans by their ids, and the calendar of its billing periods."""

    subscription: Subscription
    service: Service
    plans: dict[str, Plan]
    calendar: Calendar
    is_always_active: bool = field(init=False)
    """Whether its status was and is ACTIVE, whatever the time of a request: so for nearly all of them."""

    def __post_init__(self) -> None:
        transitions = self.subscription.transitions
        self.is_always_active = len(transitions) == 1 and transitions[0].status == SubscriptionStatus.ACTIVE

    @classmethod
    def of(cls, subscription: Subscription, service: Service, *plans: Plan) -> "Account":
        """The account of a subscription and of every plan that it names; the calendar follows from its anchor, zone and
        the interval that all its plans have."""
        calendar = Calendar(subscription.billing_anchor, plans[0].billing_interval, subscription.time_zone)
        return cls(subscription, service, {plan.id: plan for plan in plans}, calendar)

    def plan_of(self, period: BillingPeriod) -> Plan:
        """The plan by which a period is billed, and every adjustment of it."""
        return self.plans[self.subscription.plan_id_at(period.start)]

    def is_of(self, service_id: str, user_id: str) -> bool:
        """Whether the subscription belongs to both the service and the user (contract rule 1)."""
        subscription = self.subscription
        return subscription.service_id == service_id and subscription.user_id == user_id

    def grace_ms(self, default_seconds: int) -> int:
        """How long a period must have been quiet before it closes."""
        seconds = self.service.grace_period_seconds
        return (default_seconds if seconds is None else seconds) * SECOND_MS

    @property
    def closes(self) -> bool:
        """Whether its periods ever close: those of interval NONE do not."""
        return self.plans[self.subscription.payment_plan_id].billing_interval is not BillingInterval.NONE

    def first_period(self) -> BillingPeriod:
        """The period in which the subscription came to be."""
        return self.calendar.period_at(self.subscription.began_at)

    def has_period(self, period: BillingPeriod) -> bool:
        """Whether a period overlaps the subscription's life, so that it is invoiced even without usage."""
        return self.subscription.overlaps(period)

    def is_first_under_its_plan(self, period: BillingPeriod) -> bool:
        """Whether a period is the first one of the subscription's life under its plan, the one that ONE_TIME charges: a
        plan that comes back is not charged again."""
        return self.subscription.is_first_under_its_plan(period, self.first_period())


class Catalog(Protocol):
    """What rules ask of the catalog; None where it holds no such id."""

    def service(self, service_id: str) -> Service | None:
        """The service of an id."""

    def account(self, subscription_id: str) -> Account | None:
        """The account of a subscription's id."""

    def invoice(self, invoice_id: str) -> CatalogInvoice | None:
        """The invoice of an id."""
