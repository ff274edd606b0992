"""What comes from a broker, however it is cut, is handed to aiokafka as whole responses."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import CorrelationIdError, KafkaConnectionError, KafkaError
from aiokafka.protocol.admin import ApiVersionRequest
from hypothesis import given
from hypothesis import strategies as st

from deploy.responses import RESPONSE_BYTES_MAX, ROOM, Responses

SIZES = st.one_of(st.integers(0, 40), st.integers(ROOM - 10, ROOM + 10), st.integers(ROOM, 5 * ROOM))
PIECES = st.one_of(st.integers(1, 30), st.integers(1, 2 * ROOM))
Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Aiokafka:
    """What Responses knows of a connection of aiokafka."""

    def __init__(self) -> None:
        self.handled: list[bytes] = []
        self.ended: list[Exception] = []
        self._reader: SimpleNamespace | None = SimpleNamespace(set_exception=self.ended.append)
        self._protocol = None

    def _handle_frame(self, response: bytes) -> None:
        if response == b"unreadable":
            raise ValueError("unreadable")
        self.handled.append(response)


def come(responses: Responses, data: bytes, pieces: list[int] | None = None) -> None:
    """Data comes in pieces of these sizes, again and again, and never more than there is room for."""
    sizes, number = pieces or [len(data)], 0
    while data:
        room = responses.get_buffer(-1)
        piece = data[: min(len(room), sizes[number % len(sizes)])]
        assert piece, "there is no room for what comes"
        room[: len(piece)] = piece
        responses.buffer_updated(len(piece))
        data, number = data[len(piece) :], number + 1


def framed(*responses: bytes) -> bytes:
    return b"".join(struct.pack(">i", len(response)) + response for response in responses)


@given(st.lists(SIZES, max_size=6), st.lists(PIECES, min_size=1, max_size=5))
def test_responses_are_whole_however_they_are_cut(sizes: list[int], pieces: list[int]) -> None:
    sent = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    connection = Aiokafka()
    responses = Responses(connection)
    come(responses, framed(*sent), pieces)
    assert connection.handled == sent
    assert connection.ended == []
    assert len(responses.get_buffer(-1)) == ROOM  # what a large one took is given back


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (struct.pack(">i", -1), "-1 bytes"),
        (struct.pack(">i", RESPONSE_BYTES_MAX + 1), f"{RESPONSE_BYTES_MAX + 1} bytes"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "1213486160 bytes"),
        (framed(b"unreadable"), "unreadable"),
    ],
)
def test_what_is_no_response_ends_the_connection(data: bytes, words: str) -> None:
    connection = Aiokafka()
    come(Responses(connection), framed(b"one") + data)
    assert connection.handled == [b"one"]
    assert [words in str(error) for error in connection.ended] == [True]


def test_nothing_is_handed_to_a_connection_that_is_closed_or_gone() -> None:
    connection = Aiokafka()
    responses = Responses(connection)
    connection._reader = None  # as aiokafka's close() leaves it
    come(responses, framed(b"late"))
    handled = connection.handled
    del connection
    come(responses, framed(b"later"))
    assert handled == []


# On a connection of aiokafka's


@asynccontextmanager
async def connected(serve: Client) -> AsyncIterator[AIOKafkaConnection]:
    """A connection whose other end is served so."""
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        connection = AIOKafkaConnection(host, port, request_timeout_ms=60_000)
        connection._do_version_lookup = _ask_nothing
        await connection.connect()
        try:
            yield connection
        finally:
            await connection.close()


async def _ask_nothing() -> None:
    pass


def answering(answer: bytes) -> Client:
    """Answers the first request so, and then hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        await reader.readexactly(size)
        writer.write(answer)
        await writer.drain()
        writer.close()

    return serve


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", KafkaConnectionError),
        (framed(b"x" * 100)[:50], KafkaConnectionError),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", KafkaConnectionError),
        (framed(b"\1" * 9), CorrelationIdError),
    ],
)
async def test_a_request_fails_at_once_whose_answer_is_none(answer: bytes, error: type[KafkaError]) -> None:
    async with connected(answering(answer)) as connection:
        with pytest.raises(error):
            await connection.send(ApiVersionRequest())
        assert not connection.connected()
