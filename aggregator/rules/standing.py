"""On which terms a subscription's plain events count for certain, so that they can be counted many at a time.

Nothing is refused here. What is not certain by these terms (another service or user, a time beyond them, a subscription
that was not always active, an invoice) is decided by aggregator.rules.deciding.
"""

from aggregator.rules.account import Account, Catalog
from aggregator.rules.verdicts import Decisions, Tables
from schemas.billing_period import BillingPeriod
from schemas.plain import Compiled, Standing
from schemas.service import EventKeyScope
from schemas.timestamps import SECOND_MS
from schemas.topics import partition_of
from schemas.totals import PeriodState

FUTURE_MS_MAX = 5 * 60 * SECOND_MS
"""How much later than its request an event may have occurred."""


class Standings:
    """Makes the standings of a batch as its events ask for them."""

    def __init__(
        self,
        compiled: Compiled,
        partition: int,
        partitions: int,
        tables: Tables,
        catalog: Catalog,
        decisions: Decisions,
    ) -> None:
        self._compiled = compiled
        self._partition = partition
        self._partitions = partitions
        self._tables = tables
        self._catalog = catalog
        self._decisions = decisions

    def find(self, subscription_id: str, occurred_at: int) -> Standing | None:
        """The standing of a subscription at a time in ms; None where its events are decided one by one."""
        known = self._decisions.standings
        account = self._catalog.account(subscription_id)
        is_here = partition_of(subscription_id, self._partitions) == self._partition
        if account is None or not is_here or not _is_certain(account):
            known[subscription_id] = None
            return None
        period = account.calendar.period_at(occurred_at)
        standing = known[subscription_id] = self._standing(account, period, known.get(subscription_id))
        return standing

    def _standing(self, account: Account, period: BillingPeriod, another: Standing | None) -> Standing:
        subscription, age_seconds_max = account.subscription, account.service.max_event_age_seconds
        held = self._decisions.periods.get((subscription.id, period.start))
        state = self._tables.period(subscription.id, period) or PeriodState(period.end) if held is None else held[1]
        return self._compiled.Standing(
            (account, period, state),
            subscription.service_id,
            subscription.user_id,
            period.json,
            period.start,
            period.end,
            FUTURE_MS_MAX,
            None if age_seconds_max is None else age_seconds_max * SECOND_MS,
            subscription.version,
            state.next_sequence,
            _scope(account.service.event_key_scope, period),
            another,
        )


def _is_certain(account: Account) -> bool:
    """Whether nothing but the terms of a standing bears on its events: no status does."""
    return account.is_always_active


def _scope(scope: EventKeyScope, period: BillingPeriod) -> str | bool | None:
    """What schemas.unique_key.unique_key() adds to subscription and event key, as a Standing is told."""
    if scope is EventKeyScope.PERIOD:
        return period.start_text
    return True if scope is EventKeyScope.EVENT else None
