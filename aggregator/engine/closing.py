"""The agenda of a partition: which billing periods are to be looked at, and when (design section 5).

Entries are ordered by a lower bound of the time at which a period may close, so that finding what is due scans
nothing. An entry that comes up is judged anew by the period's state: usage that came since may have put it off.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from aggregator.engine.tables import Changes, Due, Tables
from aggregator.rules.account import Account, Catalog
from aggregator.rules.closing import Closing, close, due_at
from schemas.billing_period import BillingPeriod
from schemas.topics import partition_of
from schemas.totals import PeriodState

ROUND_LINES_MAX = 5_000
"""A round ends with the period that reaches this many lines: a period's parts are never split over transactions."""
ROUND_ENTRIES_MAX = 1_000


class Closed(NamedTuple):
    """A period that a round closes."""

    account: Account
    period: BillingPeriod
    closing: Closing


@dataclass(slots=True)
class Round:
    """What one transaction closes, the entries of the agenda that it settles, and those that it adds."""

    closed: list[Closed] = field(default_factory=list)
    settled: list[Due] = field(default_factory=list)
    put: list[Due] = field(default_factory=list)


class Agenda:
    """Which periods of a partition are to be looked at, and when."""

    def __init__(self, tables: Tables, catalog: Catalog, partition: int, partitions: int, grace_seconds: int) -> None:
        self._tables = tables
        self._catalog = catalog
        self._partition = partition
        self._partitions = partitions
        self._grace_seconds = grace_seconds

    def entry(self, account: Account, period: BillingPeriod, state: PeriodState | None) -> Due | None:
        """When a period in this state is to be looked at; None where it has nothing to close."""
        if state is None and not account.has_period(period):
            return None
        at = due_at(state, period, account, account.grace_ms(self._grace_seconds))
        return None if at is None else Due(at, account.subscription.id, period.start)

    def enrol(self, subscription_ids: Iterable[str], changes: Changes) -> bool:
        """Put the next period of each of the partition's own subscriptions on the agenda: the first that its life
        overlaps and that has not closed, used or not. Doing it again changes nothing, and is needed where this returns
        False: the service or plan of one of them is not in the catalog yet."""
        is_whole = True
        for subscription_id in subscription_ids:
            if partition_of(subscription_id, self._partitions) != self._partition:
                continue
            account = self._catalog.account(subscription_id)
            if account is None:
                is_whole = False
                continue
            if not account.closes:
                continue
            period = self._next_to_close(account)
            if period.end is not None and account.has_period(period):
                changes.put_due(Due(period.end, subscription_id, period.start))
        return is_whole

    def round(self, now: int) -> Round:
        """What is due at the broker's time `now` (ms), up to the bounds of one transaction."""
        round_ = Round()
        seen: set[tuple[str, int]] = set()
        lines = 0
        for due in self._tables.due_until(now):
            if lines >= ROUND_LINES_MAX or len(round_.settled) >= ROUND_ENTRIES_MAX:
                break
            round_.settled.append(due)
            if (due.subscription_id, due.period_start) not in seen:
                seen.add((due.subscription_id, due.period_start))
                lines += self._look_at(due, now, round_)
        return round_

    def _look_at(self, due: Due, now: int, round_: Round) -> int:
        """Close the period of an entry, or put it off. Returns how many lines that takes."""
        account = self._catalog.account(due.subscription_id)
        assert account is not None, "an account on the agenda is in the catalog, which loses nothing"
        period = account.calendar.period_at(due.period_start)
        state = self._tables.period(due.subscription_id, period)
        entry = self.entry(account, period, state)
        if entry is None:
            return 0
        if entry.at > now:
            round_.put.append(entry)
            return 0
        closing = close(account, period, state, self._tables.totals_of(due.subscription_id, period))
        round_.closed.append(Closed(account, period, closing))
        round_.put.extend(self._following(account, period))
        return len(closing.totals)

    def _following(self, account: Account, period: BillingPeriod) -> Iterator[Due]:
        following = account.calendar.next_period(period)
        state = self._tables.period(account.subscription.id, following)
        if account.has_period(following) and not (state is not None and state.closed):
            assert following.end is not None, "the period before had an end"
            yield Due(following.end, account.subscription.id, following.start)

    def _next_to_close(self, account: Account) -> BillingPeriod:
        first = account.first_period()
        latest_closed = self._tables.latest_closed(account.subscription.id)
        if latest_closed is None or latest_closed < first.start:
            return first
        return account.calendar.next_period(account.calendar.period_at(latest_closed))
