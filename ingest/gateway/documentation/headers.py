"""Headers in the document: of answers by their status, and of requests."""

from typing import Any, Final

_REQUEST_ID: Final = "X-Request-Id"

ANSWER_HEADERS: Final[dict[str, dict[str, Any]]] = {
    _REQUEST_ID: {
        "description": "Names the request in errors and logs: the caller's own X-Request-Id, or a new one.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Location": {
        "description": "Where the resource is.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Retry-After": {
        "description": "Seconds to wait before the same request is sent again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {"description": "How to authenticate.", "required": True, "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "`true` where this is the stored answer to an earlier request of the same Idempotency-Key.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Preference-Applied": {
        "description": "The preference that was followed (RFC 7240).",
        "schema": {"type": "string"},
    },
}

_BY_STATUS: Final = {
    201: ("Location",),
    202: ("Location",),
    401: ("WWW-Authenticate",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}

REQUEST_HEADERS: Final[dict[str, dict[str, Any]]] = {
    "Idempotency-Key": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "A text of the caller's own, such as `order-2417`. For 24 hours the same request under the same "
        "key is not carried out again, but answered with the stored answer.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    },
    "Prefer": {
        "name": "Prefer",
        "in": "header",
        "description": "`wait=N` waits at most N seconds (0-30, else 5) for the verdict; `respond-async` not at all. "
        "When the wait is over, the answer is a receipt.",
        "schema": {"type": "string"},
        "examples": {"wait": {"value": "wait=10"}, "respond-async": {"value": "respond-async"}},
    },
}


def header_references(status: int, *more: str) -> dict[str, Any]:
    """OpenAPI's headers of an answer."""
    names = (_REQUEST_ID, *_BY_STATUS.get(status, ()), *more)
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def parameter_reference(name: str) -> dict[str, Any]:
    """One of REQUEST_HEADERS as an operation's parameter."""
    return {"$ref": f"#/components/parameters/{name}"}
