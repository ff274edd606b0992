"""Subscriptions and their status."""

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Query, Response

from ingest.catalog.change import Saved, unchanged
from ingest.catalog.subscriptions import (
    CurrentSubscription,
    change_plan,
    change_status,
    create_subscription,
    find_subscription,
    list_subscriptions,
    lock_subscription,
)
from ingest.gateway.answer import Answer, json_answer, saved_answer
from ingest.gateway.cursor import cursor_of
from ingest.gateway.documentation import examples
from ingest.gateway.documentation.declaring import Sent, created, documented, shown
from ingest.gateway.parameters import CatalogWriter, PageAsked, PathId, Reader, ServiceFilter, UserFilter
from ingest.gateway.parts import Parts, PartsOf
from ingest.gateway.requests import body_of
from ingest.refused import Refused
from schemas.catalog import WireModel
from schemas.rejection import Reason
from schemas.subscription import (
    NewSubscription,
    PlanChange,
    Subscription,
    SubscriptionChange,
    SubscriptionStatus,
)
from schemas.text import Text
from schemas.timestamps import Anchor, Timestamp, TimestampText, optional_timestamp_text, timestamp_text

if TYPE_CHECKING:
    from ingest.database import Connection

router = APIRouter(tags=["subscriptions"])


class SubscriptionView(NewSubscription):
    """A subscription as callers see it, with the plan of the current period and the changes of the plan, past and to
    come. The current period of one that has ended is the last of its life; its end is null where the plan's interval
    is NONE."""

    id: Text
    billing_anchor: Anchor
    current_period_start: TimestampText
    current_period_end: TimestampText | None
    created_at: Timestamp
    plan_changes: tuple[PlanChange, ...]

    @classmethod
    def of(cls, current: CurrentSubscription) -> "SubscriptionView":
        """The view of a subscription as it is now."""
        return cls.model_validate(
            {
                **current.subscription.wire(),
                "paymentPlanId": current.subscription.plan_id_at(current.period.start),
                "currentPeriodStart": timestamp_text(current.period.start),
                "currentPeriodEnd": optional_timestamp_text(current.period.end),
            }
        )


class NewStatus(WireModel):
    """The status that a subscription is to have."""

    status: SubscriptionStatus


class SubscriptionAnswer(WireModel):
    """One subscription."""

    subscription: SubscriptionView


class SubscriptionsAnswer(WireModel):
    """A page of subscriptions."""

    subscriptions: list[SubscriptionView]
    next_cursor: str | None


@router.post("/subscriptions")
@documented(
    *created(SubscriptionAnswer, {"subscription": examples.SUBSCRIPTION}),
    body=Sent(NewSubscription, examples.NEW_SUBSCRIPTION),
    reasons=(Reason.SERVICE_NOT_FOUND, Reason.PLAN_NOT_FOUND, Reason.ALREADY_EXISTS),
)
async def post_subscription(
    key: CatalogWriter, new: Annotated[NewSubscription, Depends(body_of(NewSubscription))], parts: PartsOf
) -> Response:
    """Create a subscription; the same one again answers 200. Once answered, the next usage event sees it."""
    if not key.sees(new.service_id):
        raise Refused.of(Reason.SERVICE_NOT_FOUND, "serviceId")
    saved = await parts.changes.make(lambda connection: create_subscription(connection, new, key.services))
    return (await _answer(saved, parts)).response()


@router.get("/subscriptions/{id:id}")
@documented(
    shown(SubscriptionAnswer, {"subscription": examples.SUBSCRIPTION}), reasons=(Reason.SUBSCRIPTION_NOT_FOUND,)
)
async def get_subscription(key: Reader, subscription_id: PathId, parts: PartsOf) -> Response:
    """A subscription."""
    async with parts.database.connection() as connection:
        current = await find_subscription(connection, subscription_id)
    if current is None or not key.sees(current.subscription.service_id):
        raise Refused.of(Reason.SUBSCRIPTION_NOT_FOUND)
    return json_answer(200, SubscriptionAnswer(subscription=SubscriptionView.of(current)).wire()).response()


@router.get("/subscriptions")
@documented(shown(SubscriptionsAnswer, {"subscriptions": [examples.SUBSCRIPTION], "nextCursor": None}))
async def get_subscriptions(
    asked: PageAsked,
    parts: PartsOf,
    service_id: ServiceFilter = None,
    user_id: UserFilter = None,
    status: Annotated[SubscriptionStatus | None, Query(description="Only in this status.")] = None,
) -> Response:
    """Subscriptions, newest first."""
    async with parts.database.connection() as connection:
        page = await list_subscriptions(connection, asked, service_id, user_id, status)
    views = [SubscriptionView.of(current) for current in page.items]
    answer = SubscriptionsAnswer(subscriptions=views, next_cursor=cursor_of(page.next))
    return json_answer(200, answer.wire()).response()


@router.patch("/subscriptions/{id:id}")
@documented(
    shown(SubscriptionAnswer, {"subscription": examples.CHANGED_SUBSCRIPTION}, "Changed from the next period on."),
    body=Sent(SubscriptionChange, {"paymentPlanId": "plan_volume"}),
    reasons=(Reason.SUBSCRIPTION_NOT_FOUND, Reason.PLAN_NOT_FOUND, Reason.INVALID_TRANSITION),
)
async def patch_subscription(
    key: CatalogWriter,
    subscription_id: PathId,
    change: Annotated[SubscriptionChange, Depends(body_of(SubscriptionChange))],
    parts: PartsOf,
) -> Response:
    """Change the plan from the next billing period on, to one with the same billing interval. The current period and
    those before it are billed as they would have been."""

    async def made(connection: "Connection") -> Saved[Subscription]:
        subscription = await lock_subscription(connection, subscription_id)
        if subscription is None or not key.sees(subscription.service_id):
            raise Refused.of(Reason.SUBSCRIPTION_NOT_FOUND)
        if "payment_plan_id" not in change.model_fields_set:
            return await unchanged(connection, subscription)
        return await change_plan(connection, subscription, change.payment_plan_id, key.services)

    return (await _answer(await parts.changes.make(made), parts)).response()


@router.post("/subscriptions/{id:id}/status")
@documented(
    shown(SubscriptionAnswer, {"subscription": {**examples.SUBSCRIPTION, "status": "PAST_DUE"}}),
    body=Sent(NewStatus, {"status": "PAST_DUE"}),
    reasons=(Reason.SUBSCRIPTION_NOT_FOUND, Reason.INVALID_TRANSITION),
)
async def post_status(
    key: CatalogWriter,
    subscription_id: PathId,
    new: Annotated[NewStatus, Depends(body_of(NewStatus))],
    parts: PartsOf,
) -> Response:
    """Change the status. It holds for every usage event that is sent after the answer, and for none before the
    request; CANCELLED and EXPIRED are final."""

    async def change(connection: "Connection") -> Saved[Subscription]:
        subscription = await lock_subscription(connection, subscription_id)
        if subscription is None or not key.sees(subscription.service_id):
            raise Refused.of(Reason.SUBSCRIPTION_NOT_FOUND)
        return await change_status(connection, subscription, new.status)

    return (await _answer(await parts.changes.make(change), parts)).response()


async def _answer(saved: Saved[Subscription], parts: Parts) -> Answer:
    async with parts.database.connection() as connection:
        current = await find_subscription(connection, saved.entity.id)
    assert current is not None, "subscriptions are never deleted"
    return saved_answer(saved, SubscriptionAnswer(subscription=SubscriptionView.of(current)))
