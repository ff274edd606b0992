"""The books of one billing period: what it gathers, and what the closer reads of it."""

from dataclasses import dataclass

from aggregator.rules.account import Account
from aggregator.rules.pricing import Bill, bill_of
from schemas.billing_period import BillingPeriod
from schemas.closed_period import parse_closed_part
from schemas.totals import MeterTotal, PeriodState
from tests.unit.world import closing_of, ms

PERIOD = BillingPeriod(ms("2026-01-01T00:00:00Z"), ms("2026-02-01T00:00:00Z"))
END = ms("2026-02-01T00:00:00Z")


@dataclass
class Books:
    """One period from its first event to its last adjustment; what was invoiced is read as the closer reads it."""

    of_account: Account
    period: BillingPeriod = PERIOD
    state: PeriodState | None = None
    totals: dict[str, MeterTotal] | None = None
    next_offset: int = 0

    def use(self, meter: str, quantity: int, count: int = 1) -> None:
        self.state = self.state or PeriodState(END)
        self.totals = self.totals or {}
        total = self.totals.setdefault(meter, MeterTotal(END))
        total.quantity += quantity
        total.event_count += count
        if self.state.first_offset is None:
            self.state.first_offset = self.next_offset
        self.state.last_offset = self.next_offset
        self.state.first_at = self.state.first_at or END
        self.state.last_at = END
        self.next_offset += 1

    def close(self) -> Bill | None:
        closing = closing_of(self.of_account, self.period, self.state, self.totals or {})
        self.state, self.totals = closing.state, {**(self.totals or {}), **closing.totals}
        if closing.closed is None:
            return None
        return bill_of([parse_closed_part(value) for _, value in closing.closed.records()])


def amount(bill: Bill | None) -> int | None:
    return None if bill is None else bill.amount
