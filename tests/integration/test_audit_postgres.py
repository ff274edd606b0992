"""Rows of Postgres changed in what a real deployment left: each turns the audit red, at the check and the place."""

from decimal import Decimal
from typing import Any

import pytest

from aggregator.audit.report import Check
from schemas.topics import Topic
from tests.integration.audit_captured import Captured, Change, assert_found, latest
from tests.integration.audit_world import FEBRUARY, HOME, JANUARY, NEAR, SUBS, captured


@pytest.fixture
def world(kafka_bootstrap: str, postgres_dsn: str) -> Captured:
    return captured(kafka_bootstrap, postgres_dsn).copy()


def row_of(world: Captured, subscription_id: str, start: str, sequence: int) -> int:
    """The index of an invoice."""
    at = epoch_us(start)
    rows = world.rows_["invoices"]
    return next(i for i, row in enumerate(rows) if (row[4], row[7], row[9]) == (subscription_id, at, sequence))


def epoch_us(text: str) -> int:
    from datetime import UTC, datetime, timedelta

    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def set_column(world: Captured, table: str, index: int, column: int, value: Any) -> None:
    row = list(world.rows_[table][index])
    row[column] = value
    world.rows_[table][index] = tuple(row)


def delete_an_invoice(world: Captured) -> dict[str, Any]:
    return {"id": world.rows_["invoices"].pop(row_of(world, NEAR, JANUARY, 0))[0]}


def change_a_digit_of_an_amount(world: Captured) -> dict[str, Any]:
    index = row_of(world, NEAR, JANUARY, 0)
    set_column(world, "invoices", index, 5, str(Decimal(world.rows_["invoices"][index][5]) + Decimal("0.000001")))
    return {"id": world.rows_["invoices"][index][0], "key": [NEAR, JANUARY, 0]}


def move_the_start_of_an_invoice_by_1_ms(world: Captured) -> dict[str, Any]:
    index = row_of(world, NEAR, FEBRUARY, 0)
    set_column(world, "invoices", index, 7, epoch_us(FEBRUARY) + 1_000)
    return {"id": world.rows_["invoices"][index][0]}


def invoice_a_manual_plan(world: Captured) -> dict[str, Any]:
    row = list(world.rows_["invoices"][row_of(world, NEAR, JANUARY, 0)])
    row[0], row[4] = "made-up", SUBS["manual"]
    world.rows_["invoices"].append(tuple(row))
    return {"id": "made-up"}


def delete_a_line(world: Captured) -> dict[str, Any]:
    invoice_id = world.rows_["invoices"][row_of(world, NEAR, JANUARY, 0)][0]
    lines = world.rows_["invoice_lines"]
    lines.pop(next(i for i, line in enumerate(lines) if line[:2] == (invoice_id, "tokens")))
    return {"id": invoice_id}


def change_a_digit_of_a_line(world: Captured) -> dict[str, Any]:
    invoice_id = world.rows_["invoices"][row_of(world, NEAR, JANUARY, 1)][0]
    index = next(i for i, line in enumerate(world.rows_["invoice_lines"]) if line[0] == invoice_id)
    set_column(world, "invoice_lines", index, 4, "3.000001")
    return {"id": invoice_id}


def hold_a_period(world: Captured) -> dict[str, Any]:
    row = world.rows_["invoices"].pop(row_of(world, NEAR, FEBRUARY, 0))
    place, index = latest(world, Topic.CLOSED_PERIODS, NEAR, FEBRUARY, 0, 0)
    offset = world.records[place][index].offset
    world.rows_["held_periods"].append((place[1], offset, "REFUSED", "A reason.", NEAR, row[7], 0))
    return {"partition": place[1], "offset": offset, "key": [NEAR, FEBRUARY, 0]}


def change_a_copied_total(world: Captured) -> dict[str, Any]:
    rows = world.rows_["usage_totals"]
    index = next(i for i, row in enumerate(rows) if row[:3] == (NEAR, epoch_us(JANUARY), "tokens"))
    set_column(world, "usage_totals", index, 4, "1.000000")
    return {"key": [NEAR, JANUARY, "tokens"]}


def delete_a_copied_total(world: Captured) -> dict[str, Any]:
    rows = world.rows_["usage_totals"]
    rows.pop(next(i for i, row in enumerate(rows) if row[:3] == (NEAR, epoch_us(JANUARY), "tokens")))
    return {"key": [NEAR, JANUARY, "tokens"]}


def state_of(world: Captured, subscription_id: str, start: str) -> int:
    """The index of a copied state of a period."""
    rows = world.rows_["billing_periods"]
    return next(i for i, row in enumerate(rows) if row[:2] == (subscription_id, epoch_us(start)))


def open_a_copied_period_again(world: Captured) -> dict[str, Any]:
    set_column(world, "billing_periods", state_of(world, NEAR, JANUARY), 3, value=False)
    return {"key": [NEAR, JANUARY, ""]}


def forget_a_sequence_of_a_copied_period(world: Captured) -> dict[str, Any]:
    set_column(world, "billing_periods", state_of(world, NEAR, JANUARY), 4, 2)
    return {"key": [NEAR, JANUARY, ""]}


def delete_a_copied_period(world: Captured) -> dict[str, Any]:
    world.rows_["billing_periods"].pop(state_of(world, NEAR, FEBRUARY))
    return {"key": [NEAR, FEBRUARY, ""]}


def copy_a_period_that_there_is_not(world: Captured) -> dict[str, Any]:
    world.rows_["billing_periods"].append((NEAR, epoch_us("2031-01-01T00:00:00.000Z"), None, True, 1, 0))
    return {"key": [NEAR, "2031-01-01T00:00:00.000Z", ""]}


def change_the_copied_ledger(world: Captured) -> dict[str, Any]:
    index = next(i for i, row in enumerate(world.rows_["ledger"]) if row[0] == HOME)
    set_column(world, "ledger", index, 3, world.rows_["ledger"][index][3] + 1)
    return {"partition": HOME}


CHANGES: list[tuple[Change, Check]] = [
    (delete_an_invoice, Check.INVOICES),
    (change_a_digit_of_an_amount, Check.INVOICES),
    (move_the_start_of_an_invoice_by_1_ms, Check.INVOICES),
    (invoice_a_manual_plan, Check.INVOICES),
    (delete_a_line, Check.INVOICE_LINES),
    (change_a_digit_of_a_line, Check.INVOICE_LINES),
    (hold_a_period, Check.HELD),
    (change_a_copied_total, Check.PROJECTION),
    (delete_a_copied_total, Check.PROJECTION),
    (open_a_copied_period_again, Check.PROJECTION),
    (forget_a_sequence_of_a_copied_period, Check.PROJECTION),
    (delete_a_copied_period, Check.PROJECTION),
    (copy_a_period_that_there_is_not, Check.PROJECTION),
    (change_the_copied_ledger, Check.PROJECTION),
]


@pytest.mark.parametrize(("change", "check"), CHANGES, ids=lambda value: getattr(value, "__name__", value))
def test_one_change_turns_the_audit_red_at_its_place(world: Captured, change: Change, check: Check) -> None:
    assert_found(world, change(world), check)
