"""Sending usage to a running Tally, by HTTP batches and by a plain Kafka producer.

Every event has a key that is its own, so whatever has an unknown outcome is simply sent again: the first copy counts.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import httpx
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from deploy.target import Target
from schemas.errors import OperatorError
from schemas.settings import Settings
from schemas.topics import Topic

BATCH_EVENTS = 500
HTTP_CONCURRENCY = 4
RETRY_SECONDS = 60.0
"""A gateway may be restarted meanwhile; what is away for longer is an error."""
RETRY_PAUSE_SECONDS = 0.2

Event = dict[str, Any]


class SendingFailed(OperatorError):
    """Usage could not be sent."""


class Api:
    """The HTTP API of a target. What can be sent again is, for up to a minute."""

    def __init__(self, target: Target) -> None:
        self._client = httpx.AsyncClient(
            base_url=f"{target.http}/api/v1",
            # What is sent in bulk needs no verdicts: whoever sends it looks at the invoices.
            headers={"Authorization": f"Bearer {target.api_key}", "Prefer": "respond-async"},
            timeout=30.0,
            verify=False,  # noqa: S501 - a local gateway speaks plain HTTP
        )

    async def __aenter__(self) -> "Api":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def create(self, path: str, documents: Iterable[dict[str, Any]]) -> None:
        """Create entities; one that exists with the same content is fine. Raises SendingFailed."""
        for document in documents:
            response = await self._post(path, document)
            if response.status_code not in (200, 201):
                raise SendingFailed(f"POST {path} answered {response.status_code} ({response.text.strip()}).")

    async def send_batch(self, events: Sequence[Event]) -> None:
        """Send events until each is acknowledged. Raises SendingFailed for one that is refused."""
        waiting = list(events)
        deadline = time.monotonic() + RETRY_SECONDS
        while waiting:
            response = await self._post("/usage-events/batch", {"usageEvents": waiting})
            if response.status_code != httpx.codes.MULTI_STATUS:
                raise SendingFailed(f"POST /usage-events/batch answered {response.status_code}: {response.text}")
            results = list(zip(waiting, response.json()["results"], strict=True))
            if refused := [r for _, r in results if 400 <= r["status"] < 500 and r["code"] != "duplicate_event_key"]:
                raise SendingFailed(f"A usage event was refused: {refused[0]['error']}")
            waiting = [event for event, result in results if result["status"] >= 500]
            if waiting and time.monotonic() > deadline:
                raise SendingFailed(f"{len(waiting)} usage events were not acknowledged; is Kafka running?")

    async def _post(self, path: str, document: Any) -> httpx.Response:
        deadline = time.monotonic() + RETRY_SECONDS
        while True:
            try:
                response = await self._client.post(path, json=document)
                if response.status_code not in (429, 503):
                    return response
                problem = response.text
            except httpx.TransportError as error:
                problem = repr(error)
            if time.monotonic() > deadline:
                raise SendingFailed(f"The gateway can't be used ({problem}); is 'tally up' running?")
            await asyncio.sleep(RETRY_PAUSE_SECONDS)


async def send_by_http(api: Api, events: Iterable[Event], sent: Callable[[int], None]) -> None:
    """Send all events in batches, a few at a time."""
    batches = _batches(events)

    async def work() -> None:
        for batch in batches:  # shared: each batch goes to one of the workers
            await api.send_batch(batch)
            sent(len(batch))

    async with asyncio.TaskGroup() as group:
        for _ in range(HTTP_CONCURRENCY):
            group.create_task(work())


async def send_by_kafka(target: Target, events: Iterable[Event], sent: Callable[[int], None]) -> None:
    """Send all events as any Kafka client would: the JSON object, under the subscription's id. Raises SendingFailed."""
    topic = Settings().topic(Topic.USAGE_EVENTS)
    producer = AIOKafkaProducer(bootstrap_servers=target.kafka, acks="all", enable_idempotence=True, linger_ms=5)
    try:
        await producer.start()
        for batch in _batches(events):
            futures = [
                await producer.send(topic, json.dumps(event).encode(), key=event["subscriptionId"].encode())
                for event in batch
            ]
            await asyncio.gather(*futures)
            sent(len(batch))
    except KafkaError as error:
        raise SendingFailed(
            f"Kafka at {target.kafka} can't be used ({error}): start it, or check TALLY_KAFKA."
        ) from error
    finally:
        await producer.stop()


def _batches(events: Iterable[Event]) -> Iterator[list[Event]]:
    iterator = iter(events)
    while batch := list(islice(iterator, BATCH_EVENTS)):
        yield batch
