"""A request and its answer below the application, as uvicorn has them; and a way to answer in one piece.

uvicorn takes the head of an answer and its body one after the other, and looks at every header for what may not be in
one. The answers of the requests that record usage have no such headers, and there are a great many of them.
"""

from typing import Final

from starlette.types import Message, Send
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

WHOLE: Final = "http.response.whole"
"""The type of a message with status, headers and body, and the extension in a request's scope that allows it. Names of
headers are in lower case, neither names nor values hold a control character, and content-length is among them."""

EXTENSIONS: Final[dict[str, dict[object, object]]] = {WHOLE: {}}


class GatewayCycle(RequestResponseCycle):
    """uvicorn's, with WHOLE."""

    async def send(self, message: Message) -> None:  # type: ignore[override]
        """See RequestResponseCycle."""
        if message["type"] != WHOLE:
            await super().send(message)  # type: ignore[arg-type]
        elif not self._can_be_whole():
            await send_parts(message, super().send)  # type: ignore[arg-type]
        else:
            self._send_whole(message)

    def _can_be_whole(self) -> bool:
        is_open = self.keep_alive and not self.disconnected and not self.flow.write_paused
        return is_open and not self.response_started and self.scope["method"] != "HEAD"

    def _send_whole(self, message: Message) -> None:
        parts = [STATUS_LINE[message["status"]]]
        for name, value in self.default_headers:
            parts += (name, b": ", value, b"\r\n")
        for name, value in message["headers"]:
            parts += (name, b": ", value, b"\r\n")
        parts += (b"\r\n", message["body"])
        self.transport.write(b"".join(parts))
        self.waiting_for_100_continue = False
        self.response_started = self.response_complete = True
        self.message_event.set()
        self.on_response()


async def send_parts(message: Message, send: Send) -> None:
    """Send what a WHOLE says as head and body."""
    await send({"type": "http.response.start", "status": message["status"], "headers": message["headers"]})
    await send({"type": "http.response.body", "body": message["body"]})


def answer_in_one_piece() -> None:
    """Have uvicorn make our cycles in this process; it offers no other way to say so."""
    httptools_impl.RequestResponseCycle = GatewayCycle  # type: ignore[misc]
