"""The nouns of deciding: a record, what is known of the past, and what becomes of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from aggregator.rules.account import Account
from schemas.billing_period import BillingPeriod
from schemas.plain import Standing
from schemas.position import Counts
from schemas.rejection import Rejection
from schemas.totals import MeterTotal, PeriodState
from schemas.usage_event import AcceptedUsageEvent

PeriodKey = tuple[str, int]
"""Subscription and start of a billing period in ms."""

TotalKey = tuple[str, int, str]
"""Subscription, start of a billing period in ms, meter."""


class Record(Protocol):
    """A record of a source; `timestamp` is the broker's append time in ms: the time of the request. Of a forwarded
    event, all are those of its origin."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class Tables(Protocol):
    """What a partition knows of the past. Returned objects are the caller's to change."""

    def places(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """The packed Place of each unique key that was used, else None."""

    def period(self, subscription_id: str, period: BillingPeriod) -> PeriodState | None:
        """The state of a billing period, None where it has none yet."""

    def total(self, subscription_id: str, period: BillingPeriod, meter: str) -> MeterTotal | None:
        """The total of a meter, None where it has none yet."""


class Accepted(NamedTuple):
    """An event that counts, or counts no more: the key it takes, its packed Place, what is written of it on
    `accepted-usage`, and the record that asked for it."""

    key: bytes
    place: bytes
    value: bytes
    record: Record


class Rejected(NamedTuple):
    """A record that does not count, and why."""

    record: Record
    rejection: Rejection


class Forwarded(NamedTuple):
    """A well-formed event that is another partition's to decide."""

    record: Record
    partition: int


@dataclass(slots=True)
class Decisions:
    """The verdicts of a batch of one source and what they change. A duplicate is among the rejected, and counted
    beside them. Of a batch of corrections, the accepted are the events that were voided."""

    accepted: list[Accepted] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    forwarded: list[Forwarded] = field(default_factory=list)
    duplicates: int = 0
    repeated: list[Record] = field(default_factory=list)
    """Corrections that had been made before."""
    totals: dict[TotalKey, MeterTotal] = field(default_factory=dict)
    before: dict[TotalKey, tuple[str, int, int]] = field(default_factory=dict)
    """Of each total its service, and what it was before this batch: events and quantity."""
    periods: dict[PeriodKey, tuple[BillingPeriod, PeriodState]] = field(default_factory=dict)
    waiting: dict[PeriodKey, Account] = field(default_factory=dict)
    """The periods that had no usage to charge before this batch and have now: they want closing."""

    taken: dict[bytes, bytes] = field(default_factory=dict)
    """The unique keys that the batch took so far, or voided, with their packed Places: the tables do not have them
    yet."""
    standings: dict[str, Standing | None] = field(default_factory=dict, compare=False)
    """See aggregator.rules.standing."""
    touched: list[Standing] = field(default_factory=list, compare=False)
    """Those that have counted what is not in the totals yet."""

    def forget_verdicts(self) -> None:
        """Go on with totals, periods and taken keys alone: the verdicts so far are written down."""
        self.accepted, self.rejected, self.forwarded, self.repeated, self.duplicates = [], [], [], [], 0

    def counts(self) -> Counts:
        """How many records met each verdict."""
        return Counts(
            accepted=len(self.accepted),
            duplicate=self.duplicates,
            rejected=len(self.rejected) - self.duplicates,
            forwarded=len(self.forwarded),
            repeated=len(self.repeated),
        )

    def accumulate(
        self, accepted: AcceptedUsageEvent, account: Account, tables: Tables, at: int, sign: int
    ) -> PeriodState:
        """Add the event to the totals of its period, or with the sign -1 take it away; `at` (ms) is when that was
        asked for. Returns the state of the period."""
        period = accepted.period
        self.add_to_total(account, period, accepted.meter, tables, sign * accepted.event.quantity, sign)
        return self.add_to_period(account, period, tables, at, at)

    def fold(self, tables: Tables) -> None:
        """Take what the standings have counted into totals and periods."""
        for standing in self.touched:
            account, period, state = standing.of
            self.periods.setdefault((account.subscription.id, period.start), (period, state))
            first_at, last_at, first_offset, last_offset, sums = standing.take()
            for meter, quantity, events in sums:
                if events:  # none where its first would have made it too large
                    self.add_to_total(account, period, meter, tables, quantity, events)
            self.add_to_period(account, period, tables, first_at, last_at).reached(first_offset, last_offset)
        self.touched.clear()

    def add_to_total(
        self, account: Account, period: BillingPeriod, meter: str, tables: Tables, quantity: int, events: int
    ) -> None:
        """Add usage of a meter, in millionths."""
        subscription = account.subscription
        key = subscription.id, period.start, meter
        total = self.totals.get(key)
        if total is None:
            total = tables.total(subscription.id, period, meter) or MeterTotal(period.end)
            self.totals[key] = total
            self.before[key] = subscription.service_id, total.event_count, total.quantity
        total.quantity += quantity
        total.event_count += events

    def add_to_period(
        self, account: Account, period: BillingPeriod, tables: Tables, first_at: int, last_at: int
    ) -> PeriodState:
        """Note when usage of a period was asked for (ms). Returns the period's state."""
        state = self.state_of(account.subscription.id, period, tables)
        if state.first_at is None or state.last_at is None:
            state.first_at, state.last_at = first_at, last_at
            self.waiting[account.subscription.id, period.start] = account
        elif last_at > state.last_at:  # a forwarded event may come long after its request
            state.last_at = last_at
        return state

    def state_of(self, subscription_id: str, period: BillingPeriod, tables: Tables) -> PeriodState:
        """The state of a period as the batch has left it so far; it is written with the batch."""
        key = subscription_id, period.start
        entry = self.periods.get(key)
        if entry is None:
            entry = self.periods[key] = (period, tables.period(subscription_id, period) or PeriodState(period.end))
        return entry[1]
