"""Bytes to a JSON object, and a JSON object to a model: the one edge where a body is parsed.

Numbers stay as sent (see schemas.decimals), duplicate keys and deep nesting are refused, and every error of shape is
collected, so that a caller mends all of them in one go.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

import jiter
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.rejection import REASONS, FieldError, Reason, Rejection

BODY_BYTES_MAX: Final = 64 * 1024
NESTING_MAX: Final = 32

Model = TypeVar("Model")


def parse_object(body: bytes, bytes_max: int = BODY_BYTES_MAX) -> dict[str, Any] | Rejection:
    """The JSON object in a body, or why it is none."""
    if len(body) > bytes_max:
        return Rejection.of(Reason.BODY_TOO_LARGE)
    try:
        document = jiter.from_json(
            body,
            allow_inf_nan=False,
            catch_duplicate_keys=True,
            float_mode="lossless-float",
            cache_mode="keys",
        )
    except ValueError as error:
        return Rejection(Reason.INVALID_BODY, f"The body is not valid JSON: {error}.")
    if type(document) is not dict:
        return Rejection.of(Reason.INVALID_BODY)
    # Brackets bound the depth from above; only a body with many of them is walked.
    if body.count(b"{") + body.count(b"[") > NESTING_MAX and _depth_exceeds(document, NESTING_MAX):
        return Rejection(Reason.INVALID_BODY, f"The body is nested over {NESTING_MAX} deep.")
    return document


def validate(validator: Callable[[Any], Model], document: Mapping[str, Any]) -> Model | Rejection:
    """The model of a document, or a rejection that lists every error of shape."""
    try:
        return validator(document)
    except ValidationError as error:
        return Rejection.of_fields(field_errors(error))


def field_errors(error: ValidationError) -> Iterator[FieldError]:
    """pydantic's errors in the words of the contract."""
    for details in error.errors(include_url=False, include_input=False):
        name = ".".join(str(part) for part in details["loc"] if not str(part).startswith("function-"))
        yield FieldError(name or None, _reason(details["type"]), _message(details))


def _reason(kind: str) -> Reason:
    return Reason.FIELD_REQUIRED if kind == "missing" else REASONS.get(kind, Reason.FIELD_INVALID)


def _message(details: ErrorDetails) -> str:
    if details["type"] == "missing":
        return "is required"
    if details["type"] in ("dict_type", "model_type"):
        return "must be a JSON object"
    message = details["msg"]
    return message if details["type"] in REASONS else message[:1].lower() + message[1:]


def _depth_exceeds(document: Any, limit: int) -> bool:
    level = [document]
    for _ in range(limit):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return True
