"""What every request passes first: its id, its key and the key's limit, its Idempotency-Key, its path. The two requests
that record usage are answered here, in plain ASGI, because the framework behind costs six times as much as all that
they need; it answers the rest.
"""

import itertools
import re
import secrets
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, Final
from urllib.parse import quote, unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest.gateway.answer import Answer, refusal
from ingest.gateway.idempotency import Idempotency
from ingest.gateway.idempotent_requests import IdempotentRequests
from ingest.gateway.keyring import Keyring
from ingest.gateway.rate_limits import RateLimits
from ingest.gateway.usage import PATH, RequestHeaders, UsageEvents
from ingest.keys import ApiKey
from ingest.keys import Scope as KeyScope
from ingest.metrics import LIMITED
from schemas.rejection import Reason, Rejection

Handler = Callable[[ApiKey, RequestHeaders, Any, str], Awaitable[Answer]]

API: Final = "/api/"
PREFIX: Final = "/api/v1"
"""Of all nouns' routes, which know themselves only by what follows."""

_RATE_LIMITED: Final = LIMITED.labels("requests_per_second")
_PROCESS: Final = secrets.token_hex(8)
_REQUESTS: Final = itertools.count(1)
"""The ids that we give to requests: of this process, and which of its requests."""
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}").fullmatch


class Front:
    """The gateway's ASGI application."""

    def __init__(
        self,
        keyring: Keyring,
        limits: RateLimits,
        requests: IdempotentRequests,
        usage: UsageEvents,
        cold: ASGIApp,
        body_seconds: float,
    ) -> None:
        self._keyring = keyring
        self._limits = limits
        self._idempotent = Idempotency(requests, self._answer, body_seconds)
        self._cold = cold
        self._hot: dict[str, Handler] = {PATH: usage.post_one, f"{PATH}/batch": usage.post_batch}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        authorization, request_id = _caller(scope["headers"])
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        if self._handler(scope) is not None:
            state["route"] = scope["path"]
        if not scope["path"].startswith(API):
            state["key"] = None
            await self._answer(scope, receive, send)
        elif isinstance(key := await self._admitted(authorization, perf_counter()), Rejection):
            await refusal(key, request_id).send(scope, send)
        else:
            state["key"] = key
            await self._idempotent(scope, receive, send)

    async def _admitted(self, authorization: bytes, at: float) -> ApiKey | Rejection:
        """The caller's key, or why it may make no request now."""
        key = await self._keyring.holder(authorization)
        if isinstance(key, Rejection) or self._limits.allow(key, at):
            return key
        _RATE_LIMITED.inc()
        return Rejection.of(Reason.RATE_LIMITED)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (handler := self._handler(scope)) is None:
            await self._answer_cold(scope, receive, send)
            return
        key, request_id = scope["state"]["key"], scope["state"]["request_id"]
        if key.permits(KeyScope.USAGE_WRITE):
            answer = await handler(key, scope["headers"], receive, request_id)
        else:
            answer = refusal(Rejection.of(Reason.FORBIDDEN), request_id)
        await answer.send(scope, send)

    def _handler(self, scope: Scope) -> Handler | None:
        return self._hot.get(scope["path"]) if scope["method"] == "POST" else None

    async def _answer_cold(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = scope["state"]["request_id"]
        path = _canonical(scope["raw_path"].decode("ascii")) if b"%" in scope["raw_path"] else scope["path"]
        method = "GET" if scope["method"] == "HEAD" else scope["method"]  # the server leaves the body out

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        routed = {**scope, "path": path, "method": method}
        try:
            await self._cold(routed, receive, send_with_id)
        finally:
            if (route := routed.get("route")) is not None:
                scope["state"]["route"] = (PREFIX if path.startswith(PREFIX) else "") + route.path_format


def _caller(headers: list[tuple[bytes, bytes]]) -> tuple[bytes, str]:
    """The Authorization header, and the request's id: the caller's own where it has a sane one."""
    authorization, request_id = b"", ""
    for name, value in headers:
        if name == b"authorization":
            authorization = value
        elif name == b"x-request-id" and _REQUEST_ID(value):
            request_id = value.decode("ascii")
    return authorization, request_id or f"{_PROCESS}{next(_REQUESTS):08x}"


def _canonical(raw_path: str) -> str:
    """The path with each segment encoded in one way, so that an id may hold a slash; gateway.parameters decodes it."""
    return "/".join(quote(unquote(segment), safe="") for segment in raw_path.split("/"))
