"""Kafka clients that are cancelled while they start, at each of their steps."""

import asyncio
import contextlib
import gc
import warnings
from typing import TypeAlias

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from ingest.consumer import stop_consumer

Client: TypeAlias = AIOKafkaConsumer | AIOKafkaProducer


@pytest.mark.parametrize("kind", [AIOKafkaConsumer, AIOKafkaProducer])
async def test_cancelled_start_leaves_no_connection_open(kafka_bootstrap: str, kind: type[Client]) -> None:
    gc.collect()  # what tests before left is theirs
    turns, is_started = 0, False
    with warnings.catch_warnings(record=True) as unclosed:
        warnings.simplefilter("always", ResourceWarning)
        while not is_started:
            turns += 1
            client = kind(bootstrap_servers=kafka_bootstrap)
            is_started = await _start_for(client, turns)
            await (stop_consumer(client) if isinstance(client, AIOKafkaConsumer) else client.stop())
        gc.collect()
    assert turns > 5
    assert [str(warning.message) for warning in unclosed] == []


async def _start_for(client: Client, turns: int) -> bool:
    """Cancel its start after so many turns of the loop; whether it had started by then."""
    start = asyncio.create_task(client.start())
    for _ in range(turns):
        await asyncio.sleep(0)
    start.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await start
    return not start.cancelled()
