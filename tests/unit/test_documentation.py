"""The OpenAPI document: nothing is missing in it, and its examples are what its schemas say.

`complaints` is what a new endpoint meets: it says what its declaration lacks (CONTRIBUTING.md, "How to add").
"""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from fastapi import APIRouter, FastAPI, Response

from ingest.gateway.app import cold_app
from ingest.gateway.documentation.declaring import Declaration, Sent, documented, shown
from ingest.gateway.documentation.document import TAGS, declared_operations, document_api
from ingest.gateway.documentation.errors import UNROUTED
from ingest.gateway.parameters import PathId, Reader
from ingest.gateway.routes.operations import Health
from schemas.rejection import Reason
from schemas.service import NewService

APP = cold_app(None)  # type: ignore[arg-type]  # a document is made without any part
DOCUMENT: dict[str, Any] = APP.openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each operation with its name, such as 'GET /api/v1/services'."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def contents(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each body that an operation takes or gives, with its name."""
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"the request as {media_type}", content
    for status, response in operation["responses"].items():
        for content in response["content"].values():
            yield f"the answer {status}", content


def examples(content: dict[str, Any]) -> list[Any]:
    """All examples of a body."""
    named = [example["value"] for example in content.get("examples", {}).values()]
    return [*named, *([content["example"]] if "example" in content else [])]


def broken(document: dict[str, Any], schema: dict[str, Any], value: Any) -> list[str]:
    """In what an example is not what its schema says."""
    whole = {**schema, "components": document["components"]}
    validator = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
    return [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in validator.iter_errors(value)]


def complaints(app: FastAPI) -> Iterator[str]:
    """What the declarations of an app's routes lack."""
    for method, path, declaration in declared_operations(app):
        if declaration is None:
            yield f"{method} {path} is not documented: put @documented(...) beneath its route."
        else:
            yield from (f"{method} {path} {what}" for what in lacks(path, declaration))
    document = app.openapi()
    for name, operation in operations(document):
        if not operation.get("summary"):
            yield f"{name} has no docstring: its first sentence is the operation's summary."
        for what, content in contents(operation):
            if not examples(content):
                yield f"{name}: {what} has no example: give one in @documented(...)."
            for example in examples(content):
                yield from (
                    f"{name}: the example of {what}: {error}" for error in broken(document, content["schema"], example)
                )


def lacks(path: str, declaration: Declaration) -> Iterator[str]:
    """What a declaration lacks that can be known from the route."""
    if not declaration.answers:
        yield "declares no answer: give it shown(...), created(...) or Shown(...)."
    statuses = {reason.status for reason in declaration.reasons}
    if "{" in path and 404 not in statuses:
        yield "names a resource in its path and declares no reason that is a 404: give it reasons=(..._NOT_FOUND,)."
    if declaration.body is not None and not declaration.body.example:
        yield "declares a body without an example: give it Sent(model, example)."


DECIMALS = {"amount", "quantity", "unitPrice"}


def test_decimals_and_times_say_that_they_are_that() -> None:
    """A view that has them as plain text promises nothing: let its fields be DecimalText and TimestampText."""
    for name, schema in DOCUMENT["components"]["schemas"].items():
        for field, value in schema.get("properties", {}).items():
            if field in DECIMALS:
                assert "'format': 'decimal'" in str(value), f"{name}.{field} is to be a DecimalText"
            elif field.endswith("At") or field in {"start", "end", "periodStart", "periodEnd"}:
                assert "'format': 'date-time'" in str(value), f"{name}.{field} is to be a TimestampText"


def test_every_operation_is_declared_with_examples_that_are_true() -> None:
    assert list(complaints(APP)) == []


def test_operation_that_lacks_something_is_complained_of() -> None:
    router = APIRouter()

    @router.get("/a")
    async def get_a() -> Response:
        """Nothing declared."""
        return Response()

    @router.get("/b/{id}")
    @documented(shown(Health, {"status": "dead"}))
    async def get_b(key: Reader, b_id: PathId) -> Response:
        return Response()

    @router.post("/c")
    @documented(body=Sent(NewService, {}))
    async def post_c(key: Reader) -> Response:
        """No answer."""
        return Response()

    app = FastAPI(openapi_url=None)
    app.include_router(router)
    document_api(app)
    found = "\n".join(complaints(app))
    assert len(found.splitlines()) == 8
    for sentence in (
        "GET /a is not documented",
        "GET /a: the answer 200 has no example",
        "GET /b/{id} names a resource in its path",
        "GET /b/{id} has no docstring",
        "GET /b/{id}: the example of the answer 200: status:",
        "POST /c declares no answer",
        "POST /c declares a body without an example",
        "POST /c: the example of the request",
    ):
        assert sentence in found


def test_every_reason_is_documented_where_it_can_be_met() -> None:
    documented_codes = {
        code
        for _, operation in operations(DOCUMENT)
        for response in operation["responses"].values()
        for content in response["content"].values()
        for code in content.get("examples", {})
    }
    assert documented_codes == {*Reason} - UNROUTED


@pytest.mark.parametrize(
    ("operation", "status", "codes"),
    [
        ("POST /api/v1/usage-events", "413", {"body_too_large"}),
        ("POST /api/v1/usage-events", "404", {"service_not_found", "subscription_not_found", "invoice_not_found"}),
        (
            "POST /api/v1/usage-events/batch",
            "400",
            {"invalid_body", "field_required", "field_invalid", "parameter_invalid", "batch_size_invalid"},
        ),
        ("POST /api/v1/plans", "409", {"already_exists", "idempotency_in_progress"}),
        ("GET /api/v1/plans", "400", {"parameter_invalid"}),
        ("GET /api/v1/plans/{id}", "404", {"plan_not_found"}),
        ("POST /api/v1/services", "400", {"invalid_body", "field_required", "field_invalid", "parameter_invalid"}),
        ("GET /health/ready", "503", {"unavailable"}),
    ],
)
def test_codes_of_a_status_are_those_that_the_operation_can_answer(
    operation: str, status: str, codes: set[str]
) -> None:
    response = dict(operations(DOCUMENT))[operation]["responses"][status]
    (content,) = response["content"].values()
    assert set(content["schema"]["allOf"][1]["properties"]["code"]["enum"]) == codes == set(content["examples"])


@pytest.mark.parametrize(
    ("operation", "scope"),
    [
        ("POST /api/v1/usage-events", "usage:write"),
        ("GET /api/v1/services", "read"),
        ("POST /api/v1/subscriptions/{id}/status", "catalog:write"),
        ("GET /metrics", None),
    ],
)
def test_scope_is_the_one_that_the_route_asks_for(operation: str, scope: str | None) -> None:
    security = dict(operations(DOCUMENT))[operation].get("security")
    assert security == (None if scope is None else [{"apiKey": [scope]}])


@pytest.mark.parametrize(
    ("operation", "status", "headers"),
    [
        ("POST /api/v1/usage-events", "201", {"Location", "Idempotent-Replayed", "Preference-Applied"}),
        ("POST /api/v1/services", "201", {"Location", "Idempotent-Replayed"}),
        ("GET /api/v1/services", "200", set()),
        ("GET /api/v1/services", "401", {"WWW-Authenticate"}),
        ("GET /api/v1/services", "429", {"Retry-After"}),
        ("GET /api/v1/services", "503", {"Retry-After"}),
    ],
)
def test_headers_of_an_answer_are_documented(operation: str, status: str, headers: set[str]) -> None:
    found = set(dict(operations(DOCUMENT))[operation]["responses"][status]["headers"])
    assert found == {"X-Request-Id", *headers}


def test_every_post_takes_an_idempotency_key_and_those_that_wait_a_preference() -> None:
    for name, operation in operations(DOCUMENT):
        references = {parameter.get("$ref", "").split("/")[-1] for parameter in operation.get("parameters", ())}
        assert ("Idempotency-Key" in references) == name.startswith("POST"), name
        waits = name.startswith("POST /api/v1/usage-events") or name.endswith("/redrive")
        assert ("Prefer" in references) == waits, name


def test_document_is_well_formed() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")
    for name in references(DOCUMENT):
        kind, part = name.removeprefix("#/components/").split("/")
        assert part in DOCUMENT["components"][kind], name
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)
    identifiers = [operation["operationId"] for _, operation in operations(DOCUMENT)]
    assert len(identifiers) == len(set(identifiers))
    tags = {tag for _, operation in operations(DOCUMENT) for tag in operation["tags"]}
    assert tags <= {name for name, _ in TAGS}


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from references(child)
