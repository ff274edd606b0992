"""The gateway's ASGI application as seen from without: how many requests, of which route, answered how and how soon."""

import functools
import logging
from time import perf_counter
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest.gateway.cycle import WHOLE
from ingest.gateway.failures import STATUS
from ingest.gateway.tracing import log_fields
from ingest.metrics import REQUEST_SECONDS, REQUESTS, REQUESTS_IN_FLIGHT

logger = logging.getLogger(__name__)

UNROUTED: Final = "none"
"""The route of a request whose path is none of ours, or that was refused before its path was looked at."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_UNANSWERED: Final = "none"
_ANSWERS: Final = frozenset({"http.response.start", WHOLE})


# Looking a labelled metric up takes longer than counting.
_count = functools.cache(REQUESTS.labels)
_histogram = functools.cache(REQUEST_SECONDS.labels)


class Measured:
    """Measures the application within, which notes the request's id, and its route where it has one, in the state."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._in_flight = 0
        REQUESTS_IN_FLIGHT.set_function(lambda: self._in_flight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started = perf_counter()
        state = scope.setdefault("state", {})

        async def send_noted(message: Message) -> None:
            if message["type"] in _ANSWERS:
                state[STATUS] = message["status"]
            await send(message)

        self._in_flight += 1
        try:
            await self._app(scope, receive, send_noted)
        finally:
            self._in_flight -= 1
            seconds = perf_counter() - started
            route = state.get("route", UNROUTED)
            status = state.get(STATUS, _UNANSWERED)
            method = scope["method"] if scope["method"] in _METHODS else "other"
            _count(method, route, status).inc()
            _histogram(route).observe(seconds)
            if logger.isEnabledFor(logging.DEBUG):
                fields = {"method": method, "route": route, "status": status, "seconds": round(seconds, 6)}
                logger.debug("answered a request", extra=log_fields(scope["headers"], state.get("request_id")) | fields)
