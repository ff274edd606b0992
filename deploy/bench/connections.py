"""HTTP for a load that must cost less than what it measures: requests are bytes made by hand, and each keep-alive
connection has one of them open at a time.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from schemas.errors import OperatorError

_HEAD_END = b"\r\n\r\n"


class HttpAnswer(NamedTuple):
    """What came back. The names of headers are in lower case, as the gateway sends them."""

    status: int
    head: bytes
    body: bytes

    def header(self, name: bytes) -> bytes:
        """The value of a header; empty where there is none."""
        return self.head.partition(b"\r\n%b: " % name)[2].partition(b"\r")[0]


class Connection(asyncio.Protocol):
    """A keep-alive connection."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._answer: asyncio.Future[HttpAnswer] | None = None
        self._received = bytearray()

    async def ask(self, request: bytes) -> HttpAnswer:
        """Send a request and wait for its answer. Raises OperatorError where the connection ends instead."""
        assert self._answer is None, "one request at a time"
        if self._transport is None:
            raise _ended()
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is none by inheritance

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(_ended())

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._received += data
        head, found, body = bytes(self._received).partition(_HEAD_END)
        if not found:
            return
        answer = HttpAnswer(int(head[9:12]), head, body)
        if len(body) < int(answer.header(b"content-length")):
            return
        waiting, self._answer = self._answer, None
        assert waiting is not None, "answers come to requests"
        self._received.clear()
        if not waiting.done():
            waiting.set_result(answer)


def _ended() -> OperatorError:
    return OperatorError("The gateway ended a connection without an answer; look at its log.")


class Caller:
    """Makes the requests of one key to one gateway, and the connections for them."""

    def __init__(self, http: str, api_key: str) -> None:
        place = urlsplit(http)
        assert place.hostname is not None
        assert place.port is not None
        self._host, self._port = place.hostname, place.port
        self._head = (
            f" HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {api_key}\r\n"
            "Content-Type: application/json\r\n"
        )

    def post(self, path: str, body: bytes, *headers: str) -> bytes:
        """A POST request."""
        lines = "".join(f"{header}\r\n" for header in headers)
        return f"POST {path}{self._head}{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body

    async def connect(self) -> Connection:
        """A new connection. Raises OperatorError."""
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(Connection, self._host, self._port)
        except OSError as error:
            raise OperatorError(
                f"No more connections can be opened ({error.strerror}); send less, or raise 'ulimit -n'."
            ) from error
        return connection

    @asynccontextmanager
    async def connections(self, count: int) -> AsyncIterator[list[Connection]]:
        """So many connections, until the block ends."""
        made: list[Connection] = []
        try:
            for _ in range(count):
                made.append(await self.connect())
            yield made
        finally:
            for connection in made:
                connection.close()
