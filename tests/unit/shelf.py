"""A partition's tables over a real RocksDB, with its agenda. Written as the engine does, less Kafka."""

import asyncio

from aggregator.engine.closing import Agenda, Round, entries_after_a_restore
from aggregator.engine.pace import Pace
from aggregator.engine.tables import Changes, Tables
from aggregator.rules.deciding import decide
from aggregator.rules.verdicts import PeriodKey
from schemas.totals import PERIOD_METER, total_key
from tests.unit.world import LogRecord, MemoryCatalog, ms, usage

GRACE_SECONDS = 3_600
FAR = ms("2040-01-01T00:00:00Z")


class Unhurried(Pace):
    """On which no time is lost."""

    @property
    def worked(self) -> float:
        return 0


class Slow(Pace):
    """On which everything that is looked at takes 2 ms."""

    def __init__(self) -> None:
        super().__init__()
        self._rests = 0

    @property
    def worked(self) -> float:
        return 0.002 * self._rests

    async def rest(self) -> None:
        self._rests += 1


class Shelf:
    """One partition's tables and agenda."""

    def __init__(self, tables: Tables, catalog: MemoryCatalog, partitions: int = 1) -> None:
        self.tables = tables
        self.catalog = catalog
        self.agenda = Agenda(tables, catalog, 0, partitions, GRACE_SECONDS)
        self.pace: Pace = Unhurried()
        self.periods: set[PeriodKey] = set()
        """Those that have a state."""
        self._next_offset = 0

    def enrol(self, *subscription_ids: str) -> None:
        changes = Changes()
        for subscription_id in subscription_ids:
            self.agenda.enrol(subscription_id, changes)
        self.tables.write(changes, self.tables.meta)

    def lose_the_agenda(self) -> None:
        """Restore it, as from the changelogs and the catalog."""
        changes = Changes()
        for due in self.tables.due_until(FAR):
            changes.drop_due(due)
        for subscription_id, start in self.periods:
            period = self.catalog.accounts[subscription_id].calendar.period_at(start)
            state = self.tables.period(subscription_id, period)
            assert state is not None
            for due in entries_after_a_restore(subscription_id, start, state):
                changes.put_due(due)
        self.tables.write(changes, self.tables.meta)
        self.enrol(*self.catalog.accounts)

    def count(self, at: int, occurred_at: str, subscription_id: str = "sub") -> None:
        """Accept one event appended at a time."""
        value = usage(subscriptionId=subscription_id, eventKey=f"call#{self._next_offset}", occurredAt=occurred_at)
        decisions = decide([LogRecord(self._next_offset, at, value)], 0, 1, self.tables, self.catalog)
        self._next_offset += 1
        assert not decisions.rejected
        changes = Changes()
        for (_, start, meter), total in decisions.totals.items():
            period = decisions.periods[subscription_id, start][0]
            changes.put_total(total_key(subscription_id, period.start_text, meter), total.to_json())
        self.periods |= decisions.periods.keys()
        for (_, start), (period, state) in decisions.periods.items():
            changes.put_total(total_key(subscription_id, period.start_text, PERIOD_METER), state.to_json())
            changes.periods[subscription_id, start] = state
        changes.totals = decisions.totals
        for key, of_account in decisions.waiting.items():
            due = self.agenda.entry(of_account, *decisions.periods[key])
            if due is not None:
                changes.put_due(due)
        self.tables.write(changes, self.tables.meta)

    def tick(self, now: int) -> list[tuple[str, int, int | None]]:
        """One round. Returns subscription, start and sequence of each period it closes; None for no invoice."""
        round_ = asyncio.run(self.agenda.round(now, self.pace))
        self.write(round_)
        self.periods |= {(closed.account.subscription.id, closed.period.start) for closed in round_.closed}
        return [
            (
                closed.account.subscription.id,
                closed.period.start,
                None if closed.closing.closed is None else closed.closing.closed.sequence,
            )
            for closed in round_.closed
        ]

    def write(self, round_: Round) -> None:
        changes = Changes()
        for of_account, period, closing in round_.closed:
            subscription_id = of_account.subscription.id
            for meter, total in closing.totals.items():
                changes.put_total(total_key(subscription_id, period.start_text, meter), total.to_json())
                changes.charged.append((subscription_id, period.start, meter))
            changes.put_total(total_key(subscription_id, period.start_text, PERIOD_METER), closing.state.to_json())
            changes.periods[subscription_id, period.start] = closing.state
        for due in round_.settled:
            changes.drop_due(due)
        for due in round_.put:
            changes.put_due(due)
        self.tables.write(changes, self.tables.meta)
