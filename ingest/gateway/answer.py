"""Answers: JSON, and the one envelope of all errors."""

import json
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from starlette.responses import Response
from starlette.types import Scope, Send

from ingest.catalog.change import KINDS, Entity, Saved
from ingest.gateway.cycle import WHOLE, send_parts
from schemas.catalog import WireModel
from schemas.rejection import Reason, Rejection

Headers = list[tuple[bytes, bytes]]

RETRY_AFTER_SECONDS: Final = 1

_JSON: Final = (b"content-type", b"application/json")


class Answer(NamedTuple):
    """What goes back over HTTP."""

    status: int
    body: bytes
    headers: Headers

    def response(self) -> Response:
        """The same for FastAPI."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self.headers}
        return Response(self.body, self.status, headers, media_type="application/json")

    async def send(self, scope: Scope, send: Send) -> None:
        """Send it as ASGI does, in one piece where the server takes it so."""
        headers = self.asgi_headers(scope["state"].get("request_id", ""))
        whole = {"type": WHOLE, "status": self.status, "headers": headers, "body": self.body}
        await (send(whole) if WHOLE in scope.get("extensions", ()) else send_parts(whole, send))

    def asgi_headers(self, request_id: str) -> Headers:
        """All headers that the server itself does not write."""
        length = (b"content-length", str(len(self.body)).encode())
        return [_JSON, length, (b"x-request-id", request_id.encode()), *self.headers]


def json_answer(status: int, document: dict[str, Any], headers: Headers | None = None) -> Answer:
    """An answer with a JSON object."""
    return Answer(status, json_bytes(document), headers or [])


def saved_answer(saved: Saved[Entity], document: WireModel) -> Answer:
    """The answer to the creation of an entity: 200 where it existed already."""
    path = f"/api/v1/{KINDS[type(saved.entity)]}s/{quote(saved.entity.id, safe='')}"
    return json_answer(201 if saved.created else 200, document.wire(), [(b"location", path.encode())])


def refusal(rejection: Rejection, request_id: str | None) -> Answer:
    """The error envelope of contract section 2."""
    return Answer(rejection.reason.status, json_bytes(rejection.body(request_id)), _headers_of(rejection.reason))


def _headers_of(reason: Reason) -> Headers:
    if reason is Reason.UNAUTHORIZED:
        return [(b"www-authenticate", b'Bearer realm="tally"')]
    if reason in (Reason.UNAVAILABLE, Reason.RATE_LIMITED, Reason.IDEMPOTENCY_IN_PROGRESS):
        return [(b"retry-after", str(RETRY_AFTER_SECONDS).encode())]
    return []


def json_bytes(document: dict[str, Any]) -> bytes:
    """Compact JSON."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
