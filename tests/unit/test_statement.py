"""The text of a statement, and that its steps are what the price comes to."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.breakdown import breakdown
from deploy.statement import statement
from ingest.gateway.documentation import examples
from schemas.price import Price

ZEROS = "0" * 10

GRADUATED = {
    "model": "GRADUATED",
    "included": "100.000000",
    "tiers": [
        {"upTo": "1000.000000", "unitPrice": f"0.01{ZEROS}", "flatAmount": "0.000000"},
        {"upTo": None, "unitPrice": f"0.0015{ZEROS[2:]}", "flatAmount": "5.000000"},
    ],
}
VOLUME = {
    "model": "VOLUME",
    "tiers": [{"upTo": "10", "unitPrice": "2"}, {"upTo": None, "unitPrice": "1.5", "flatAmount": "3"}],
}
PACKAGE = {"model": "PACKAGE", "included": "5", "unitPrice": "2", "packageSize": "10"}
PER_UNIT = {"model": "PER_UNIT", "unitPrice": "0.000015"}


def line(meter: str, quantity: str, amount: str, price: dict[str, Any] | None, **others: Any) -> dict[str, Any]:
    fixed = {"unitPrice": None, "eventCount": 2, "chargedBefore": None}
    return {**fixed, "meter": meter, "quantity": quantity, "amount": amount, "price": price, **others}


def test_the_statement_of_a_regular_invoice() -> None:
    assert statement(examples.INVOICE_WITH_EVENTS) == (
        """\
Invoice 1f7b7c1e-4d3f-5a83-9d26-0f1c6f1f3a5d, OPEN
  service       svc_chat
  user          user_ada
  subscription  sub_ada
  plan          plan_pay_as_you_go
  period        2026-01-01T00:00:00.000Z to 2026-02-01T00:00:00.000Z, its end excluded
  sequence      0, the regular invoice of the period
  written       2026-02-01T01:00:00.000Z

image
  quantity      15 in 1 event
  price         GRADUATED, 10 included, 5 to pay for
                5 x 0.04, tier up to 100                                        0.200000
  amount                                                                        0.200000

token_generated
  quantity      1500000 in 2 events
  price         1500000 x 0.000002                                              3.000000
  amount                                                                        3.000000

Total 3.200000 USDC

  log           offsets 12 to 1041 of partition 3, usage-events
  digest        7d865e959b2466918c9863afca942d0fb89d7c9ac0c99bafc3749504ded97730
  events        GET /api/v1/usage-events?invoiceId=1f7b7c1e-4d3f-5a83-9d26-0f1c6f1f3a5d
  recount       tally recount --subscription sub_ada --period 2026-01-01T00:00:00.000Z"""
    )


def test_the_statement_of_a_credit_under_tiers() -> None:
    before = {"quantity": "1300.000000", "eventCount": 130, "amount": "14.300000"}
    credit = {
        **examples.INVOICE_WITH_EVENTS,
        "sequence": 1,
        "amount": "-9.300000",
        "lines": [line("calls", "-700.000000", "-9.300000", GRADUATED, eventCount=-70, chargedBefore=before)],
    }
    text = statement(credit)
    assert text.startswith("Credit note 1f7b7c1e-4d3f-5a83-9d26-0f1c6f1f3a5d, OPEN\n")
    assert (
        """
calls
  before        1300 in 130 events
  quantity      -700 in -70 events
  in all        600
  price         GRADUATED, 100 included, 500 to pay for
                500 x 0.01, tier up to 1000                                     5.000000
  price in all  rounded                                                         5.000000
  less          charged before                                                 14.300000
  amount                                                                       -9.300000

Credit of 9.300000 USDC to the user, who owes nothing for it
It can't be paid; it can be voided.
"""
        in text
    )


def test_the_statement_of_an_invoice_made_by_hand() -> None:
    text = statement(examples.MANUAL_INVOICE)
    assert text.splitlines()[0] == "Invoice inv_setup_ada, DRAFT"
    assert "Total 250.000000 USDC\nMade by hand: the amount is the one that the caller gave.\n" in text
    assert text.endswith("events        those that are linked to it: GET /api/v1/usage-events?invoiceId=inv_setup_ada")
    assert not {"log", "digest", "recount", "period", "sequence"} & {
        words.split()[0] for words in text.splitlines() if words
    }


def test_a_flat_amount_is_said_and_ids_are_spelled_for_a_url_and_a_shell() -> None:
    flat = {**examples.INVOICE_WITH_EVENTS, "id": "a b/c", "firstOffset": None, "lastOffset": None}
    flat["subscriptionId"] = "ada's sub"
    flat["lines"] = [line("calls", "1.000000", "0.000000", None, eventCount=1)]
    text = statement(flat)
    assert "  quantity      1 in 1 event\n  price         none of its own: the plan's amount is flat\n" in text
    assert "?invoiceId=a%20b%2Fc" in text
    assert """--subscription 'ada'"'"'s sub' --period""" in text
    assert "  log           none\n" in text


def test_an_amount_that_the_price_does_not_come_to_is_said() -> None:
    wrong = {**examples.INVOICE_WITH_EVENTS, "lines": [line("calls", "2.000000", "9.000000", PER_UNIT)]}
    assert "The price comes to 0.000030, which is not this amount: recount." in statement(wrong)


@pytest.mark.parametrize(
    ("price", "total", "steps"),
    [
        (PER_UNIT, "0", [("0 x 0.000015", "0")]),
        (PER_UNIT, "-2", [("0 x 0.000015", "0")]),
        (
            {**PER_UNIT, "included": "1"},
            "3",
            [("PER_UNIT, 1 included, 2 to pay for", None), ("2 x 0.000015", "0.00003")],
        ),
        (PACKAGE, "5", [("PACKAGE, 5 included, 0 to pay for", None), ("0 packages of 10 x 2", "0")]),
        (PACKAGE, "15.000001", [("PACKAGE, 5 included, 10.000001 to pay for", None), ("2 packages of 10 x 2", "4")]),
        (VOLUME, "0", [("VOLUME", None)]),
        (VOLUME, "10", [("VOLUME", None), ("10 x 2, tier up to 10", "20")]),
        (
            VOLUME,
            "11",
            [("VOLUME", None), ("11 x 1.5, tier without end", "16.5"), ("flat amount of the tier without end", "3")],
        ),
        (
            GRADUATED,
            "1300",
            [
                ("GRADUATED, 100 included, 1200 to pay for", None),
                ("1000 x 0.01, tier up to 1000", "10"),
                ("200 x 0.0015, tier without end", "0.3"),
                ("flat amount of the tier without end", "5"),
            ],
        ),
        (
            GRADUATED,
            "1100",
            [("GRADUATED, 100 included, 1000 to pay for", None), ("1000 x 0.01, tier up to 1000", "10")],
        ),
    ],
)
def test_the_steps_of_a_price(price: dict[str, Any], total: str, steps: list[tuple[str, str | None]]) -> None:
    found = breakdown(Price.model_validate(price), int(Decimal(total) * 10**6))
    assert list(found) == [(words, None if exact is None else int(Decimal(exact) * 10**18)) for words, exact in steps]


@given(
    st.sampled_from([PER_UNIT, PACKAGE, VOLUME, GRADUATED]).map(Price.model_validate),
    st.integers(-(10**9), 3 * 10**9),
)
def test_the_steps_add_up_to_what_the_price_comes_to(price: Price, total: int) -> None:
    assert sum(exact or 0 for _, exact in breakdown(price, total)) == price.exact_amount(total)
