import pytest

from schemas.rejection import REASONS, FieldError, Reason, Rejection

CODES_BY_STATUS = {  # contract section 2, the table of refusals
    400: "invalid_body field_required field_invalid parameter_invalid batch_size_invalid decimal_invalid"
    " decimal_negative decimal_too_precise decimal_out_of_range timestamp_invalid occurred_at_in_future"
    " occurred_at_too_old subscription_mismatch invoice_mismatch invoice_paid_on_create",
    401: "unauthorized",
    403: "forbidden",
    404: "service_not_found plan_not_found subscription_not_found invoice_not_found usage_event_not_found not_found",
    405: "method_not_allowed",
    409: "subscription_not_active invoice_closed duplicate_event_key event_not_recorded invalid_transition"
    " period_already_invoiced already_exists idempotency_in_progress",
    413: "body_too_large",
    415: "unsupported_media_type",
    422: "idempotency_key_reused",
    429: "rate_limited",
    503: "unavailable",
}
ONLY_OVER_KAFKA = {"processing_failed"}


def test_reasons_are_those_of_the_contract_with_their_status() -> None:
    contract = {code: status for status, codes in CODES_BY_STATUS.items() for code in codes.split()}
    assert {r.value: r.status for r in Reason if r.value not in ONLY_OVER_KAFKA} == contract
    assert set(REASONS) == set(contract) | ONLY_OVER_KAFKA


@pytest.mark.parametrize(
    ("first", "then"),
    [
        # contract section 2: 401/403, 400 body, 400 shape, 404 existence, 400 ownership, 409 state, 400 age, 409 used
        (Reason.UNAUTHORIZED, Reason.FORBIDDEN),
        (Reason.FORBIDDEN, Reason.INVALID_BODY),
        (Reason.BODY_TOO_LARGE, Reason.INVALID_BODY),
        (Reason.INVALID_BODY, Reason.FIELD_REQUIRED),
        (Reason.TIMESTAMP_INVALID, Reason.SERVICE_NOT_FOUND),
        (Reason.SERVICE_NOT_FOUND, Reason.SUBSCRIPTION_NOT_FOUND),
        (Reason.SUBSCRIPTION_NOT_FOUND, Reason.INVOICE_NOT_FOUND),
        (Reason.INVOICE_NOT_FOUND, Reason.SUBSCRIPTION_MISMATCH),
        (Reason.SUBSCRIPTION_MISMATCH, Reason.INVOICE_MISMATCH),
        (Reason.INVOICE_MISMATCH, Reason.SUBSCRIPTION_NOT_ACTIVE),
        (Reason.SUBSCRIPTION_NOT_ACTIVE, Reason.INVOICE_CLOSED),
        (Reason.INVOICE_CLOSED, Reason.OCCURRED_AT_IN_FUTURE),
        (Reason.OCCURRED_AT_IN_FUTURE, Reason.OCCURRED_AT_TOO_OLD),
        (Reason.OCCURRED_AT_TOO_OLD, Reason.DUPLICATE_EVENT_KEY),
    ],
)
def test_order_of_the_reasons_is_their_precedence(first: Reason, then: Reason) -> None:
    order = list(Reason)
    assert order.index(first) < order.index(then)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_sentence(reason: Reason) -> None:
    assert reason.sentence[:1] == reason.sentence[:1].upper() or reason.sentence.startswith("occurredAt")
    assert reason.sentence.endswith(".")


def test_body_is_the_error_envelope() -> None:
    rejection = Rejection.of(Reason.SUBSCRIPTION_NOT_ACTIVE, "subscriptionId", currentStatus="PAST_DUE")
    assert rejection.body("req-1") == {
        "error": "The subscription was not ACTIVE at the time of the request.",
        "code": "subscription_not_active",
        "field": "subscriptionId",
        "requestId": "req-1",
        "details": [],
        "currentStatus": "PAST_DUE",
    }


def test_errors_of_shape_are_in_the_details_and_the_first_is_at_the_top() -> None:
    errors = (
        FieldError("userId", Reason.FIELD_REQUIRED, "is required"),
        FieldError("quantity", Reason.DECIMAL_NEGATIVE, "must not be negative"),
        FieldError(None, Reason.FIELD_INVALID, "The fields contradict each other."),
    )
    assert Rejection.of_fields(errors).body() == {
        "error": "userId is required.",
        "code": "field_required",
        "field": "userId",
        "requestId": None,
        "details": [
            {"field": "userId", "code": "field_required", "message": "userId is required."},
            {"field": "quantity", "code": "decimal_negative", "message": "quantity must not be negative."},
            {"field": None, "code": "field_invalid", "message": "The fields contradict each other."},
        ],
    }
