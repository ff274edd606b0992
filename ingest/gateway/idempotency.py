"""`Idempotency-Key`: a POST that is sent again is answered as it was the first time, and not executed again.

The answer is kept before it is sent, so whoever has it and asks again gets the same. A gateway that dies in the middle
leaves the request in flight; after a minute the next who sends it executes it again, and finds what was created: the
ids that the request chooses come from the seed that was stored with it.
"""

import hashlib
import logging
import re
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest.catalog.ids import ids_from
from ingest.database import DatabaseAway
from ingest.gateway.answer import refusal
from ingest.gateway.body import arrived
from ingest.gateway.idempotent_requests import Claim, IdempotentRequests, Recorded, RequestKey
from ingest.gateway.tracing import log_fields
from schemas.document import BODY_BYTES_MAX
from schemas.errors import OperatorError
from schemas.rejection import FieldError, Reason, Rejection
from schemas.usage_event import BATCH_BYTES_MAX

logger = logging.getLogger(__name__)

HEADER: Final = b"idempotency-key"

_KEY: Final = re.compile(rb"[ -~]{1,255}").fullmatch
_REQUEST_ID: Final = b"x-request-id"
_REPLAYED: Final = (b"idempotent-replayed", b"true")

_UNAVAILABLE_ITEM: Final = b'{"status":503,'
"""Within a string of the answer its quotes would be escaped."""

_FORM: Final = "must be one header of 1 to 255 printable ASCII characters"
_MALFORMED: Final = Rejection.of_fields([FieldError("Idempotency-Key", Reason.PARAMETER_INVALID, _FORM)])
_AWAY: Final = Rejection(
    Reason.UNAVAILABLE, "Postgres does not answer, and nothing was done; send the same request again."
)


class Idempotency:
    """An ASGI application around the one that answers requests whose key is known."""

    def __init__(self, requests: IdempotentRequests, app: ASGIApp, body_seconds: float) -> None:
        self._requests = requests
        self._app = app
        self._body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = [value for name, value in scope["headers"] if name == HEADER] if scope["method"] == "POST" else []
        if not given:
            await self._app(scope, receive, send)
            return
        request_id: str = scope["state"]["request_id"]
        answer = await self._answer(given, scope, receive)
        if isinstance(answer, Rejection):
            await refusal(answer, request_id).send(scope, send)
        else:
            headers = [*answer.headers, (_REQUEST_ID, request_id.encode())]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, given: list[bytes], scope: Scope, receive: Receive) -> Recorded | Rejection:
        if len(given) > 1 or not _KEY(given[0]):
            return _MALFORMED
        bytes_max = BATCH_BYTES_MAX if scope["path"].endswith("/batch") else BODY_BYTES_MAX
        body = await arrived(_length(scope), receive, bytes_max, self._body_seconds)
        if isinstance(body, Rejection):
            return body
        key = RequestKey(scope["state"]["key"].id, given[0].decode("ascii"))
        try:
            claim = await self._requests.claim(key, _hash(scope, body))
        except (DatabaseAway, OperatorError) as error:
            logger.warning("answered 503: %s", error, extra=_fields(scope))
            return _AWAY
        if isinstance(claim, Recorded):
            return claim._replace(headers=[*claim.headers, _REPLAYED])
        return claim if isinstance(claim, Rejection) else await self._execute(claim, scope, receive, body)

    async def _execute(self, claim: Claim, scope: Scope, receive: Receive, body: bytes) -> Recorded:
        """The answer, kept unless it is one that another try may change."""
        try:
            with ids_from(claim.seed):
                answer = await _recorded(self._app, scope, receive, body)
        except Exception:  # which is answered by a 500; a request that is cancelled is taken over
            await self._settle(claim, None, scope)
            raise
        await self._settle(claim, None if _may_change(answer) else answer, scope)
        return answer

    async def _settle(self, claim: Claim, answer: Recorded | None, scope: Scope) -> None:
        """Keep the answer, or release the key. Where Postgres is away now, the key stays in flight for a minute."""
        try:
            if answer is None:
                await self._requests.release(claim)
            else:
                await self._requests.store(claim, answer)
        except DatabaseAway as error:
            what = "the answer to the Idempotency-Key of a request is not kept: %s"
            logger.warning(what, error, extra=_fields(scope))


def _fields(scope: Scope) -> dict[str, str | None]:
    return log_fields(scope["headers"], scope["state"]["request_id"])


def _may_change(answer: Recorded) -> bool:
    """Whether another try may be answered otherwise: of a batch, also where that is so of one event."""
    refused = answer.status in (Reason.UNAUTHORIZED.status, Reason.FORBIDDEN.status, Reason.RATE_LIMITED.status)
    return refused or answer.status >= 500 or (answer.status == 207 and _UNAVAILABLE_ITEM in answer.body)


def _length(scope: Scope) -> int:
    return next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)


def _hash(scope: Scope, body: bytes) -> bytes:
    """What makes two requests the same."""
    return hashlib.sha256(b"%b %b\n%b" % (scope["method"].encode(), scope["raw_path"], body)).digest()


async def _recorded(app: ASGIApp, scope: Scope, receive: Receive, body: bytes) -> Recorded:
    """The app's answer to a request whose body has been read."""
    unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Message] = []

    async def receive_again() -> Message:
        return unread.pop() if unread else await receive()

    async def keep(message: Message) -> None:
        sent.append(message)

    await app({**scope, "extensions": {}}, receive_again, keep)
    start, *rest = sent
    headers = [(name, value) for name, value in start["headers"] if name != _REQUEST_ID]
    return Recorded(start["status"], headers, b"".join(message.get("body", b"") for message in rest))
