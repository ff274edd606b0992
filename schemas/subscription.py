"""A subscription: a user's agreement with a service under a plan."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from schemas.billing_period import BillingPeriod, UnknownTimeZone, time_zone
from schemas.catalog import Transition, WireModel, dated, status_at
from schemas.text import OptionalText, Text
from schemas.timestamps import Anchor, OptionalAnchor, Timestamp, timestamp_text


class SubscriptionStatus(StrEnum):
    """Usage is accepted while ACTIVE (contract rule 2)."""

    ACTIVE = "ACTIVE"
    PAST_DUE = "PAST_DUE"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


_S = SubscriptionStatus

SUBSCRIPTION_TRANSITIONS: dict[SubscriptionStatus, frozenset[SubscriptionStatus]] = {
    _S.ACTIVE: frozenset({_S.PAST_DUE, _S.CANCELLED, _S.EXPIRED}),
    _S.PAST_DUE: frozenset({_S.ACTIVE, _S.CANCELLED, _S.EXPIRED}),
    _S.CANCELLED: frozenset(),
    _S.EXPIRED: frozenset(),
}

FINAL_STATUSES = frozenset(status for status, following in SUBSCRIPTION_TRANSITIONS.items() if not following)


def _known_zone(name: str) -> str:
    try:
        time_zone(name)
    except UnknownTimeZone:
        raise PydanticCustomError("field_invalid", "must be an IANA time zone, such as Europe/Berlin") from None
    return name


TimeZone = Annotated[
    Text,
    AfterValidator(_known_zone),
    WithJsonSchema({"type": "string", "format": "time-zone", "description": "An IANA time zone.", "maxLength": 255}),
]


class NewSubscription(WireModel):
    """A subscription as a caller asks for it; without an id, Tally chooses one."""

    id: OptionalText = None
    service_id: Text
    payment_plan_id: Text
    user_id: Text
    status: SubscriptionStatus = SubscriptionStatus.ACTIVE
    billing_anchor: OptionalAnchor = None
    time_zone: TimeZone = "UTC"


class SubscriptionChange(WireModel):
    """What is to be changed of a subscription: its plan, from its next billing period on."""

    payment_plan_id: Text = ""


class PlanChange(WireModel):
    """A plan that is in force from the start of a billing period on."""

    payment_plan_id: Text
    start: Timestamp = Field(alias="from")


class Subscription(NewSubscription):
    """A subscription in the catalog, with its whole history of statuses and of plans, oldest first; `payment_plan_id`
    is the plan under which it was created."""

    id: Text
    billing_anchor: Anchor
    created_at: Timestamp
    version: int = 1
    transitions: tuple[Transition, ...]
    plan_changes: tuple[PlanChange, ...] = ()

    @classmethod
    def of_record(cls, document: dict[str, Any], record_at: int) -> "Subscription":
        """The subscription of a catalog record that the broker appended at `record_at` (ms)."""
        subscription = cls.model_validate(document)
        return subscription.model_copy(update={"transitions": dated(subscription.transitions, record_at)})

    def status_at(self, at: int) -> str:
        """The status at a moment in ms: a value of SubscriptionStatus."""
        return status_at(self.transitions, at)

    def plan_id_at(self, period_start: int) -> str:
        """The plan of the billing period that starts at a moment in ms."""
        for change in reversed(self.plan_changes):
            if change.start <= period_start:
                return change.payment_plan_id
        return self.payment_plan_id

    def is_first_under_its_plan(self, period: BillingPeriod, first: BillingPeriod) -> bool:
        """Whether a period is the first one of the subscription's life under the plan that is in force in it; `first`
        is the period in which the subscription came to be."""
        began = [first.start, *(change.start for change in self.plan_changes if change.start > first.start)]
        plan_id = self.plan_id_at(period.start)
        under_it = [start for start in began if self.plan_id_at(start) == plan_id]
        return under_it[:1] == [period.start] and self.overlaps(period)

    @property
    def plan_ids(self) -> tuple[str, ...]:
        """Every plan under which it is or was, or is going to be; the first one first."""
        return tuple(dict.fromkeys((self.payment_plan_id, *(change.payment_plan_id for change in self.plan_changes))))

    def with_plan(self, plan_id: str, period_start: int) -> "Subscription":
        """The next version of the subscription, under another plan from a billing period on: whatever was planned for
        that time before is not any more."""
        before = (change for change in self.plan_changes if change.start < period_start)
        change = PlanChange.model_validate({"paymentPlanId": plan_id, "from": timestamp_text(period_start)})
        return self.model_copy(update={"version": self.version + 1, "plan_changes": (*before, change)})

    @property
    def began_at(self) -> int:
        """When the subscription came to be, in ms: the time of its first publication."""
        first = self.transitions[0].at
        return self.created_at if first is None else first

    def overlaps(self, period: BillingPeriod) -> bool:
        """Whether a period overlaps the subscription's life, so that it is invoiced even without usage."""
        ended_after_it_began = period.end is None or period.end > self.began_at
        return ended_after_it_began and (self.ended_at is None or period.start < self.ended_at)

    def latest_at(self, now: int) -> int:
        """Of the moments (ms) of its life, the one nearest to now: in its last period where it has ended."""
        ended_at = self.ended_at
        return now if ended_at is None else min(now, max(self.began_at, ended_at - 1))

    @property
    def ended_at(self) -> int | None:
        """When the subscription reached a final status, in ms; None while it has not, or it is not published yet."""
        last = self.transitions[-1]
        if SubscriptionStatus(last.status) not in FINAL_STATUSES:
            return None
        return last.at
