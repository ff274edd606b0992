"""Subscriptions in Postgres, with their whole history of statuses."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ingest.catalog.change import Saved, saved, unchanged
from ingest.catalog.comparing import SQL
from ingest.catalog.ids import new_id
from ingest.catalog.page import Page, PageRequest
from ingest.catalog.plans import check_plan, find_plan, known_plan
from ingest.refused import Refused
from schemas.billing_period import BillingInterval, BillingPeriod, Calendar
from schemas.catalog import Transition
from schemas.plan import Plan
from schemas.rejection import FieldError, Reason, Rejection
from schemas.subscription import (
    FINAL_STATUSES,
    SUBSCRIPTION_TRANSITIONS,
    NewSubscription,
    Subscription,
    SubscriptionStatus,
)
from schemas.timestamps import timestamp_text

if TYPE_CHECKING:
    import asyncpg

    from ingest.database import Connection


@dataclass(slots=True, frozen=True)
class CurrentSubscription:
    """A subscription and the billing period that it is in now; where it has ended, the last of its life."""

    subscription: Subscription
    period: BillingPeriod


async def create_subscription(
    connection: "Connection", new: NewSubscription, services: frozenset[str] | None
) -> Saved[Subscription]:
    """Store a subscription; the same one again is the one that exists. Raises Refused.

    `services` are those that the caller may know of, None for all.
    """
    plan = await known_plan(connection, new.service_id, new.payment_plan_id, services)
    check_plan(plan, new.service_id)
    now: int = await connection.fetchval(SQL["clock"])
    subscription = _new_subscription(new, now)
    if await _add(connection, subscription):
        return await saved(connection, subscription, created=True)
    existing = await lock_subscription(connection, subscription.id)
    assert existing is not None, "subscriptions are never deleted"
    if _as_asked_for(existing) != _as_asked_for(_new_subscription(new, existing.created_at)):
        raise Refused.of(Reason.ALREADY_EXISTS, "id")
    return await unchanged(connection, existing)


async def change_status(
    connection: "Connection", subscription: Subscription, status: SubscriptionStatus
) -> Saved[Subscription]:
    """Move a locked subscription to a status; the status that it has is no change. Raises Refused."""
    if status is subscription.status:
        return await unchanged(connection, subscription)
    if status not in SUBSCRIPTION_TRANSITIONS[subscription.status]:
        error = f"A subscription that is {subscription.status} can't become {status}."
        raise _no_transition(error, subscription, "status")
    return await _store(connection, _moved(subscription, status))


async def change_plan(
    connection: "Connection", subscription: Subscription, plan_id: str, services: frozenset[str] | None
) -> Saved[Subscription]:
    """Put a locked subscription under another plan, from its next billing period on. Raises Refused."""
    plan = await known_plan(connection, subscription.service_id, plan_id, services)
    check_plan(plan, subscription.service_id)
    first = await find_plan(connection, subscription.payment_plan_id)
    assert first is not None, "plans are never deleted"
    now: int = await connection.fetchval(SQL["clock"])
    period = period_at(subscription, first.billing_interval, now)
    if plan.id == subscription.plan_id_at(period.start if period.end is None else period.end):
        return await unchanged(connection, subscription)
    if (error := _unfit(plan, first)) is not None:
        raise Refused(Rejection.of_fields([FieldError("paymentPlanId", Reason.FIELD_INVALID, error)]))
    if subscription.status in FINAL_STATUSES:
        raise _no_transition(f"A subscription that is {subscription.status} can't change its plan.", subscription)
    assert period.end is not None, "a plan whose period never ends has no follower"
    return await _store(connection, subscription.with_plan(plan.id, period.end))


async def lock_subscription(connection: "Connection", subscription_id: str) -> Subscription | None:
    """The subscription of this id, which nobody else changes before the transaction ends."""
    document = await connection.fetchval(SQL["lock_subscription"], subscription_id)
    return None if document is None else Subscription.model_validate(json.loads(document))


async def find_subscription(connection: "Connection", subscription_id: str) -> CurrentSubscription | None:
    """The subscription of this id, as it is now."""
    row = await connection.fetchrow(SQL["subscription"], subscription_id)
    return None if row is None else _current(row)


async def list_subscriptions(
    connection: "Connection",
    request: PageRequest,
    service_id: str | None,
    user_id: str | None,
    status: SubscriptionStatus | None,
) -> Page[CurrentSubscription]:
    """A page of subscriptions that meet all conditions; None is no condition."""
    conditions = (service_id, user_id, None if status is None else status.value)
    rows = await connection.fetch(SQL["subscriptions"], *request.arguments(), *conditions)
    return request.page(rows, _current)


def _unfit(plan: Plan, first: Plan) -> str | None:
    """Why a subscription that began under one plan can't go on under another; None where it can."""
    if plan.billing_interval is not first.billing_interval:
        return f"must be a plan with the billingInterval {first.billing_interval}, which a subscription keeps"
    if plan.billing_interval is BillingInterval.NONE:
        return "can't change where the billingInterval is NONE: there is no next period"
    return None


def _no_transition(error: str, subscription: Subscription, field: str | None = None) -> Refused:
    extra = {"currentStatus": subscription.status.value}
    return Refused(Rejection(Reason.INVALID_TRANSITION, error, field, extra=extra))


async def _store(connection: "Connection", changed: Subscription) -> Saved[Subscription]:
    document = json.dumps(changed.wire(), ensure_ascii=False)
    await connection.execute(SQL["change_subscription"], changed.id, changed.status.value, changed.version, document)
    return await saved(connection, changed)


async def _add(connection: "Connection", subscription: Subscription) -> bool:
    added = await connection.fetchval(
        SQL["add_subscription"],
        subscription.id,
        subscription.service_id,
        subscription.payment_plan_id,
        subscription.user_id,
        subscription.status.value,
        json.dumps(subscription.wire(), ensure_ascii=False),
    )
    return added is not None


def _new_subscription(new: NewSubscription, now: int) -> Subscription:
    wire, created_at = new.wire(), timestamp_text(now)
    return Subscription.model_validate(
        {
            **wire,
            "id": new.id or new_id("sub"),
            "billingAnchor": wire["billingAnchor"] or created_at,
            "createdAt": created_at,
            "transitions": [{"version": 1, "status": new.status}],
        }
    )


def _as_asked_for(subscription: Subscription) -> tuple[object, ...]:
    """What the caller chose when the subscription was created, whatever has become of it since."""
    return (
        subscription.service_id,
        subscription.payment_plan_id,
        subscription.user_id,
        subscription.transitions[0].status,
        subscription.billing_anchor,
        subscription.time_zone,
    )


def _moved(subscription: Subscription, status: SubscriptionStatus) -> Subscription:
    version = subscription.version + 1
    transition = Transition(version=version, status=status)
    return subscription.model_copy(
        update={
            "status": status,
            "version": version,
            "transitions": (*subscription.transitions, transition),
        }
    )


def _current(row: "asyncpg.Record") -> CurrentSubscription:
    subscription = Subscription.model_validate(json.loads(row["document"]))
    at = subscription.latest_at(row["now"])
    return CurrentSubscription(subscription, period_at(subscription, row["billing_interval"], at))


def period_at(subscription: Subscription, billing_interval: str, at: int) -> BillingPeriod:
    """The billing period of a subscription at a moment in ms."""
    interval = BillingInterval(billing_interval)
    return Calendar(subscription.billing_anchor, interval, subscription.time_zone).period_at(at)
