"""Why something is refused: a closed set of reasons, each with its code, its HTTP status and its sentence.

The order of the members is the precedence of contract section 2: where several reasons apply, the first one answers.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self


class Reason(StrEnum):
    """A reason; its value is the `code` on the wire. Add members, never rename them: clients match on the code."""

    status: int
    sentence: str

    def __new__(cls, code: str, status: int, sentence: str) -> Self:
        member = str.__new__(cls, code)
        member._value_ = code
        member.status = status
        member.sentence = sentence
        return member

    UNAUTHORIZED = (
        "unauthorized",
        401,
        "Send a valid API key in the header 'Authorization: Bearer <key>'.",
    )
    FORBIDDEN = "forbidden", 403, "This API key lacks the scope that this call needs."
    NOT_FOUND = (
        "not_found",
        404,
        "There is nothing at this path; /docs lists the endpoints.",
    )
    METHOD_NOT_ALLOWED = (
        "method_not_allowed",
        405,
        "This path does not take this method.",
    )
    UNSUPPORTED_MEDIA_TYPE = (
        "unsupported_media_type",
        415,
        "Send the body as application/json, uncompressed; a batch may be application/x-ndjson too.",
    )
    RATE_LIMITED = (
        "rate_limited",
        429,
        "Too many requests; wait as Retry-After says, then send it again.",
    )
    UNAVAILABLE = (
        "unavailable",
        503,
        "A service behind this one is away; send it again as Retry-After says.",
    )

    BODY_TOO_LARGE = (
        "body_too_large",
        413,
        "The body is too large: 64 KiB at most, a batch 16 MiB.",
    )
    INVALID_BODY = "invalid_body", 400, "The body must be one JSON object."
    FIELD_REQUIRED = "field_required", 400, "A required field is missing or null."
    FIELD_INVALID = (
        "field_invalid",
        400,
        "A field has a value of the wrong type or form.",
    )
    PARAMETER_INVALID = (
        "parameter_invalid",
        400,
        "A query parameter has a value that can't be used.",
    )
    BATCH_SIZE_INVALID = (
        "batch_size_invalid",
        400,
        "A batch holds 1 to 1000 usage events.",
    )
    DECIMAL_INVALID = (
        "decimal_invalid",
        400,
        "A decimal must be a JSON number, or a string that holds one.",
    )
    DECIMAL_NEGATIVE = "decimal_negative", 400, "A decimal must not be negative."
    DECIMAL_TOO_PRECISE = (
        "decimal_too_precise",
        400,
        "A decimal has too many decimal places.",
    )
    DECIMAL_OUT_OF_RANGE = (
        "decimal_out_of_range",
        400,
        "A decimal must be less than 10^14.",
    )
    TIMESTAMP_INVALID = (
        "timestamp_invalid",
        400,
        "A time must be as in RFC 3339, in the years 2000-2100.",
    )

    SERVICE_NOT_FOUND = "service_not_found", 404, "There is no such service."
    PLAN_NOT_FOUND = "plan_not_found", 404, "There is no such plan."
    SUBSCRIPTION_NOT_FOUND = (
        "subscription_not_found",
        404,
        "There is no such subscription.",
    )
    INVOICE_NOT_FOUND = "invoice_not_found", 404, "There is no such invoice."
    USAGE_EVENT_NOT_FOUND = (
        "usage_event_not_found",
        404,
        "There is no such usage event.",
    )
    SUBSCRIPTION_MISMATCH = (
        "subscription_mismatch",
        400,
        "The subscription belongs to another service or user than the event names.",
    )
    INVOICE_MISMATCH = (
        "invoice_mismatch",
        400,
        "The invoice belongs to another service or user than the event names.",
    )

    SUBSCRIPTION_NOT_ACTIVE = (
        "subscription_not_active",
        409,
        "The subscription was not ACTIVE at the time of the request.",
    )
    INVOICE_CLOSED = (
        "invoice_closed",
        409,
        "The invoice was neither DRAFT nor OPEN at the time of the request.",
    )
    OCCURRED_AT_IN_FUTURE = (
        "occurred_at_in_future",
        400,
        "occurredAt is more than 5 minutes after the time of the request.",
    )
    OCCURRED_AT_TOO_OLD = (
        "occurred_at_too_old",
        400,
        "occurredAt is older than the service accepts.",
    )
    DUPLICATE_EVENT_KEY = (
        "duplicate_event_key",
        409,
        "This eventKey was already used for this subscription; the event was not counted again.",
    )
    EVENT_NOT_RECORDED = (
        "event_not_recorded",
        409,
        "Only an event that was accepted can be voided, under its own id and key.",
    )

    ALREADY_EXISTS = "already_exists", 409, "Something else exists under this id."
    INVALID_TRANSITION = "invalid_transition", 409, "The status can't change this way."
    PERIOD_ALREADY_INVOICED = (
        "period_already_invoiced",
        409,
        "An invoice of this subscription covers the period.",
    )
    INVOICE_PAID_ON_CREATE = (
        "invoice_paid_on_create",
        400,
        "An invoice can't be PAID when it is created.",
    )
    IDEMPOTENCY_KEY_REUSED = (
        "idempotency_key_reused",
        422,
        "This Idempotency-Key came with another body before.",
    )
    IDEMPOTENCY_IN_PROGRESS = (
        "idempotency_in_progress",
        409,
        "The first request of this key is still in flight.",
    )
    PROCESSING_FAILED = (
        "processing_failed",
        500,
        "The record could not be decided; redrive it after an upgrade.",
    )


REASONS: Final = {reason.value: reason for reason in Reason}


@dataclass(slots=True, frozen=True)
class FieldError:
    """What is wrong with one field; `message` completes the sentence "<field> ...", or is a sentence itself."""

    field: str | None
    reason: Reason
    message: str

    @property
    def sentence(self) -> str:
        """A sentence a person can act on."""
        is_whole = self.field is None or self.message.endswith(".")
        return self.message if is_whole else f"{self.field} {self.message}."


@dataclass(slots=True, frozen=True)
class Rejection:
    """Why one event or request is refused. `extra` are further fields of the answer (currentStatus, identical, ...)."""

    reason: Reason
    error: str
    field: str | None = None
    details: tuple[FieldError, ...] = ()
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, reason: Reason, field: str | None = None, **extra: Any) -> "Rejection":
        """The rejection with the reason's own sentence."""
        return cls(reason, reason.sentence, field, extra=extra)

    @classmethod
    def of_fields(cls, errors: Iterable[FieldError]) -> "Rejection":
        """All errors of shape at once; the first one is at the top (contract section 2)."""
        details = tuple(errors)
        first = details[0]
        return cls(first.reason, first.sentence, first.field, details)

    def body(self, request_id: str | None = None) -> dict[str, Any]:
        """The error envelope of contract section 2."""
        return {
            "error": self.error,
            "code": self.reason.value,
            "field": self.field,
            "requestId": request_id,
            "details": [
                {
                    "field": error.field,
                    "code": error.reason.value,
                    "message": error.sentence,
                }
                for error in self.details
            ],
            **self.extra,
        }
