"""HTTP below the application: what is no HTTP request at all gets the envelope too, and so does who comes when too many
are here, or takes too long to say what he wants.
"""

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ingest.gateway.answer import refusal
from ingest.gateway.cycle import EXTENSIONS, answer_in_one_piece
from ingest.metrics import LIMITED
from schemas.rejection import Reason, Rejection

HEADER_BYTES_MAX: Final = 64 * 1024

_LINGER_SECONDS: Final = 1
"""So long a refused connection stays half open: closing it while its request is on the way would reset it, and the
answer might be lost."""

_MALFORMED: Final = Rejection(Reason.INVALID_BODY, "This is not a valid HTTP request.")
_CUT_OFF: Final = Rejection(Reason.INVALID_BODY, "The body did not arrive whole.")
_TOO_MANY: Final = Rejection(
    Reason.UNAVAILABLE, "This gateway has as many open connections as it may have; come again as Retry-After says."
)


class HeadersTooLarge(Exception):
    """The request line and headers exceed HEADER_BYTES_MAX; the parser makes a 400 of it."""


class GatewayProtocol(HttpToolsProtocol):
    """uvicorn's protocol with bounds that it lacks: on headers, on the time they take, and on connections; and with our
    answer to malformed requests."""

    # uvicorn makes the protocols, so what they are given stands in their class: see bounded_protocol.
    connections_max: int
    headers_seconds: float

    is_refused = False
    is_in_headers = False
    header_bytes = 0
    """What came of headers after the piece in which they began; nearly always they are in one."""
    has_large_piece = False
    headers_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See HttpToolsProtocol."""
        super().connection_made(transport)
        if len(self.connections) > self.connections_max:
            self.connections.discard(self)
            self.is_refused = True
            LIMITED.labels("connections").inc()
            self._answer(_TOO_MANY)
            transport.write_eof()
            self.headers_due = self.loop.call_later(_LINGER_SECONDS, transport.close)
        else:
            self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """See HttpToolsProtocol."""
        self._stop_waiting()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Whether to stay: who will send no more may still wait for the answer to what he sent whole."""
        if self.is_refused or self.cycle is None or self.cycle.response_complete:
            return False
        if self.cycle.more_body and not self.cycle.response_started:
            self._answer(_CUT_OFF)
            return False
        self.cycle.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        """See HttpToolsProtocol."""
        if self.is_refused:
            return
        self.has_large_piece = len(data) > HEADER_BYTES_MAX
        if self.is_in_headers:
            self.header_bytes += len(data)
            if self.header_bytes > HEADER_BYTES_MAX:
                self.send_400_response("")
                return
        super().data_received(data)
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if not is_answering and self.timeout_keep_alive_task is None and self.headers_due is None:
            self._await_headers()

    def on_message_begin(self) -> None:
        """See HttpToolsProtocol."""
        super().on_message_begin()
        self.scope["extensions"] = EXTENSIONS
        self.header_bytes = 0
        self.is_in_headers = True

    def on_headers_complete(self) -> None:
        """See HttpToolsProtocol."""
        self.is_in_headers = False
        self._stop_waiting()
        if self.header_bytes or self.has_large_piece:
            self._bound_headers()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer and close."""
        self._answer(_MALFORMED)
        self.transport.close()

    def _await_headers(self) -> None:
        self.headers_due = self.loop.call_later(self.headers_seconds, self._headers_late)

    def _stop_waiting(self) -> None:
        if self.headers_due is not None:
            self.headers_due.cancel()
            self.headers_due = None

    def _headers_late(self) -> None:
        """Close; who has begun a request is told why."""
        LIMITED.labels("headers_seconds").inc()
        if self.is_in_headers and not self.transport.is_closing():
            message = f"The headers did not arrive whole within {self.headers_seconds:g} seconds."
            self._answer(Rejection(Reason.INVALID_BODY, message))
        self.transport.close()

    def _answer(self, rejection: Rejection) -> None:
        answer = refusal(rejection, None)
        headers = [*answer.asgi_headers(request_id=""), (b"connection", b"close")]
        lines = [b"%b: %b\r\n" % (name, value) for name, value in headers if name != b"x-request-id"]
        self.transport.write(b"".join([STATUS_LINE[answer.status], *lines, b"\r\n", answer.body]))

    def _bound_headers(self) -> None:
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEADER_BYTES_MAX:
            raise HeadersTooLarge


def bounded_protocol(connections: int, seconds: float) -> type[GatewayProtocol]:
    """The protocol for at most so many connections at a time, whose headers may take so long."""
    answer_in_one_piece()
    return type("BoundedProtocol", (GatewayProtocol,), {"connections_max": connections, "headers_seconds": seconds})
