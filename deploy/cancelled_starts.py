"""A Kafka client whose start is cancelled leaves no connection behind.

aiokafka 0.14.0 gives its first connection back where the broker answers with an error or not at all, but not where
whoever started the client has been cancelled while the broker was asked for its metadata: neither the client nor its
stop() knows that connection, which then is closed by the garbage collector, with an error in the log.
"""

from contextvars import ContextVar
from typing import Any

import aiokafka.client
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection


def close_connections_of_cancelled_starts() -> None:
    """For all clients of this process; calling it again changes nothing."""
    aiokafka.client.create_conn = _create_and_note
    AIOKafkaClient.bootstrap = _bootstrap


_create = aiokafka.client.create_conn
_original_bootstrap = AIOKafkaClient.bootstrap
_created: ContextVar[list[AIOKafkaConnection]] = ContextVar("connections that the running bootstrap created")


async def _create_and_note(*arguments: Any, **settings: Any) -> AIOKafkaConnection:
    connection = await _create(*arguments, **settings)
    if "on_close" not in settings:  # bootstrap's alone; of the others the client knows
        _created.get().append(connection)
    return connection


async def _bootstrap(self: AIOKafkaClient) -> None:
    created: list[AIOKafkaConnection] = []
    token = _created.set(created)
    try:
        await _original_bootstrap(self)
    except BaseException:
        for connection in created:
            connection.close()
        raise
    finally:
        _created.reset(token)
