"""The agenda of a partition: which billing periods are to be looked at, and when (design section 5).

Entries are ordered by a lower bound of the time at which a period may close, so that finding what is due scans
nothing. An entry that comes up is judged anew by the period's state: usage that came since may have put it off.

Of each subscription that closes, one of these holds for the first period of its life, and for each period that follows
a closed one and belongs to its life too: it is closed, or it is on the agenda.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from aggregator.engine.catalog import CatalogStore
from aggregator.engine.pace import Pace
from aggregator.engine.tables import Changes, Due, Tables
from aggregator.rules.account import Account, Catalog
from aggregator.rules.closing import Charged, Closing, charged_by, close, due_at
from aggregator.rules.verdicts import PeriodKey
from schemas.billing_period import BillingPeriod
from schemas.topics import partition_of
from schemas.totals import PeriodState

ROUND_SECONDS = 0.02
"""A round ends after so much work, and deciding goes on. To write what it closes takes about as long again."""
ROUND_LINES_MAX = 5_000
"""A round ends with the period that reaches this many lines: a period's parts are never split over transactions."""
TOTALS_AT_A_TIME = 200


class Closed(NamedTuple):
    """A period that a round closes."""

    account: Account
    period: BillingPeriod
    closing: Closing


@dataclass(slots=True)
class Round:
    """What one transaction closes, the entries of the agenda that it settles, and those that it adds."""

    pace: Pace
    closed: list[Closed] = field(default_factory=list)
    settled: list[Due] = field(default_factory=list)
    put: list[Due] = field(default_factory=list)
    looked_at: set[PeriodKey] = field(default_factory=set)
    lines: int = 0

    @property
    def is_over(self) -> bool:
        """Whether the rest is for the next one."""
        return self.lines >= ROUND_LINES_MAX or self.pace.worked >= ROUND_SECONDS


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

    def enrol(self, subscription_id: str, changes: Changes) -> bool:
        """Put the first period of a subscription's life on the agenda, where the partition owns it and that has not
        closed. Doing it again changes nothing, and is needed where this returns False: its service or plan is not in
        the catalog yet."""
        if partition_of(subscription_id, self._partitions) != self._partition:
            return True
        account = self._catalog.account(subscription_id)
        if account is None:
            return False
        first = account.first_period()
        if account.closes and account.has_period(first) and not self._is_closed(account, first):
            changes.put_due(_at_its_end(account, first))
        return True

    async def round(self, now: int, pace: Pace) -> Round:
        """What is due at the broker's time `now` (ms), up to the bounds of one transaction."""
        round_ = Round(pace)
        for due in self._tables.due_until(now):
            if round_.is_over:
                break
            round_.settled.append(due)
            if (due.subscription_id, due.period_start) not in round_.looked_at:
                await self._look_at(due, now, round_)
        return round_

    async def _look_at(self, due: Due, now: int, round_: Round) -> None:
        """Close the period of an entry, or put it off; then the periods that follow it, as far as they are due too. So
        those of a subscription close one after the other, however long nobody was there to close them."""
        account = self._catalog.account(due.subscription_id)
        assert account is not None, "an account on the agenda is in the catalog, which loses nothing"
        period: BillingPeriod | None = account.calendar.period_at(due.period_start)
        while period is not None:
            await round_.pace.rest()
            round_.looked_at.add((due.subscription_id, period.start))
            state = self._tables.period(due.subscription_id, period)
            entry = self.entry(account, period, state)
            if entry is None:
                return
            if entry.at > now:
                round_.put.append(entry)
                return
            charged = await self._charge(account, period, round_.pace)
            round_.closed.append(Closed(account, period, close(account, period, state, charged)))
            round_.lines += len(charged)
            period = self._following(account, period, now, round_)

    async def _charge(self, account: Account, period: BillingPeriod, pace: Pace) -> list[Charged]:
        """The lines of all meters that have any, in the order of their names. There may be hundreds of thousands."""
        totals = []
        for total in self._tables.totals_of(account.subscription.id, period):
            totals.append(total)
            if len(totals) % TOTALS_AT_A_TIME == 0:
                await pace.rest()
        totals.sort(key=itemgetter(0))
        charged: list[Charged] = []
        for begin in range(0, len(totals), TOTALS_AT_A_TIME):
            charged += charged_by(account.plan_of(period), totals[begin : begin + TOTALS_AT_A_TIME])
            await pace.rest()
        return charged

    def _following(self, account: Account, period: BillingPeriod, now: int, round_: Round) -> BillingPeriod | None:
        """The next period of the subscription's life, if it may close in this round too; else it is on the agenda."""
        following = account.calendar.next_period(period)
        if not account.has_period(following) or self._is_closed(account, following):
            return None
        if (account.subscription.id, following.start) in round_.looked_at:
            return None
        due = _at_its_end(account, following)
        if due.at > now or round_.is_over:
            round_.put.append(due)
            return None
        return following

    def _is_closed(self, account: Account, period: BillingPeriod) -> bool:
        state = self._tables.period(account.subscription.id, period)
        return state is not None and state.closed


def entries_after_a_restore(subscription_id: str, start: int, state: PeriodState) -> Iterator[Due]:
    """The agenda is in no log: it follows from the states of the periods. After one that is closed, the next one is to
    be looked at, as it was when that closed: without usage it has no state."""
    if state.period_end is None:
        return
    if not state.closed:
        yield Due(state.period_end, subscription_id, start)
        return
    yield Due(state.period_end, subscription_id, state.period_end)
    if state.last_at is not None:
        yield Due(state.last_at, subscription_id, start)


class Enrolment:
    """The subscriptions of the catalog on their way to the agenda, some at a time: there may be very many."""

    def __init__(self, agenda: Agenda, catalog: CatalogStore, offset: int) -> None:
        self._agenda = agenda
        self._catalog = catalog
        self._next_offset = offset
        self._waiting: dict[str, int] = {}
        """Those whose service or plan is not in the catalog yet, with the offsets of their records."""

    @property
    def offset(self) -> int:
        """All before this offset of the catalog are on the agenda."""
        return min(self._waiting.values(), default=self._next_offset)

    @property
    def is_behind(self) -> bool:
        """Whether the catalog holds more."""
        return self._next_offset < self._catalog.next_offset

    async def go_on(self, changes: Changes, pace: Pace) -> None:
        """Enrol some."""
        end = self._catalog.next_offset
        for offset, subscription_id in self._catalog.subscriptions_since(self._next_offset):
            if pace.worked >= ROUND_SECONDS:
                return
            self._enrol(subscription_id, offset, changes)
            self._next_offset = offset + 1
            await pace.rest()
        self._next_offset = max(self._next_offset, end)
        for subscription_id, offset in list(self._waiting.items()):
            self._enrol(subscription_id, offset, changes)
            await pace.rest()

    def _enrol(self, subscription_id: str, offset: int, changes: Changes) -> None:
        self._waiting.pop(subscription_id, None)
        if not self._agenda.enrol(subscription_id, changes):
            self._waiting[subscription_id] = offset


def _at_its_end(account: Account, period: BillingPeriod) -> Due:
    assert period.end is not None, "a period without an end is on no agenda"
    return Due(period.end, account.subscription.id, period.start)
