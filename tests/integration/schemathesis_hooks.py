"""What schemathesis has to know beyond the document: which texts the formats stand for, what it must leave out, and
which rules are about more than the shape of a request."""

from datetime import UTC, datetime
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from schemas.timestamps import milliseconds, timestamp_text

# hypothesis wants both ends without a zone.
_FIRST, _LAST = datetime(2000, 1, 1), datetime(2100, 12, 31)  # noqa: DTZ001
_TIMES = st.datetimes(_FIRST, _LAST, timezones=st.just(UTC))

schemathesis.openapi.format("date-time", _TIMES.map(lambda at: timestamp_text(milliseconds(at))))
schemathesis.openapi.format("time-zone", st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]))

LEFT_OUT = {
    "cursor": "it is the nextCursor of an answer: no schema tells which texts are",
    "Idempotency-Key": "it says that two requests are one: all but the first would be answered 422, and rightly",
    "application/x-ndjson": "its lines have a schema, the text as a whole has none",
}

MEANING = {
    *("subscription_mismatch", "invoice_mismatch", "occurred_at_in_future", "occurred_at_too_old"),
    "invoice_paid_on_create",
}
"""Codes that are a 400 by the contract, of requests whose shape is right."""

RULES = {
    "paymentPlanId must be a plan of the service.",
    "eventKeyScope is fixed when the service is created.",
    "periodEnd must be after periodStart.",
    "periodEnd must be given where periodStart is, and only there.",
}
"""The same of what is `field_invalid` for what it means beside other fields."""

RULES_OF_PRICES = (
    "must end with a tier without upTo, and have upTo in all others.",
    "must have upTo rise from tier to tier, from more than 0 on.",
    "must be more than 0.",
    "once: leave out the other.",
    "of unitPrices: leave it out of one of the two.",
)
"""How such sentences end that begin with the name of a meter."""


@schemathesis.hook
def before_load_schema(context: schemathesis.HookContext, raw_schema: dict[str, Any]) -> None:
    for methods in raw_schema["paths"].values():
        for operation in methods.values():
            operation["parameters"] = [p for p in operation.get("parameters", ()) if _name(p) not in LEFT_OUT]
            for media_type in LEFT_OUT.keys() & operation.get("requestBody", {}).get("content", {}).keys():
                del operation["requestBody"]["content"][media_type]


@schemathesis.check
def what_the_schema_allows_is_accepted(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> bool | None:
    """positive_data_acceptance, which takes every 400 for a refusal of the shape."""
    if response.status_code == 400:
        error = response.json()
        if error["code"] in MEANING or error["error"] in RULES or error["error"].endswith(RULES_OF_PRICES):
            return None
    return positive_data_acceptance(ctx, response, case)


@schemathesis.check
def what_the_schema_forbids_is_refused(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> bool | None:
    """negative_data_rejection, which does not know that a batch refuses each item by itself."""
    if response.status_code == 207 and any(result["status"] == 400 for result in response.json()["results"]):
        return None
    return negative_data_rejection(ctx, response, case)


@schemathesis.check
def what_fails_says_when_to_come_again(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> bool | None:
    """not_a_server_error, which does not know that the void of an event that can't be read yet is rightly a 503."""
    if response.status_code == 503 and case.operation.path.endswith("/void") and "retry-after" in response.headers:
        return None
    return not_a_server_error(ctx, response, case)


def _name(parameter: dict[str, Any]) -> str:
    return str(parameter.get("name") or parameter["$ref"].rpartition("/")[2])
