"""Plans as callers send them: what their prices may say, and what is answered where they may not."""

from typing import Any

import pytest

from schemas.document import parse_object, validate
from schemas.plan import NewPlan, Plan
from schemas.rejection import Rejection
from tests.unit.world import plan

NEW: dict[str, Any] = {
    "serviceId": "svc",
    "name": "Plan",
    "pricingType": "USAGE_BASED",
    "billingInterval": "MONTH",
}
PER_UNIT = {"model": "PER_UNIT", "unitPrice": "1"}
PACKAGE = {"model": "PACKAGE", "unitPrice": "1", "packageSize": "10"}
TIERS = [{"upTo": "10", "unitPrice": "2"}, {"unitPrice": "1"}]
GRADUATED = {"model": "GRADUATED", "tiers": TIERS}
VOLUME = {"model": "VOLUME", "tiers": TIERS}
PRICES = {"calls": PER_UNIT, "tokens": GRADUATED, "images": VOLUME, "storage": PACKAGE}


def sent(**fields: Any) -> NewPlan | Rejection:
    return validate(NewPlan.model_validate, {**NEW, **fields})


def test_prices_go_out_whole_and_without_the_fields_of_other_models() -> None:
    accepted = sent(prices=PRICES)
    assert isinstance(accepted, NewPlan)
    tiers = [
        {"upTo": "10.000000", "unitPrice": "2.000000000000", "flatAmount": "0.000000"},
        {"upTo": None, "unitPrice": "1.000000000000", "flatAmount": "0.000000"},
    ]
    assert accepted.wire()["prices"] == {
        "calls": {"model": "PER_UNIT", "included": "0.000000", "unitPrice": "1.000000000000"},
        "tokens": {"model": "GRADUATED", "included": "0.000000", "tiers": tiers},
        "images": {"model": "VOLUME", "included": "0.000000", "tiers": tiers},
        "storage": {
            "model": "PACKAGE",
            "included": "0.000000",
            "unitPrice": "1.000000000000",
            "packageSize": "10.000000",
        },
    }


@pytest.mark.parametrize("fields", [{}, {"prices": None}, {"prices": {}}, {"unitPrices": None, "prices": None}])
def test_a_plan_without_prices_says_so(fields: dict[str, Any]) -> None:
    accepted = sent(**fields)
    assert isinstance(accepted, NewPlan)
    assert (accepted.wire()["unitPrices"], accepted.wire()["prices"]) == ({}, {})


def test_a_plan_of_the_time_before_there_were_prices_is_read_and_is_the_same() -> None:
    before = plan(unitPrices={"calls": "1"}).wire()
    assert before.pop("prices") == {}
    assert Plan.model_validate(before) == plan(unitPrices={"calls": "1"})


@pytest.mark.parametrize(
    "price",
    [
        {**PER_UNIT, "packageSize": None, "tiers": None, "included": None, "colour": "red"},
        {**PACKAGE, "tiers": None},
        {"model": "VOLUME", "tiers": [{"upTo": None, "unitPrice": 0, "flatAmount": None, "colour": "red"}]},
        {**GRADUATED, "tiers": [*({"upTo": n, "unitPrice": 1} for n in range(1, 100)), {"unitPrice": 1}]},
        {**PER_UNIT, "unitPrice": "0.000000000001"},
    ],
)
def test_null_means_omitted_and_unknown_fields_are_ignored(price: dict[str, Any]) -> None:
    assert isinstance(sent(prices={"calls": price}), NewPlan)


def test_a_plan_that_does_not_bill_usage_may_have_prices() -> None:
    for pricing_type in ("FIXED_RECURRING", "ONE_TIME"):
        assert isinstance(sent(pricingType=pricing_type, prices=PRICES), NewPlan)


@pytest.mark.parametrize(
    ("price", "field", "code", "says"),
    [
        ("1", "", "field_invalid", "must be a JSON object"),
        ({}, ".model", "field_required", "is required"),
        ({"model": "BY_MOOD"}, ".model", "field_invalid", "'PER_UNIT', 'GRADUATED', 'VOLUME' or 'PACKAGE'"),
        ({"model": "PER_UNIT"}, ".unitPrice", "field_required", "is required where the model is PER_UNIT"),
        ({**PER_UNIT, "unitPrice": None}, ".unitPrice", "field_required", "is required where the model is PER_UNIT"),
        ({**PER_UNIT, "unitPrice": "-1"}, ".unitPrice", "decimal_negative", ""),
        ({**PER_UNIT, "unitPrice": "0.0000000000001"}, ".unitPrice", "decimal_too_precise", "12"),
        ({**PER_UNIT, "unitPrice": "1e14"}, ".unitPrice", "decimal_out_of_range", ""),
        ({**PER_UNIT, "included": "0.0000001"}, ".included", "decimal_too_precise", "6"),
        ({**PER_UNIT, "included": -1}, ".included", "decimal_negative", ""),
        ({**PER_UNIT, "packageSize": 1}, ".packageSize", "field_invalid", "leave it out, or make the model PACKAGE"),
        ({**PER_UNIT, "tiers": TIERS}, ".tiers", "field_invalid", "or make the model GRADUATED or VOLUME"),
        ({**PER_UNIT, "tiers": []}, ".tiers", "field_invalid", "does not belong to the model PER_UNIT"),
        ({**PACKAGE, "tiers": TIERS}, ".tiers", "field_invalid", "does not belong to the model PACKAGE"),
        ({**PACKAGE, "packageSize": None}, ".packageSize", "field_required", "where the model is PACKAGE"),
        ({**PACKAGE, "packageSize": 0}, ".packageSize", "field_invalid", "must be more than 0"),
        ({**PACKAGE, "packageSize": "0.0000001"}, ".packageSize", "decimal_too_precise", "6"),
        ({**GRADUATED, "unitPrice": 1}, ".unitPrice", "field_invalid", "make the model PER_UNIT or PACKAGE"),
        ({**VOLUME, "packageSize": 1}, ".packageSize", "field_invalid", "does not belong to the model VOLUME"),
        ({"model": "VOLUME"}, ".tiers", "field_required", "is required where the model is VOLUME"),
        ({**VOLUME, "tiers": []}, ".tiers", "field_invalid", "must be a list of 1 to 100 tiers"),
        ({**VOLUME, "tiers": {}}, ".tiers", "field_invalid", "must be a list of 1 to 100 tiers"),
        ({**VOLUME, "tiers": [{"unitPrice": 1}] * 101}, ".tiers", "field_invalid", "must be a list of 1 to 100 tiers"),
        ({**VOLUME, "tiers": [1]}, ".tiers.0", "field_invalid", "must be a JSON object"),
        ({**VOLUME, "tiers": [{}]}, ".tiers.0.unitPrice", "field_required", "is required"),
        ({**VOLUME, "tiers": [{"unitPrice": "x"}]}, ".tiers.0.unitPrice", "decimal_invalid", ""),
        (
            {**VOLUME, "tiers": [{"unitPrice": 1, "flatAmount": "0.0000001"}]},
            ".tiers.0.flatAmount",
            "decimal_too_precise",
            "6",
        ),
        ({**VOLUME, "tiers": [{"unitPrice": 1, "upTo": "many"}]}, ".tiers.0.upTo", "decimal_invalid", ""),
        ({**VOLUME, "tiers": [{"unitPrice": 1, "upTo": 5}]}, ".tiers", "field_invalid", "must end with a tier without"),
        ({**VOLUME, "tiers": [{"unitPrice": 1}, *TIERS]}, ".tiers", "field_invalid", "must end with a tier without"),
        ({**VOLUME, "tiers": [{**TIERS[0], "upTo": 0}, TIERS[1]]}, ".tiers", "field_invalid", "from more than 0 on"),
        ({**VOLUME, "tiers": [TIERS[0], *TIERS]}, ".tiers", "field_invalid", "must have upTo rise"),
        ({**VOLUME, "tiers": [{**TIERS[0], "upTo": 11}, *TIERS]}, ".tiers", "field_invalid", "must have upTo rise"),
    ],
)
def test_a_price_is_refused_with_what_to_do(price: Any, field: str, code: str, says: str) -> None:
    refused = sent(prices={"calls": price})
    assert isinstance(refused, Rejection)
    (error,) = refused.details
    assert (error.field, error.reason) == (f"prices.calls{field}", code)
    assert says in error.message


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"unitPrices": {"calls": 1}, "prices": {"calls": PER_UNIT}}, "prices", "calls of unitPrices"),
        ({"unitPrices": {" calls": 1}, "prices": {"calls ": PER_UNIT}}, "prices", "calls of unitPrices"),
        ({"unitPrices": {"calls": 1, " calls": 2}}, "unitPrices", "must name the meter calls once"),
        ({"prices": {"calls": PER_UNIT, "calls\u00a0": PACKAGE}}, "prices", "must name the meter calls once"),
        ({"prices": {" ": PER_UNIT}}, "prices. .[key]", "must not be blank"),
        ({"prices": [PER_UNIT]}, "prices", "must be a JSON object"),
        ({"unitPrices": "free"}, "unitPrices", "must be a JSON object"),
    ],
)
def test_a_meter_is_named_once(fields: dict[str, Any], field: str, says: str) -> None:
    refused = sent(**fields)
    assert isinstance(refused, Rejection)
    (error,) = refused.details
    assert (error.field, error.reason) == (field, "field_invalid")
    assert says in error.message


def test_every_error_of_shape_is_told_at_once() -> None:
    refused = sent(name=None, prices={"a": {"model": "PER_UNIT"}, "b": {**VOLUME, "tiers": []}})
    assert isinstance(refused, Rejection)
    assert [error.field for error in refused.details] == ["prices.a.unitPrice", "prices.b.tiers", "name"]


def test_numbers_of_a_body_are_exact() -> None:
    document = parse_object(b'{"a": {"model": "PER_UNIT", "unitPrice": 12345678901234.000000000001}}')
    assert not isinstance(document, Rejection)
    accepted = sent(prices=document)
    assert isinstance(accepted, NewPlan)
    assert accepted.wire()["prices"]["a"]["unitPrice"] == "12345678901234.000000000001"
