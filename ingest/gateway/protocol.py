"""HTTP below the application: what is no HTTP request at all gets the envelope too."""

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ingest.gateway.answer import refusal
from schemas.rejection import Reason, Rejection

HEADER_BYTES_MAX: Final = 64 * 1024


class HeadersTooLarge(Exception):
    """The request line and headers exceed HEADER_BYTES_MAX; the parser makes a 400 of it."""


class GatewayProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a bound on headers, which it lacks, and with our answer to malformed requests."""

    def on_message_begin(self) -> None:
        """See HttpToolsProtocol."""
        super().on_message_begin()
        self.header_bytes = 0

    def on_url(self, url: bytes) -> None:
        """See HttpToolsProtocol."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """See HttpToolsProtocol."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def send_400_response(self, msg: str) -> None:
        """Answer and close."""
        rejection = Rejection(Reason.INVALID_BODY, "This is not a valid HTTP request.")
        answer = refusal(rejection, None)
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(answer.body), answer.body)
        )
        self.transport.close()

    def _count(self, size: int) -> None:
        self.header_bytes += size
        if self.header_bytes > HEADER_BYTES_MAX:
            raise HeadersTooLarge
