"""The errors in the document: for each operation its reasons, by status, each with an example."""

from collections import defaultdict
from collections.abc import Container, Iterable
from typing import Any, Final

from pydantic import Field

from ingest.gateway.documentation import examples
from ingest.gateway.documentation.declaring import JSON
from ingest.gateway.documentation.headers import header_references
from ingest.gateway.usage_views import UsageEventView
from schemas.catalog import WireModel
from schemas.rejection import FieldError, Reason, Rejection

REQUEST: Final = (Reason.UNAUTHORIZED, Reason.FORBIDDEN, Reason.RATE_LIMITED, Reason.UNAVAILABLE)
"""Of every request under /api."""

BODY: Final = (
    *(Reason.UNSUPPORTED_MEDIA_TYPE, Reason.BODY_TOO_LARGE, Reason.INVALID_BODY),
    *(Reason.FIELD_REQUIRED, Reason.FIELD_INVALID),
)
DECIMAL: Final = (
    *(Reason.DECIMAL_INVALID, Reason.DECIMAL_NEGATIVE, Reason.DECIMAL_TOO_PRECISE),
    Reason.DECIMAL_OUT_OF_RANGE,
)
TIMESTAMP: Final = (Reason.TIMESTAMP_INVALID,)
PARAMETER: Final = (Reason.PARAMETER_INVALID,)
POST: Final = (Reason.PARAMETER_INVALID, Reason.IDEMPOTENCY_KEY_REUSED, Reason.IDEMPOTENCY_IN_PROGRESS)
"""Of every POST under /api: it takes an Idempotency-Key."""

UNROUTED: Final = frozenset({Reason.NOT_FOUND, Reason.METHOD_NOT_ALLOWED})
"""Of requests that belong to no operation."""


class ErrorDetail(WireModel):
    """One of several errors."""

    field: str | None
    code: Reason
    message: str


class UsageEventName(WireModel):
    """The id of a usage event that can't be shown yet."""

    id: str


class Error(WireModel):
    """Every error: a sentence for people, a code for programs."""

    error: str = Field(description="What is wrong and what to do, for people.")
    code: Reason = Field(description="For programs; codes are added and never renamed.")
    field: str | None = Field(description="The field that is wrong, where it is one.")
    request_id: str | None = Field(description="The X-Request-Id of the answer.")
    details: list[ErrorDetail] = Field(description="All errors of shape; the first is at the top, too.")
    current_status: str = Field("", description="Of what is in a status that does not allow this.")
    existing: UsageEventView | UsageEventName | None = Field(
        None, description="Of a duplicate: the event that was counted; its id alone where that was only a moment ago."
    )
    identical: bool = Field(False, description="Of a duplicate: whether it says the same as the one that was counted.")


def _each(message: str, *fields: str) -> tuple[tuple[str, str], ...]:
    return tuple((field, message) for field in fields)


_TEXTS: Final = ("userId", "name", "reason", "status")
_DECIMALS: Final = ("quantity", "amount", "unitPrices")

# What an example may be about, and what is wrong with it: the first that the request has.
_FIELDS: Final[dict[Reason, tuple[tuple[str, str], ...]]] = {
    Reason.FIELD_REQUIRED: _each("is required", "serviceId", "usageEvents", *_TEXTS),
    Reason.FIELD_INVALID: (("usageEvents", "must be a list of usage events"), *_each("must not be blank", *_TEXTS)),
    Reason.PARAMETER_INVALID: (
        ("Idempotency-Key", "must have 1 to 255 printable ASCII characters"),
        ("limit", "must be a whole number from 1 to 100"),
    ),
    Reason.DECIMAL_INVALID: _each("must be a decimal number, or a string that holds one", *_DECIMALS),
    Reason.DECIMAL_NEGATIVE: _each("must not be negative", *_DECIMALS),
    Reason.DECIMAL_TOO_PRECISE: _each("must have at most 6 decimal places", *_DECIMALS),
    Reason.DECIMAL_OUT_OF_RANGE: _each("must be less than 10^14", *_DECIMALS),
    Reason.TIMESTAMP_INVALID: _each("must be a time as in RFC 3339", "occurredAt", "billingAnchor", "dueAt"),
}
_EXTRA: Final[dict[Reason, dict[str, Any]]] = {
    Reason.SUBSCRIPTION_NOT_ACTIVE: {"currentStatus": "CANCELLED"},
    Reason.INVALID_TRANSITION: {"currentStatus": "CANCELLED"},
    Reason.DUPLICATE_EVENT_KEY: {"existing": examples.USAGE_EVENT, "identical": True},
}
_DESCRIPTIONS: Final = {
    400: "What was sent can't be used.",
    401: "Without a valid API key.",
    403: "The API key may not do this.",
    404: "It does not exist, or the API key may not know of it.",
    409: "It does not fit what is stored.",
    413: "The body is too large.",
    415: "The body is not of a media type that is read here.",
    422: "The Idempotency-Key was used for something else.",
    429: "Too many requests.",
    500: "Tally failed, which is no fault of the caller.",
    503: "Kafka or Postgres is away.",
}


def error_example(reason: Reason, sent: Container[str] = examples.NEW_USAGE_EVENT) -> dict[str, Any]:
    """An answer with this reason to a request with these fields."""
    if reason in _FIELDS:
        field, message = next((pair for pair in _FIELDS[reason] if pair[0] in sent), _FIELDS[reason][-1])
        return Rejection.of_fields([FieldError(field, reason, message)]).body(examples.REQUEST_ID)
    return Rejection.of(reason, **_EXTRA.get(reason, {})).body(examples.REQUEST_ID)


def error_responses(reasons: Iterable[Reason], sent: Container[str]) -> dict[str, Any]:
    """OpenAPI's responses for these reasons, by status."""
    by_status: defaultdict[int, list[Reason]] = defaultdict(list)
    for reason in Reason:  # in the order of their precedence
        if reason in set(reasons):
            by_status[reason.status].append(reason)
    return {str(status): _response(status, by_status[status], sent) for status in sorted(by_status)}


def _response(status: int, reasons: list[Reason], sent: Container[str]) -> dict[str, Any]:
    codes = [reason.value for reason in reasons]
    return {
        "description": _DESCRIPTIONS[status],
        "headers": header_references(status),
        "content": {
            JSON: {
                "schema": {
                    "allOf": [
                        {"$ref": "#/components/schemas/Error"},
                        {"type": "object", "properties": {"code": {"enum": codes}}},
                    ]
                },
                "examples": {
                    reason.value: {"summary": f"{reason}: {reason.sentence}", "value": error_example(reason, sent)}
                    for reason in reasons
                },
            }
        },
    }
