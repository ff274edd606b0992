"""A broker's responses are read where they are wanted, and handled as they arrive.

aiokafka 0.14.0 reads them from a stream of asyncio. There all that comes is copied four times before it is the bytes of
a response, reading is paused and taken up again for every 128 KiB of a fetch, and a response that is there waits for a
turn of the loop. A worker that restores its state, which is reading above all, takes a sixth more time for it.
"""

import asyncio
import struct
import weakref
from typing import Final

from aiokafka.conn import AIOKafkaConnection

ROOM: Final = 64 << 10
"""Bytes that are there for responses; for one that is larger there is as much as it takes, until it is handled."""
RESPONSE_BYTES_MAX: Final = 256 << 20
"""Far more than consumers ask for and a broker takes of a producer. What names a larger one first is no broker: another
server's "HTTP" would be one of 1.2 GB."""
_SIZE: Final = struct.Struct(">i")


def read_responses_in_place() -> None:
    """For all clients of this process; calling it again changes nothing."""
    AIOKafkaConnection._create_reader_task = _create_reader_task
    AIOKafkaConnection._read = staticmethod(_end_of)


_original_create_reader_task = AIOKafkaConnection._create_reader_task


def _create_reader_task(self: AIOKafkaConnection) -> "asyncio.Task[None]":
    transport = self._writer.transport
    transport.pause_reading()  # nothing was sent yet, so nothing has been read
    transport.set_protocol(Responses(self))
    transport.resume_reading()
    return _original_create_reader_task(self)  # type: ignore[no-any-return]  # aiokafka ships no types


async def _end_of(self_ref: "weakref.ref[AIOKafkaConnection]") -> None:
    """Instead of aiokafka's reading: raise what the connection ends with."""
    connection = self_ref()
    if connection is not None:
        reader = connection._reader
        del connection
        await reader.readexactly(1)  # nothing ever comes of it


class Responses(asyncio.BufferedProtocol):
    """Between a transport and the protocol that aiokafka gave it, which learns all but what arrives."""

    def __init__(self, connection: AIOKafkaConnection) -> None:
        self._connection = weakref.ref(connection)
        self._protocol = connection._protocol
        self._reader = connection._reader
        self._buffer = bytearray(ROOM)
        self._used = 0

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where what comes next belongs."""
        return memoryview(self._buffer)[self._used :]

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes have come."""
        self._used += nbytes
        try:
            self._handle()
        except Exception as error:  # noqa: BLE001 - whatever it is ends the connection, as it does in aiokafka
            self._reader.set_exception(error)

    def _handle(self) -> None:
        """Hand over what is whole, and make room for what is not."""
        begin = 0
        while (end := self._end_from(begin)) <= self._used:
            self._hand_over(bytes(memoryview(self._buffer)[begin + _SIZE.size : end]))
            begin = end
        room = max(ROOM, end - begin)
        if begin or room != len(self._buffer):
            self._keep(begin, room)

    def _keep(self, begin: int, room: int) -> None:
        """What begins there, in a buffer with so much room."""
        rest = self._buffer[begin : self._used]
        if room != len(self._buffer):
            self._buffer = bytearray(room)
        self._buffer[: len(rest)] = rest
        self._used = len(rest)

    def _end_from(self, begin: int) -> int:
        """Where the response ends that begins there, or its size where that has not come yet."""
        end = begin + _SIZE.size
        if end > self._used:
            return end
        (size,) = _SIZE.unpack_from(self._buffer, begin)
        if not 0 <= size <= RESPONSE_BYTES_MAX:
            raise ValueError(f"what answers is no broker of Kafka: it announces {size} bytes")
        return end + int(size)

    def _hand_over(self, response: bytes) -> None:
        connection = self._connection()
        if connection is not None and connection._reader is not None:  # it is not closed
            connection._handle_frame(response)

    def eof_received(self) -> bool | None:
        """The broker sends nothing more."""
        return self._protocol.eof_received()  # type: ignore[no-any-return]

    def connection_lost(self, exc: Exception | None) -> None:
        """It ended, in good order where there is no exception."""
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """Too much waits to be sent."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """It does not any more."""
        self._protocol.resume_writing()
