"""The usage of a subscription, period by period, and what it comes to."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Response

from ingest.catalog.plans import find_plan
from ingest.catalog.subscriptions import CurrentSubscription, find_subscription
from ingest.gateway.answer import json_answer
from ingest.gateway.columns import optional_time_text
from ingest.gateway.documentation import examples
from ingest.gateway.documentation.declaring import documented, shown
from ingest.gateway.parameters import PathId, Reader
from ingest.gateway.parts import PartsOf
from ingest.gateway.usage_periods import MeterUsage, PeriodUsage, meter_amount, period_amount, with_current
from ingest.gateway.usage_records import SQL
from ingest.outcome import Unavailable
from ingest.refused import Refused
from schemas.billing_period import BillingPeriod, Calendar
from schemas.catalog import WireModel
from schemas.decimals import DecimalText, decimal_text, scaled_of_own
from schemas.plan import Plan
from schemas.rejection import Reason, Rejection
from schemas.subscription import Subscription
from schemas.timestamps import (
    OptionalTimestamp,
    TimestampText,
    milliseconds,
    optional_datetime,
    optional_timestamp_text,
)
from schemas.topics import partition_of

if TYPE_CHECKING:
    import asyncpg

    from ingest.database import Connection

router = APIRouter(tags=["subscriptions"])


class MeterTotalView(WireModel):
    """What one meter has gathered in a period, and what that costs."""

    meter: str
    quantity: DecimalText
    event_count: int
    amount: DecimalText


class UsagePeriodView(WireModel):
    """A billing period, [start, end). The amount of one that is not closed is that of the upcoming invoice, the amount
    of a closed one what all its invoices come to."""

    start: TimestampText
    end: TimestampText | None
    closed: bool
    amount: DecimalText
    currency: str
    totals: list[MeterTotalView]


class AsOfView(WireModel):
    """How far the log was counted: all events before this offset of the subscription's partition. Nothing of it yet
    where the time is null."""

    partition: int
    offset: int
    time: TimestampText | None


class UsageAnswer(WireModel):
    """The usage of a subscription."""

    periods: list[UsagePeriodView]
    as_of: AsOfView


@router.get("/subscriptions/{id:id}/usage")
@documented(shown(UsageAnswer, examples.SUBSCRIPTION_USAGE), reasons=(Reason.SUBSCRIPTION_NOT_FOUND,))
async def get_subscription_usage(
    key: Reader,
    subscription_id: PathId,
    parts: PartsOf,
    begin: Annotated[OptionalTimestamp, Query(alias="from", description="Periods that end after this time.")] = None,
    end: Annotated[OptionalTimestamp, Query(alias="to", description="Periods that begin before this time.")] = None,
) -> Response:
    """The exact totals of each meter by billing period, oldest first, and the amount of each period; the current period
    is there without usage too."""
    try:
        partition = partition_of(subscription_id, await parts.producer.partitions())
    except Unavailable as error:
        raise Refused(Rejection(Reason.UNAVAILABLE, f"{error} Send the same request again.")) from error
    async with (
        parts.database.connection() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        current = await find_subscription(connection, subscription_id)
        if current is None or not key.sees(current.subscription.service_id):
            raise Refused.of(Reason.SUBSCRIPTION_NOT_FOUND)
        plans = await _plans(connection, current.subscription)
        times = optional_datetime(begin), optional_datetime(end)
        periods = list(_periods(await connection.fetch(SQL["usage_periods"], subscription_id, *times)))
        as_of = await _as_of(connection, partition)
    if _overlaps(current.period, begin, end):
        periods = list(with_current(periods, current.period))
    answer = UsageAnswer(periods=list(_views(periods, current, plans)), as_of=as_of)
    return json_answer(200, answer.wire()).response()


async def _plans(connection: "Connection", subscription: Subscription) -> dict[str, Plan]:
    """Every plan under which the subscription is or was."""
    plans = {plan_id: await find_plan(connection, plan_id) for plan_id in subscription.plan_ids}
    return {plan_id: plan for plan_id, plan in plans.items() if plan is not None}


async def _as_of(connection: "Connection", partition: int) -> AsOfView:
    row = await connection.fetchrow(SQL["ledger"], partition)
    offset, at = (0, None) if row is None else row
    return AsOfView(partition=partition, offset=offset, time=optional_time_text(at))


def _periods(rows: "Iterable[asyncpg.Record]") -> Iterator[PeriodUsage]:
    for (start, end, closed), some in groupby(rows, itemgetter("period_start", "period_end", "closed")):
        meters = [
            MeterUsage(row["meter"], scaled_of_own(f"{row['quantity']:f}"), row["event_count"])
            for row in some
            if row["meter"] is not None
        ]
        yield PeriodUsage(BillingPeriod(milliseconds(start), _optional_milliseconds(end)), closed, meters)


def _views(
    periods: Iterable[PeriodUsage], current: CurrentSubscription, plans: dict[str, Plan]
) -> Iterator[UsagePeriodView]:
    subscription = current.subscription
    interval = plans[subscription.payment_plan_id].billing_interval
    first = Calendar(subscription.billing_anchor, interval, subscription.time_zone).period_at(subscription.began_at)
    for usage in periods:
        plan = plans[subscription.plan_id_at(usage.period.start)]
        yield UsagePeriodView(
            start=usage.period.start_text,
            end=optional_timestamp_text(usage.period.end),
            closed=usage.closed,
            amount=decimal_text(period_amount(usage, plan, subscription, first)),
            currency=plan.currency,
            totals=[
                MeterTotalView(
                    meter=meter.meter,
                    quantity=decimal_text(meter.quantity),
                    event_count=meter.event_count,
                    amount=decimal_text(meter_amount(meter, plan)),
                )
                for meter in usage.meters
            ],
        )


def _overlaps(period: BillingPeriod, begin: int | None, end: int | None) -> bool:
    return (begin is None or period.end is None or period.end > begin) and (end is None or period.start < end)


def _optional_milliseconds(at: datetime | None) -> int | None:
    return None if at is None else milliseconds(at)
