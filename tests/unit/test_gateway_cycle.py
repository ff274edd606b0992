"""Answers in one piece are, byte for byte, what uvicorn makes of head and body, and leave the connection as it does."""

import asyncio
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from ingest.gateway.answer import Answer
from ingest.gateway.protocol import bounded_protocol

BODY = b'{"id":"evt_0_1"}'
POST = b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n"


class Written(asyncio.Transport):
    """A connection that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        """Nothing more comes anyway."""

    def resume_reading(self) -> None:
        """Nothing more comes anyway."""


async def written(request: bytes, is_whole: bool, reads_body: bool = True) -> tuple[list[bytes], bool]:
    """What is written in answer to a request or several, and whether the connection is closed then."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if not is_whole:
            scope["extensions"] = {}
        if reads_body:
            await receive()
        await Answer(202, BODY, [(b"location", b"/api/v1/usage-events/evt_0_1")]).send(scope, send)

    config = uvicorn.Config(app, http=bounded_protocol(9, 9), lifespan="off", log_config=None, server_header=False)
    config.load()
    state = ServerState()
    state.default_headers = [(b"date", b"Thu, 26 Nov 2026 00:00:00 GMT")]
    kind: Any = config.http_protocol_class
    protocol, transport = kind(config=config, server_state=state, app_state={}), Written()
    protocol.connection_made(transport)
    protocol.data_received(request)
    while state.tasks:
        await asyncio.wait(set(state.tasks))
    is_closed, transport.is_closed = transport.is_closed, True
    protocol.connection_lost(None)
    return transport.writes, is_closed


@pytest.mark.parametrize("reads_body", [True, False])
@pytest.mark.parametrize(
    ("request_bytes", "is_closed"),
    [
        (POST + b"\r\n{}", False),
        (POST + b"connection: close\r\n\r\n{}", True),
        (POST + b"expect: 100-continue\r\n\r\n{}", False),
        (POST.replace(b"HTTP/1.1", b"HTTP/1.0") + b"\r\n{}", True),
        (b"HEAD /x HTTP/1.1\r\nhost: x\r\n\r\n", False),
        (2 * (POST + b"\r\n{}"), False),
        (POST + b"\r\n{}" + POST + b"connection: close\r\n\r\n{}", True),
    ],
)
async def test_answer_in_one_piece_is_the_same(request_bytes: bytes, is_closed: bool, reads_body: bool) -> None:
    whole, parts = [await written(request_bytes, is_whole, reads_body) for is_whole in (True, False)]
    assert b"".join(whole[0]) == b"".join(parts[0])
    assert whole[1] == parts[1] == is_closed


async def test_it_is_one_piece() -> None:
    (writes, _), (parts, _) = [await written(POST + b"\r\n{}", is_whole) for is_whole in (True, False)]
    assert (len(writes), len(parts)) == (1, 2)
    assert writes[0].startswith(b"HTTP/1.1 202 Accepted\r\ndate: ")
    assert writes[0].endswith(b"\r\n\r\n" + BODY)
