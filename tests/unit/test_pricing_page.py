"""The worked examples of docs/pricing.md: what comes in goes through the rules, and the figures must be what comes out.

An example is one or more plans in JSON and the table after them. Arithmetic in a cell is computed again, and must give
exactly what stands behind its `=`; what stands behind `, so` is that rounded to 6 decimal places.
"""

import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from math import prod
from pathlib import Path

import pytest

from aggregator.rules.account import Account
from aggregator.rules.closing import due_at
from aggregator.rules.pricing import Bill, InvoiceLine, bill_of
from aggregator.rules.voiding import decide_voids
from schemas.billing_period import BillingPeriod
from schemas.closed_period import parse_closed_part
from schemas.correction import Void
from schemas.plan import Plan
from schemas.subscription import Subscription
from tests.unit.world import ACCEPTED, LogRecord, World, closing_of, ms, plan, service, subscription, usage

PAGE = (Path(__file__).parents[2] / "docs" / "pricing.md").read_text()
COLUMNS = ["what comes in", "invoice", "meter", "quantity", "total", "unit price", "price of the total", "amount"]
MONTHS = ("January", "February", "March", "April")
LATER = ms("2027-01-01T00:00:00Z")

Row = dict[str, str]


@dataclass(frozen=True)
class Example:
    """A worked example: its plans, the first one in force at first, and its rows."""

    heading: str
    plans: list[Plan]
    rows: list[Row]

    def invoices(self) -> list[list[Row]]:
        """The rows of each invoice: the first names it."""
        starts = [number for number, row in enumerate(self.rows) if row["invoice"]] + [len(self.rows)]
        return [self.rows[start:end] for start, end in pairwise(starts)]


def examples() -> list[Example]:
    found = []
    for match in re.finditer(r"((?:^```json\n.*?^```\n+)+)((?:^\|[^\n]*\n?)+)", PAGE, re.MULTILINE | re.DOTALL):
        heading = re.findall(r"^#+ (.+)$", PAGE[: match.start()], re.MULTILINE)[-1]
        plans = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", match[1], re.DOTALL)]
        head, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in match[2].splitlines()]
        assert head == COLUMNS
        of_rows = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        found.append(Example(heading, [plan(**{"amount": 0, **fields}) for fields in plans], of_rows))
    return found


@dataclass
class Story:
    """A subscription of January 2026 on: what came in, and what each of its periods has charged."""

    plans: list[Plan]
    of_subscription: Subscription = field(init=False)
    world: World = field(default_factory=World)
    log: dict[str, LogRecord] = field(default_factory=dict)
    charged: defaultdict[tuple[int, str], int] = field(default_factory=lambda: defaultdict(int))

    def __post_init__(self) -> None:
        self.put_under(subscription(paymentPlanId=self.plans[0].id))

    def put_under(self, changed: Subscription) -> None:
        self.of_subscription = changed
        self.world.catalog.add(self.account)

    @property
    def account(self) -> Account:
        return Account.of(self.of_subscription, service(), *self.plans)

    def period(self, month: str) -> BillingPeriod:
        return self.account.calendar.period_at(ms(f"2026-{MONTHS.index(month) + 1:02d}-15T00:00:00Z"))

    def take(self, what: str, month: str) -> None:
        """An event in a month, a void, or a change of plan in a month."""
        if match := re.fullmatch(r"`(\S+)` ([\d.]+)", what):
            occurred_at = f"2026-{MONTHS.index(month) + 1:02d}-15T00:00:00Z"
            value = usage(eventKey=match[1], quantity=match[2], occurredAt=occurred_at)
            self.log[match[1]] = LogRecord(self.world.next_offset, LATER, value)
            assert self.world.process((LATER, value)) == [ACCEPTED]
        elif match := re.fullmatch(r"void `(\S+)`", what):
            original = self.log[match[1]]
            void = Void(f"ue_0_{original.offset}", ("sub", match[1]), "by mistake").to_json()
            originals = {(0, record.offset): record for record in self.log.values()}
            decisions = decide_voids([LogRecord(0, LATER, void)], originals, self.world.tables, self.world.catalog)
            assert len(decisions.accepted) == 1
            self.world.tables.apply(decisions)
        else:
            match = re.fullmatch(r"change to `(\S+)`", what)
            assert match is not None, what
            following = self.account.calendar.next_period(self.period(month))
            self.put_under(self.of_subscription.with_plan(match[1], following.start))

    def close(self, period: BillingPeriod) -> tuple[int, Bill] | None:
        """Sequence and bill of what a period has to charge now."""
        tables = self.world.tables
        closing = closing_of(self.account, period, tables.period("sub", period), tables.totals_of("sub", period))
        tables.periods["sub", period.start] = closing.state
        tables.totals.update({("sub", period.start, meter): total for meter, total in closing.totals.items()})
        if closing.closed is None:
            return None
        bill = bill_of([parse_closed_part(value) for _, value in closing.closed.records()])
        return None if bill is None else (closing.closed.sequence, bill)

    def total(self, period: BillingPeriod, meter: str) -> Fraction:
        total = self.world.tables.total("sub", period, meter)
        assert total is not None
        return Fraction(total.quantity, 10**6)


def figure(cell: str) -> Fraction | None:
    """What a cell says: the number in it, which is the last one where it has arithmetic, and that is right."""
    exactly, _, rounded = cell.partition(", so ")
    arithmetic, _, result = exactly.rpartition(" = ")
    if arithmetic:
        first, *others = re.split(r" ([+-]) ", arithmetic)
        signed = zip(["+", *others[::2]], [first, *others[1::2]], strict=True)
        value = sum((product(term) if sign == "+" else -product(term) for sign, term in signed), Fraction(0))
        assert Fraction(result) == value, cell
    if rounded:
        assert Fraction(rounded) == round(Fraction(result), 6), cell
    last = rounded or result
    return None if last in ("", "null") else Fraction(last)


def product(term: str) -> Fraction:
    return prod(map(Fraction, term.split(" x ")), start=Fraction(1))


def check_line(line: InvoiceLine, row: Row, charged: int) -> None:
    """`charged` is what all invoices so far have charged for the meter."""
    assert (line.meter, Fraction(line.quantity, 10**6)) == (row["meter"], figure(row["quantity"]))
    assert (None if line.unit_price is None else Fraction(line.unit_price, 10**12)) == figure(row["unit price"])
    assert (Fraction(charged, 10**6), Fraction(line.amount, 10**6)) == (
        figure(row["price of the total"]),
        figure(row["amount"]),
    )
    price, is_less, before = row["amount"].partition(" = ")[0].partition(" - ")
    if is_less:
        assert (Fraction(price), Fraction(before)) == (Fraction(charged, 10**6), Fraction(charged - line.amount, 10**6))


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.heading)
def test_what_comes_in_is_charged_as_the_page_says(example: Example) -> None:
    story = Story(example.plans)
    for rows in example.invoices():
        name, _, amount = rows[0]["invoice"].partition(": ")
        month, _, sequence = name.partition(" ")
        month = MONTHS[0] if month == "never" else month
        for what in filter(None, rows[0]["what comes in"].split("; ")):
            story.take(what, month)
        period = story.period(month)
        used = [row for row in rows if row["meter"]]
        assert [story.total(period, row["meter"]) for row in used] == [figure(row["total"]) for row in used]
        if name == "never":
            assert not story.account.closes
            assert due_at(story.world.tables.period("sub", period), period, story.account, 0) is None
        elif amount == "none":
            assert story.close(period) is None
            charged = [Fraction(story.charged[period.start, row["meter"]], 10**6) for row in used]
            assert charged == [figure(row["price of the total"]) or 0 for row in used]
        else:
            closed = story.close(period)
            assert closed is not None
            closed_sequence, bill = closed
            assert (closed_sequence, Fraction(bill.amount, 10**6)) == (int(sequence), Fraction(amount))
            for line, row in zip(bill.lines, used, strict=True):
                story.charged[period.start, line.meter] += line.amount
                check_line(line, row, story.charged[period.start, line.meter])


def test_every_plan_on_the_page_is_in_an_example_and_every_kind_of_plan_has_one() -> None:
    found = examples()
    assert PAGE.count("```json") == sum(len(example.plans) for example in found)
    assert PAGE.count(f"| {COLUMNS[0]} |") == len(found)
    plans = [of_plan for example in found for of_plan in example.plans]
    assert {of_plan.pricing_type for of_plan in plans} == {"USAGE_BASED", "FIXED_RECURRING", "ONE_TIME"}
    models = {price.model for of_plan in plans for price in of_plan.prices.values()}
    assert models == {"PER_UNIT", "GRADUATED", "VOLUME", "PACKAGE"}


@pytest.mark.parametrize(
    "cell", ["2 x 3 = 7", "1 + 1 - 1 = 2", "1 x 0.0000005 = 0", "0.0000005, so 0.000001", "two = 2"]
)
def test_wrong_arithmetic_is_found(cell: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        figure(cell)
