from typing import Any

import pytest

from schemas.document import parse_object, validate
from schemas.invoice import INVOICE_TRANSITIONS, InvoiceChange, InvoiceStatus, NewInvoice
from schemas.rejection import Rejection

LEAST: dict[str, Any] = {"serviceId": "svc", "paymentPlanId": "plan", "userId": "user", "amount": "1"}


def test_transitions_are_those_of_the_contract() -> None:
    """DRAFT->OPEN->PAID, DRAFT|OPEN->VOID, OPEN->EXPIRED."""
    allowed = {(status.value, following.value) for status, to in INVOICE_TRANSITIONS.items() for following in to}
    assert allowed == {
        ("DRAFT", "OPEN"),
        ("DRAFT", "VOID"),
        ("OPEN", "PAID"),
        ("OPEN", "VOID"),
        ("OPEN", "EXPIRED"),
    }
    assert set(INVOICE_TRANSITIONS) == set(InvoiceStatus)


JANUARY, FEBRUARY = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({}, []),
        ({"status": None, "currency": None, "periodStart": None, "dueAt": None, "id": None}, []),
        ({"status": "OPEN", "periodStart": JANUARY, "periodEnd": FEBRUARY}, []),
        ({"periodStart": JANUARY, "periodEnd": "2026-01-01T00:00:00.001Z"}, []),
        ({"periodStart": JANUARY, "periodEnd": JANUARY}, [("periodEnd", "field_invalid")]),
        ({"periodStart": FEBRUARY, "periodEnd": JANUARY}, [("periodEnd", "field_invalid")]),
        ({"periodStart": JANUARY}, [("periodEnd", "field_invalid")]),
        ({"periodEnd": JANUARY}, [("periodEnd", "field_invalid")]),
        # What is wrong with one end is no fault of the other.
        ({"periodStart": "x", "periodEnd": JANUARY}, [("periodStart", "timestamp_invalid")]),
        ({"periodStart": JANUARY, "periodEnd": "x"}, [("periodEnd", "timestamp_invalid")]),
        ({"status": "PAID"}, [("status", "invoice_paid_on_create")]),
        ({"status": "EXPIRED"}, [("status", "field_invalid")]),
        ({"status": ["DRAFT"]}, [("status", "field_invalid")]),
        ({"status": 1}, [("status", "field_invalid")]),
        ({"amount": True}, [("amount", "decimal_invalid")]),
        ({"amount": None, "userId": " "}, [("userId", "field_invalid"), ("amount", "field_required")]),
        ({"currency": ""}, [("currency", "field_invalid")]),
        # An id that a closed period's invoice could have, now or later, is not a caller's to take.
        ({"id": "6f9619ff-8b86-5011-b42d-00c04fc964ff"}, [("id", "field_invalid")]),
        ({"id": " 6f9619ff-8b86-5011-b42d-00c04fc964ff "}, [("id", "field_invalid")]),
        ({"id": "6F9619FF8B865011B42D00C04FC964FF"}, [("id", "field_invalid")]),
        ({"id": "6f9619ff-8b86-4011-b42d-00c04fc964ff"}, []),
        ({"id": "6f9619ff-8b86-5011-b42d-00c04fc964f"}, []),
        ({"id": ""}, [("id", "field_invalid")]),
        ({"id": 5}, [("id", "field_invalid")]),
    ],
)
def test_shape_of_a_new_invoice(fields: dict[str, Any], errors: list[tuple[str, str]]) -> None:
    result = validate(NewInvoice.model_validate, {**LEAST, **fields})
    found = [(e.field, e.reason.value) for e in result.details] if isinstance(result, Rejection) else []
    assert found == errors
    if isinstance(result, NewInvoice):
        assert result.status.value == (fields.get("status") or "DRAFT")


def test_change_has_the_fields_that_are_given_and_no_others() -> None:
    document = parse_object(b'{"amount": 1.5, "dueAt": null, "status": "PAID"}')
    assert isinstance(document, dict)
    change = InvoiceChange.model_validate(document)
    assert (change.model_fields_set, change.amount, change.due_at) == ({"amount", "due_at"}, 1_500_000, None)
