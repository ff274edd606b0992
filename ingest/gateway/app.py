"""The gateway as one ASGI application: the front, and the framework behind it."""

import logging
from collections.abc import Iterator

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp

from ingest.database import DatabaseAway
from ingest.gateway.answer import Answer, refusal
from ingest.gateway.documentation.document import document_api
from ingest.gateway.failures import FAILED, Failures
from ingest.gateway.front import PREFIX, Front
from ingest.gateway.idempotent_requests import IdempotentRequests
from ingest.gateway.keyring import Keyring
from ingest.gateway.measured import Measured
from ingest.gateway.parts import Parts
from ingest.gateway.rate_limits import RateLimits
from ingest.gateway.routes import (
    docs,
    invoices,
    operations,
    plans,
    rejected_events,
    services,
    status,
    subscription_usage,
    subscriptions,
    usage_events,
    usage_records,
)
from ingest.gateway.tracing import log_fields
from ingest.refused import Refused
from schemas.errors import OperatorError
from schemas.rejection import FieldError, Reason, Rejection

logger = logging.getLogger(__name__)

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def gateway_app(parts: Parts, keyring: Keyring, limits: RateLimits, requests: IdempotentRequests) -> ASGIApp:
    """The application that the server runs."""
    front = Front(keyring, limits, requests, parts.usage, cold_app(parts), parts.body_seconds)
    return Measured(Failures(front))


def cold_app(parts: Parts) -> FastAPI:
    """The routes that are not worth a path of their own."""
    app = FastAPI(
        title="Tally",
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        exception_handlers={
            Refused: _answer_refused,
            DatabaseAway: _answer_away,
            OperatorError: _answer_misconfigured,
            RequestValidationError: _answer_parameters,
            HTTPException: _answer_unrouted,
            Exception: _answer_failed,
        },
    )
    app.state.parts = parts
    nouns = (
        *(usage_events, usage_records, rejected_events),
        *(services, plans, subscriptions, subscription_usage, invoices, status),
    )
    for noun in nouns:
        app.include_router(noun.router, prefix=PREFIX)
    app.include_router(operations.router)
    app.include_router(docs.router)
    app.include_router(status.page)
    document_api(app)
    return app


def _answer(request: Request, rejection: Rejection) -> Answer:
    return refusal(rejection, request.scope["state"].get("request_id"))


def _fields(request: Request) -> dict[str, str | None]:
    return log_fields(request.scope["headers"], request.scope["state"].get("request_id"))


async def _answer_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return _answer(request, error.rejection).response()


async def _answer_away(request: Request, error: Exception) -> Response:
    logger.warning("answered 503: %s", error, extra=_fields(request))
    return _answer(
        request, Rejection(Reason.UNAVAILABLE, "Postgres does not answer; send the same request again.")
    ).response()


async def _answer_misconfigured(request: Request, error: Exception) -> Response:
    logger.warning("answered 503: %s", error, extra=_fields(request))
    return _answer(request, Rejection.of(Reason.UNAVAILABLE)).response()


async def _answer_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [
        FieldError(str(details["loc"][-1]), Reason.PARAMETER_INVALID, details["msg"][:1].lower() + details["msg"][1:])
        for details in error.errors()
    ]
    return _answer(request, Rejection.of_fields(errors)).response()


async def _answer_unrouted(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code != Reason.METHOD_NOT_ALLOWED.status:
        return _answer(request, Rejection.of(Reason.NOT_FOUND)).response()
    allow = {"allow": ", ".join(_allowed(request))}
    if request.method == "OPTIONS":
        return Response(status_code=204, headers=allow)
    answer = _answer(request, Rejection.of(Reason.METHOD_NOT_ALLOWED)).response()
    answer.headers.update(allow)
    return answer


def _allowed(request: Request) -> Iterator[str]:
    for method in _METHODS:
        if _takes(request, method):
            yield from ("GET", "HEAD") if method == "GET" else (method,)
    yield "OPTIONS"


def _takes(request: Request, method: str) -> bool:
    scope = {**request.scope, "method": method}
    return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)


async def _answer_failed(request: Request, error: Exception) -> Response:
    return _answer(request, FAILED).response()
