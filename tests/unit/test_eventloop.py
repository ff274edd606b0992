import asyncio
from collections.abc import Callable

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from deploy import eventloop
from deploy.eventloop import new_event_loop


async def send_on_a_connection_that_was_reset() -> None:
    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        connection = await create_conn("127.0.0.1", server.sockets[0].getsockname()[1])
        connection._writer.transport.abort()  # what a reset does, before anybody has read of it
        try:
            connection.send(MetadataRequest([]))
        finally:
            connection.close()


@pytest.mark.parametrize(
    ("loop", "error"), [(uvloop.new_event_loop, RuntimeError), (new_event_loop, KafkaConnectionError)]
)
def test_write_to_a_connection_that_was_reset_is_an_error_that_aiokafka_knows(
    loop: Callable[[], asyncio.AbstractEventLoop], error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AIOKafkaConnection, "send", eventloop._send)  # as it comes, whatever ran before
    with asyncio.Runner(loop_factory=loop) as runner, pytest.raises(error):
        runner.run(send_on_a_connection_that_was_reset())
