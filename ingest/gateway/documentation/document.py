"""The OpenAPI document, put together from what FastAPI knows and what the routes declare."""

from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts

from ingest.gateway.documentation.components import Components, references
from ingest.gateway.documentation.declaring import Declaration, declaration_of
from ingest.gateway.documentation.headers import ANSWER_HEADERS, REQUEST_HEADERS
from ingest.gateway.documentation.operations import Described
from ingest.gateway.parameters import Holder
from ingest.keys import Scope

DESCRIPTION: Final = """\
Usage events in, invoice amounts out.

Each call needs an API key, as `Authorization: Bearer <key>`. Decimals are exact: send them as JSON numbers or as text,
they come back as text. Times are RFC 3339 in UTC. Unknown fields are ignored. Every error has a sentence, a `code` for
programs, and all that is wrong with the shape in `details`. Sending the same usage event again is always safe: an event
key is counted once.
"""

TAGS: Final = (
    ("usage events", "One metered action of a subscriber each. An event key is counted once, for ever."),
    ("services", "What a provider meters and bills."),
    ("plans", "How usage becomes an amount. Plans never change: a new price is a new plan."),
    ("subscriptions", "A user's agreement with a service under a plan; usage is accepted while it is ACTIVE."),
    ("invoices", "What a subscriber owes for a period, or a credit where it is negative."),
    ("rejected events", "What arrived and was not counted, with the reason and the original bytes."),
    ("status", "How the whole deployment does, for those who run it."),
    ("operations", "For those who run the gateway; without a key."),
)

_SCOPES: Final = {
    Scope.USAGE_WRITE: "record usage",
    Scope.READ: "read everything",
    Scope.CATALOG_WRITE: "create and change services, plans and subscriptions",
    Scope.BILLING_WRITE: "make and change invoices, and void usage",
}


def document_api(app: FastAPI) -> None:
    """Let the app give its complete OpenAPI document."""
    app.openapi = cache(partial(_document, app))  # type: ignore[method-assign]


def declared_operations(app: FastAPI) -> Iterator[tuple[str, str, Declaration | None]]:
    """Method, path and declaration of each route that is to be documented."""
    for context in iter_route_contexts(app.routes):
        if getattr(context, "include_in_schema", False) and context.endpoint and context.path_format:
            for method in context.methods or ():
                yield method, context.path_format, declaration_of(context.endpoint)


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=DESCRIPTION,
        routes=app.routes,
    )
    document["tags"] = list(_tags(document))
    declarations = {(path, method.lower()): found for method, path, found in declared_operations(app)}
    components = Components(found for found in declarations.values() if found is not None)
    scopes = _needed_scopes(app)
    for (path, method), declaration in declarations.items():
        if declaration is not None:
            described = Described(method.upper(), scopes.get((path, method)), declaration, components)
            described.complete(document["paths"][path][method])
    document["components"] = {
        "schemas": {**document.get("components", {}).get("schemas", {}), **components.schemas},
        "headers": ANSWER_HEADERS,
        "parameters": REQUEST_HEADERS,
        "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer", "description": _security()}},
    }
    _forget_unused(document)
    return document


def _tags(document: dict[str, Any]) -> Iterator[dict[str, str]]:
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    used = {tag for operation in operations for tag in operation.get("tags", ())}
    yield from ({"name": name, "description": description} for name, description in TAGS if name in used)


def _security() -> str:
    scopes = "\n".join(f"- `{scope}`: {what}" for scope, what in _SCOPES.items())
    return (
        "An API key, made by `tally keys create` and shown once. It has scopes, and each operation names the one it "
        f"needs:\n\n{scopes}\n\nA key may be bound to services: what belongs to others looks as if it did not exist."
    )


def _needed_scopes(app: FastAPI) -> dict[tuple[str, str], Scope]:
    return {
        (str(context.path_format), method.lower()): scope
        for context in iter_route_contexts(app.routes)
        if (dependant := getattr(context, "dependant", None)) is not None
        and (scope := _scope_of(dependant.dependencies)) is not None
        for method in context.methods or ()
    }


def _scope_of(dependencies: Sequence[Any]) -> Scope | None:
    for dependant in dependencies:
        if isinstance(dependant.call, Holder):
            return dependant.call.scope
        if (scope := _scope_of(dependant.dependencies)) is not None:
            return scope
    return None


def _forget_unused(document: dict[str, Any]) -> None:
    """Only what an operation refers to stays among the components."""
    schemas = document["components"]["schemas"]
    used: set[str] = set()
    found = set(references(document["paths"]))
    while found:
        used |= found
        found = {name for used_name in found for name in references(schemas[used_name])} - used
    document["components"]["schemas"] = {name: schemas[name] for name in sorted(used)}
