"""A network that misbehaves on purpose: a TCP proxy that knows the frames of Kafka and of PostgreSQL.

It stands between clients and one server. It passes frames on, until it is told to harm some of them (`harm`), to
swallow all of them (`black_hole`), or to be slow (`delay_seconds`). What it does by chance comes from its seed.
"""

import asyncio
import contextlib
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, Self

from deploy.local.ports import LOOPBACK, free_port

CONNECT_SECONDS: Final = 5.0
STREAM_LIMIT_BYTES: Final = 8 << 20

PRODUCE, FETCH, LIST_OFFSETS, METADATA = "0", "1", "2", "3"
INIT_PRODUCER_ID, ADD_PARTITIONS_TO_TXN, END_TXN = "22", "24", "26"
"""Kinds of Kafka's requests: their api keys."""

COMMIT = "COMMIT"
"""The kind of a request to PostgreSQL that commits; all others are of the kind ""."""


class Harm(StrEnum):
    """What happens to a request or to its answer. All but silence end with the connection reset on both sides."""

    LOSE_REQUEST = "lose request"
    """The server never hears of it."""
    TEAR_REQUEST = "tear request"
    """The server gets a part of the frame."""
    LOSE_ANSWER = "lose answer"
    """The server has done what was asked, and the client never learns."""
    TEAR_ANSWER = "tear answer"
    """The client gets a part of the frame."""
    SILENCE = "silence"
    """The server has done what was asked; from then on nothing passes, and the connection stays open."""


REQUEST_HARMS: Final = frozenset({Harm.LOSE_REQUEST, Harm.TEAR_REQUEST})
ANSWER_HARMS: Final = frozenset({Harm.LOSE_ANSWER, Harm.TEAR_ANSWER, Harm.SILENCE})


class Hole(StrEnum):
    """What falls into a black hole. Connections stay open, and new ones are accepted."""

    REQUESTS = "requests"
    """All: the server hears nothing."""
    ANSWERS = "answers"
    """The server does what it is asked, and nobody hears of it."""


@dataclass(slots=True, frozen=True)
class Frame:
    """A whole message; `kind` is that of the request, also in the frame of its answer."""

    data: bytes
    kind: str


class Frames(Protocol):
    """How one connection of a protocol is cut into frames. Raises IncompleteReadError at the end of the stream."""

    async def request(self, reader: asyncio.StreamReader) -> Frame:
        """The client's next message."""

    async def answer(self, reader: asyncio.StreamReader) -> Frame:
        """The server's next message."""


class KafkaFrames:
    """A length before each message; requests begin with their api key, and a correlation id leads answers to them."""

    def __init__(self) -> None:
        self._kinds: dict[int, str] = {}

    async def request(self, reader: asyncio.StreamReader) -> Frame:
        """A request, remembered by its correlation id."""
        data = await _with_length(reader, b"")
        api_key, _version, correlation_id = struct.unpack_from(">hhi", data, 4)
        self._kinds[correlation_id] = str(api_key)
        return Frame(data, str(api_key))

    async def answer(self, reader: asyncio.StreamReader) -> Frame:
        """The answer to one of them."""
        data = await _with_length(reader, b"")
        (correlation_id,) = struct.unpack_from(">i", data, 4)
        return Frame(data, self._kinds.pop(correlation_id, ""))


class PostgresFrames:
    """A type and a length before each message, except for the first of a connection, which have no type.

    An answer has the kind of the latest request: a client that commits waits for that before it asks for more.
    """

    SSL_REQUEST = struct.pack(">ii", 8, 80877103)

    def __init__(self) -> None:
        self._started = False
        self._asked_for_ssl = False
        self._kind = ""

    async def request(self, reader: asyncio.StreamReader) -> Frame:
        """A message of the client."""
        if not self._started:
            data = await _with_length(reader, b"", counts_itself=True)
            self._asked_for_ssl = data == self.SSL_REQUEST
            self._started = not self._asked_for_ssl
            return Frame(data, "")
        data = await _with_length(reader, await reader.readexactly(1), counts_itself=True)
        self._kind = COMMIT if data[:1] == b"Q" and data[5:].upper().startswith(b"COMMIT") else ""
        return Frame(data, self._kind)

    async def answer(self, reader: asyncio.StreamReader) -> Frame:
        """A message of the server, or the one letter that answers the request for SSL."""
        letter = await reader.readexactly(1)
        if self._asked_for_ssl:
            self._asked_for_ssl = False
            assert letter == b"N", "a server that speaks SSL can't be listened to"
            return Frame(letter, "")
        return Frame(await _with_length(reader, letter, counts_itself=True), self._kind)


async def _with_length(reader: asyncio.StreamReader, before: bytes, *, counts_itself: bool = False) -> bytes:
    head = await reader.readexactly(4)
    (length,) = struct.unpack(">i", head)
    return before + head + await reader.readexactly(length - 4 if counts_itself else length)


@dataclass(slots=True)
class _Order:
    """Harm that is still to be done: to the next `times` of these, each with this chance."""

    kind: str | None
    harm: Harm
    times: int
    chance: float


class Proxy:
    """Listens on `port` for as long as the block lasts, and speaks to the server on `upstream_port`."""

    def __init__(self, upstream_port: int, frames: Callable[[], Frames], seed: int = 0, port: int = 0) -> None:
        self.upstream_port = upstream_port
        self.port = port or free_port()
        self.delay_seconds = 0.0
        self.harmed: Counter[tuple[str, Harm]] = Counter()
        """How often harm was done, by the kind of the request."""
        self.swallowed: Counter[Hole] = Counter()
        """Frames that fell into a black hole."""
        self._frames = frames
        self._random = random.Random(seed)
        self._orders: list[_Order] = []
        self._hole: Hole | None = None
        self._lines: set[_Line] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port, limit=STREAM_LIMIT_BYTES)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut_all()
        await asyncio.gather(*(line.over.wait() for line in self._lines))
        await self._server.wait_closed()

    def harm(self, harm: Harm, kind: str | None = None, times: int = 1, chance: float = 1.0) -> None:
        """Harm the next `times` requests of a kind (None: any), each with this chance."""
        self._orders.append(_Order(kind, harm, times, chance))

    def relent(self) -> None:
        """Forget all harm that has not been done yet."""
        self._orders.clear()

    def cut_all(self) -> int:
        """Reset every connection, wherever in a frame it is; returns how many."""
        for line in self._lines:
            line.cut()
        return len(self._lines)

    @asynccontextmanager
    async def black_hole(self, hole: Hole) -> AsyncIterator[None]:
        """Swallow frames until the block ends. Then every connection that lost one is reset."""
        self._hole = hole
        try:
            yield
        finally:
            self._hole = None
            for line in self._lines:
                if line.is_torn:
                    line.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = _Line(self, self._frames(), reader, writer)
        self._lines.add(line)
        try:
            await line.run()
        finally:
            self._lines.discard(line)

    def falls_into(self, hole: Hole) -> bool:
        """Whether a frame is lost now; whatever answers a lost request is lost as well."""
        lost = self._hole is Hole.REQUESTS or self._hole is hole
        if lost:
            self.swallowed[hole] += 1
        return lost

    def harm_to(self, frame: Frame, harms: frozenset[Harm]) -> Harm | None:
        """What of these is to be done to a frame; counted as done."""
        for order in self._orders:
            if order.harm in harms and order.kind in {None, frame.kind} and self._random.random() < order.chance:
                order.times -= 1
                if order.times == 0:
                    self._orders.remove(order)
                self.harmed[frame.kind, order.harm] += 1
                return order.harm
        return None

    def part_of(self, data: bytes) -> bytes:
        """A beginning of a frame that is not the whole of it."""
        return data[: self._random.randrange(1, len(data))] if len(data) > 1 else b""


class _Cut(Exception):
    """This connection ends now."""


class _Line:
    """One client's connection, and the one to the server that goes with it."""

    def __init__(
        self, proxy: Proxy, frames: Frames, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._frames = frames
        self._client = (reader, writer)
        self._writers = [writer]
        self._is_silent = False
        self.is_torn = False
        """Whether frames were lost, so that what follows would make no sense."""
        self.over = asyncio.Event()

    async def run(self) -> None:
        """Pass frames on in both directions until one side is gone or harm is done; then reset both."""
        try:
            await self._pass_frames_on()
        except* (_Cut, OSError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            self.cut()
            for writer in self._writers:
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
            self.over.set()

    async def _pass_frames_on(self) -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            upstream = await asyncio.open_connection(LOOPBACK, self._proxy.upstream_port, limit=STREAM_LIMIT_BYTES)
        self._writers.append(upstream[1])
        async with asyncio.TaskGroup() as directions:
            directions.create_task(self._requests(self._client[0], upstream[1]))
            directions.create_task(self._answers(upstream[0], self._client[1]))

    def cut(self) -> None:
        """Reset the connection on both sides. What was written and not sent yet is lost."""
        for writer in self._writers:
            _reset(writer)

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            frame = await self._frames.request(reader)
            await self._pass_on(frame, writer, Hole.REQUESTS, REQUEST_HARMS)

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            frame = await self._frames.answer(reader)
            await self._pass_on(frame, writer, Hole.ANSWERS, ANSWER_HARMS)

    async def _pass_on(self, frame: Frame, writer: asyncio.StreamWriter, hole: Hole, harms: frozenset[Harm]) -> None:
        proxy = self._proxy
        if proxy.delay_seconds:
            await asyncio.sleep(proxy.delay_seconds)
        if self._is_silent or proxy.falls_into(hole):
            self.is_torn = True
            return
        harm = proxy.harm_to(frame, harms)
        if harm is Harm.SILENCE:
            self._is_silent = True
            return
        if harm in {Harm.TEAR_REQUEST, Harm.TEAR_ANSWER}:
            writer.write(proxy.part_of(frame.data))
            await writer.drain()
        if harm is not None:
            raise _Cut
        writer.write(frame.data)
        await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the other side sees a reset and not an end: nothing lingers."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
