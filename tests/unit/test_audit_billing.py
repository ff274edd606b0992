"""What closed periods cost by the prices of their plan, and that an invoice with any other line is found: a plan with
all models, a period and its adjustment, worked by hand."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from aggregator.audit.billing import Billing
from aggregator.audit.canonical import digest
from aggregator.audit.catalog import Catalog, write_catalog
from aggregator.audit.closed import ClosedPeriods
from aggregator.audit.copies import Copies, write_copies
from aggregator.audit.counting import Counted
from aggregator.audit.invoices import InvoiceComparison, invoice_id_of
from aggregator.audit.report import Check, Findings
from aggregator.audit.times import own_time
from tests.unit.test_audit_judging import SERVICE, Entry, entry, subscription

JANUARY, FEBRUARY = "2026-01-01T00:00:00.000Z", "2026-02-01T00:00:00.000Z"
TIERS: list[dict[str, str | None]] = [
    {"upTo": "10.000000", "unitPrice": "1.000000000000", "flatAmount": "0.000000"},
    {"upTo": "20.500000", "unitPrice": "0.500000000000", "flatAmount": "5.000000"},
    {"upTo": None, "unitPrice": "0.100000000000", "flatAmount": "7.000000"},
]
HALVES = [
    {"upTo": up_to, "unitPrice": "0.000001000000", "flatAmount": "0.000000"} for up_to in ("0.500000", "1.000000", None)
]
PRICES: dict[str, dict[str, Any]] = {
    "graded": {"model": "GRADUATED", "included": "0.000000", "tiers": TIERS},
    "halves": {"model": "GRADUATED", "included": "0.000000", "tiers": HALVES},
    "packed": {"model": "PACKAGE", "included": "1000.000000", "unitPrice": "2.500000000000",
               "packageSize": "1000.000000"},
    "single": {"model": "PER_UNIT", "included": "100.000000", "unitPrice": "0.010000000000"},
    "volume": {"model": "VOLUME", "included": "2.000000", "tiers": TIERS},
}  # fmt: skip
PLAN = entry(
    "plan/plan", 0, serviceId="svc", pricingType="USAGE_BASED", billingInterval="MONTH", amount="0.25",
    unitPrices={"calls": "0.000003"}, prices=PRICES,
)  # fmt: skip

LINES: list[dict[str, tuple[str, str | None, str]]] = [
    {
        "graded": ("20.500000", None, "20.250000"),  # 10 x 1 + 10.5 x 0.5 + 5
        "halves": ("1.500000", None, "0.000002"),  # 0.0000015, rounded once
        "packed": ("2000.000000", "2.5", "2.500000"),  # 1000 beyond those included: one package
        "single": ("150.000000", "0.01", "0.500000"),  # 50 x 0.01
        "volume": ("22.600000", "0.1", "9.060000"),  # 20.6 x 0.1 + 7
        "calls": ("1000000.000000", "0.000003", "3.000000"),
        "other": ("4.000000", "0.25", "1.000000"),
    },
    {
        "graded": ("100.000000", None, "17.000000"),  # 120.5 in all: 37.25 - 20.25
        "packed": ("0.000001", "2.5", "2.500000"),  # one package more is begun
        "single": ("-60.000000", "0.01", "-0.500000"),  # 90 in all, which are included: a credit
        "volume": ("-0.100000", "0.5", "6.190000"),  # 22.5 in all: 20.5 x 0.5 + 5 = 15.25, - 9.06
    },
]
"""Quantity, unit price and amount by sequence and meter."""


TERMS = {"planId": "plan", "currency": "USDC", "pricingType": "USAGE_BASED", "invoicing": "AUTOMATIC"}
WHOSE = {"subscriptionId": "sub", "serviceId": "svc", "userId": "user", "periodStart": JANUARY, "periodEnd": FEBRUARY}
WHOLE = {"part": 0, "parts": 1, "partDigests": [], "firstOffset": None, "lastOffset": None}


@dataclass
class Billed:
    """The closed periods and the invoices of one subscription, as a closer has written them."""

    path: Path

    def __post_init__(self) -> None:
        self.lines = [dict(lines) for lines in LINES]
        self.prices = json.loads(json.dumps(PRICES))

    def findings(self) -> Findings:
        """What the audit finds."""
        findings, catalog_file, copies_file = Findings(), str(self.path / "catalog"), str(self.path / "copies")
        write_catalog(catalog_file, iter([SERVICE, PLAN, subscription()]))
        closed = ClosedPeriods(0, findings)
        closed.read(iter(self._records()))
        counted = Counted()
        period = ("sub", own_time(JANUARY))
        counted.times[period] = (0, 0)
        counted.blurred.add(period)
        charged = Billing(closed, counted, Catalog(catalog_file), 1, findings).run()
        self._bills = charged[period].bills
        asyncio.run(write_copies(copies_file, self, 1))
        InvoiceComparison(0, Copies(copies_file), 100, findings).run(charged.values())
        return findings

    def _records(self) -> list[Entry]:
        before: dict[str, list[Decimal]] = {}
        return [self._record(number, before) for number in range(len(LINES))]

    def _record(self, number: int, before: dict[str, list[Decimal]]) -> Entry:
        lines = []
        for meter, (quantity, _, amount) in sorted(LINES[number].items()):
            known = before.get(meter)
            charged = None if known is None else {
                "quantity": f"{known[0]:.6f}", "eventCount": number, "amount": f"{known[1]:.6f}"
            }  # fmt: skip
            lines.append({"meter": meter, "quantity": quantity, "eventCount": 1, "chargedBefore": charged})
            known = known or [Decimal(0), Decimal(0)]
            before[meter] = [known[0] + Decimal(quantity), known[1] + Decimal(amount)]
        meters = LINES[number]
        document: dict[str, Any] = {
            **TERMS,
            **WHOSE,
            **WHOLE,
            "sequence": number,
            "lines": lines,
            "prices": {
                "amount": "0.250000",
                "unitPrices": {"calls": "0.000003000000"} if "calls" in meters else {},
                "prices": {meter: price for meter, price in self.prices.items() if meter in meters},
            },
        }
        key = json.dumps(["sub", JANUARY, number, 0], separators=(",", ":")).encode()
        value = json.dumps({**document, "digest": digest(document)}, separators=(",", ":")).encode()
        return Entry(key, value, own_time(FEBRUARY), number)

    async def rows(self, query: str, *_: str | None) -> AsyncIterator[tuple[Any, ...]]:
        """The rows of Postgres."""
        for bill in self._bills if query in ("invoices", "invoice_lines") else ():
            number, invoice_id = bill.sequence.number, invoice_id_of(bill)
            if query == "invoice_lines":
                for meter, (quantity, unit_price, amount) in self.lines[number].items():
                    yield invoice_id, meter, quantity, unit_price, amount, 1
                continue
            total = sum(Decimal(amount) for _, _, amount in LINES[number].values())
            times = (own_time(JANUARY) * 1_000, own_time(FEBRUARY) * 1_000)
            of = (invoice_id, "svc", "plan", "user", "sub", f"{total:.6f}", "USDC", *times, number)
            yield *of, bill.sequence.digest, 0, None, None


@pytest.fixture
def billed(tmp_path: Path) -> Billed:
    return Billed(tmp_path)


def test_lines_that_are_priced_as_the_plan_says_agree(billed: Billed) -> None:
    findings = billed.findings()
    assert findings.kept == []
    assert findings.compared[Check.INVOICE_LINES] == sum(map(len, LINES))


@pytest.mark.parametrize(
    ("number", "meter", "unit_price", "amount"),
    [
        (0, "volume", "0.5", "15.300000"),  # the wrong tier: 20.6 x 0.5 + 5
        (0, "volume", "0.1", "9.260000"),  # the tier of the total, and not of what is billable: 22.6 x 0.1 + 7
        (0, "graded", None, "25.250000"),  # its flat amount twice
        (1, "graded", None, "22.000000"),  # a flat amount again that sequence 0 had charged
        (0, "graded", None, "15.250000"),  # without it
        (0, "single", "0.01", "1.500000"),  # what is included, forgotten
        (1, "single", "0.01", "-0.600000"),  # a credit for what was free
        (0, "halves", None, "0.000000"),  # rounded tier by tier
        (1, "packed", "2.5", "0.000000"),  # a package that was begun
        (1, "volume", "0.1", "6.190000"),  # the unit price of the tier before
        (0, "graded", "1", "20.250000"),  # a unit price where there are several
        (0, "packed", "0.0025", "2.500000"),  # that of a unit, and not of a package
    ],
)
def test_a_line_that_is_priced_otherwise_is_found(
    billed: Billed, number: int, meter: str, unit_price: str | None, amount: str
) -> None:
    billed.lines[number][meter] = (billed.lines[number][meter][0], unit_price, amount)
    (found,) = billed.findings().kept
    assert (found.check, found.key) == (Check.INVOICE_LINES, ["sub", JANUARY, number])
    assert meter in found.what


@pytest.mark.parametrize(
    ("meter", "changes"),
    [
        ("single", {"included": "10.000000"}),
        ("single", {"unitPrice": "0.020000000000"}),
        ("packed", {"packageSize": "100.000000"}),
        ("volume", {"tiers": TIERS[2:]}),
        ("volume", {"model": "GRADUATED"}),
        ("graded", {"tiers": [TIERS[0] | {"flatAmount": "1.000000"}, *TIERS[1:]]}),
    ],
)
def test_a_closed_period_with_another_price_than_its_plan_is_found(
    billed: Billed, meter: str, changes: dict[str, Any]
) -> None:
    billed.prices[meter] |= changes
    found = {disagreement.what for disagreement in billed.findings().kept}
    assert found == {"Its prices is not the catalog's."}


def test_a_closed_period_that_lacks_the_price_of_a_meter_is_found(billed: Billed) -> None:
    del billed.prices["volume"]
    found = {disagreement.what for disagreement in billed.findings().kept}
    assert found == {"Its prices is not the catalog's."}
