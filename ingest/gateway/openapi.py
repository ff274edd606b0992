"""The OpenAPI document: what FastAPI knows of the routes, and the bodies, keys and errors that it does not."""

from functools import cache, partial
from typing import Annotated, Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import Field, TypeAdapter

from schemas.catalog import WireModel
from schemas.correction import NewVoid
from schemas.invoice import InvoiceChange, NewInvoice
from schemas.plan import NewPlan
from schemas.service import NewService, ServiceChange
from schemas.subscription import NewSubscription, SubscriptionChange, SubscriptionStatus
from schemas.usage_event import BATCH_EVENTS_MAX, UsageEvent

_COMPONENT: Final = "#/components/schemas/"
_METHODS: Final = frozenset({"get", "post", "put", "patch", "delete"})
_OPEN_TAG: Final = "operations"


class NewStatus(WireModel):
    """The status that a subscription is to have."""

    status: SubscriptionStatus


class UsageEventBatch(WireModel):
    """Usage events that are sent together."""

    usage_events: Annotated[list[UsageEvent], Field(min_length=1, max_length=BATCH_EVENTS_MAX)]


class ErrorDetail(WireModel):
    """One of several errors."""

    field: str | None
    code: str
    message: str


class Error(WireModel):
    """Every error: a sentence for people, a code for programs."""

    error: str
    code: str
    field: str | None
    request_id: str | None
    details: list[ErrorDetail]


_BODIES: Final = (
    *(UsageEvent, UsageEventBatch, NewService, ServiceChange, NewPlan, NewSubscription, SubscriptionChange, NewStatus),
    *(NewInvoice, InvoiceChange, NewVoid, Error),
)


def json_body(model: str) -> dict[str, Any]:
    """The documentation of a request's body: one of _BODIES, by name."""
    schema = {"$ref": _COMPONENT + model}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def document_api(app: FastAPI) -> None:
    """Let the app give its complete OpenAPI document."""
    app.openapi = cache(partial(_document, app))  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    _, bodies = TypeAdapter.json_schemas(
        [(model.__name__, "validation", TypeAdapter(model)) for model in _BODIES],
        ref_template=_COMPONENT + "{model}",
    )
    components = document.setdefault("components", {})
    components["schemas"] = {**components.get("schemas", {}), **bodies["$defs"]}
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    components["securitySchemes"] = {"apiKey": {"type": "http", "scheme": "bearer"}}
    for path in document["paths"].values():
        for method in _METHODS & path.keys():
            _complete(path[method])
    return document


def _complete(operation: dict[str, Any]) -> None:
    if _OPEN_TAG not in operation.get("tags", ()):
        operation["security"] = [{"apiKey": []}]
    operation["responses"].pop("422", None)
    operation["responses"]["default"] = {
        "description": "The request is refused.",
        "content": {"application/json": {"schema": {"$ref": _COMPONENT + "Error"}}},
    }
