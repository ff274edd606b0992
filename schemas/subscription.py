"""A subscription: a user's agreement with a service under a plan."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from schemas.billing_period import UnknownTimeZone, time_zone
from schemas.catalog import Transition, WireModel, dated, status_at
from schemas.text import OptionalText, Text
from schemas.timestamps import OptionalTimestamp, Timestamp


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
    billing_anchor: OptionalTimestamp = None
    time_zone: TimeZone = "UTC"


class Subscription(NewSubscription):
    """A subscription in the catalog, with its whole history of statuses, oldest first."""

    id: Text
    billing_anchor: Timestamp
    created_at: Timestamp
    version: int = 1
    transitions: tuple[Transition, ...]

    @classmethod
    def of_record(cls, document: dict[str, Any], record_at: int) -> "Subscription":
        """The subscription of a catalog record that the broker appended at `record_at` (ms)."""
        subscription = cls.model_validate(document)
        return subscription.model_copy(update={"transitions": dated(subscription.transitions, record_at)})

    def status_at(self, at: int) -> str:
        """The status at a moment in ms: a value of SubscriptionStatus."""
        return status_at(self.transitions, at)

    @property
    def began_at(self) -> int:
        """When the subscription came to be, in ms: the time of its first publication."""
        first = self.transitions[0].at
        return self.created_at if first is None else first

    @property
    def ended_at(self) -> int | None:
        """When the subscription reached a final status, in ms; None while it has not, or it is not published yet."""
        last = self.transitions[-1]
        if SubscriptionStatus(last.status) not in FINAL_STATUSES:
            return None
        return last.at
