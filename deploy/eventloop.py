"""The event loop of every process: uvloop, and what aiokafka does not know of it."""

import asyncio
from typing import Any

import uvloop
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

_send = AIOKafkaConnection.send


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A uvloop, on which aiokafka survives a connection that is reset.

    uvloop raises RuntimeError for a write to a connection that was reset a moment ago, where asyncio's own loop drops
    the data. aiokafka 0.14.0 expects nothing but OSError there. What else is raised ends its background task: the
    fetcher's, after which a consumer reads nothing more and raises nothing either, or that which keeps the metadata.
    """
    AIOKafkaConnection.send = _send_or_away
    return uvloop.new_event_loop()


def _send_or_away(connection: Any, request: Any, expect_response: bool = True) -> Any:
    try:
        return _send(connection, request, expect_response)
    except RuntimeError as error:
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"Connection at {connection.host}:{connection.port} broken: {error}") from error
