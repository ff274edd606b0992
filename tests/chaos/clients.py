"""The load: clients that send usage over HTTP and straight to Kafka, and note what they are told."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from deploy.target import Target
from schemas.topics import Topic, partition_of
from tests.chaos.customers import PLANS, SERVICES, Usage, subscription, subscriptions
from tests.chaos.journal import Event, Journal, Outcome, Sent
from tests.chaos.parts import now_ms

SHAPES = ("field_", "decimal_", "timestamp_", "invalid_body")
"""What the codes begin with by which a gateway refuses an event without publishing it."""
AWAY = (httpx.TransportError, OSError)
ANSWER_SECONDS = 20.0
VOID_AFTER_MS = 3_000


class Clients:
    """All clients of one stack. Each coroutine is a client that goes on until it is told to stop."""

    def __init__(self, target: Target, partitions: int, journal: Journal, seed: int, rate: float) -> None:
        self._target = target
        self._partitions = partitions
        self._journal = journal
        self._chance = random.Random(seed)
        self._seed = seed
        self._usage = Usage(seed, journal)
        self._rate = rate
        self._stopping = asyncio.Event()
        self._created = 0
        self.voids_sent = 0

    async def prepare(self) -> None:
        """Create the catalog; the subscriptions that are cancelled from the beginning are."""
        async with self._api() as api:
            for path, documents in (("services", SERVICES), ("plans", PLANS), ("subscriptions", subscriptions())):
                for document in documents:
                    await self._persist(api, f"/{path}", document)
            for whose in subscriptions():
                if "cancelled" in whose["id"]:
                    await self._persist(api, f"/subscriptions/{whose['id']}/status", {"status": "CANCELLED"})

    async def run(self) -> None:
        """Send until stop(), then wait for the answers that are open."""
        async with self._api() as api, asyncio.TaskGroup() as group:
            for pace, send in (
                *((0.15 * self._rate, self._one) for _ in range(2)),
                (0.35 * self._rate / 15, self._batch),
                (2.0, self._change_catalog),
            ):
                group.create_task(self._paced(pace, send, api))
            group.create_task(self._to_kafka(0.35 * self._rate))

    def stop(self) -> None:
        """Let every client finish."""
        self._stopping.set()

    def _api(self) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self._target.api_key}"}
        return httpx.AsyncClient(base_url=f"{self._target.http}/api/v1", headers=headers, timeout=ANSWER_SECONDS)

    async def _paced(
        self, per_second: float, send: Callable[[httpx.AsyncClient], Awaitable[None]], api: httpx.AsyncClient
    ) -> None:
        while not self._stopping.is_set():
            await send(api)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._chance.expovariate(per_second))

    # HTTP

    async def _one(self, api: httpx.AsyncClient) -> None:
        event, is_retry = self._usage.next()
        try:
            response = await api.post("/usage-events", json=event)
        except AWAY:
            self._journal.note("http", event, Outcome.UNKNOWN, is_retry=is_retry)
        else:
            self._note("http", event, response.status_code, response.json(), is_retry)

    async def _batch(self, api: httpx.AsyncClient) -> None:
        wanted = [self._usage.next() for _ in range(self._chance.randrange(5, 26))]
        events = [event for event, _ in wanted]
        way, request = "batch", {"json": {"usageEvents": events}}
        if self._chance.random() < 0.5:
            lines = "".join(json.dumps(event) + "\n" for event in events)
            headers = {"content-type": "application/x-ndjson"}
            way, request = "ndjson", {"content": lines.encode(), "headers": headers}  # type: ignore[dict-item]
        try:
            response = await api.post("/usage-events/batch", **request)  # type: ignore[arg-type]
        except AWAY:
            for event, is_retry in wanted:
                self._journal.note(way, event, Outcome.UNKNOWN, is_retry=is_retry)
            return
        body = response.json()
        results = body.get("results") or [{"status": response.status_code, **body}] * len(events)
        for (event, is_retry), result in zip(wanted, results, strict=True):
            self._note(way, event, result["status"], result, is_retry)

    def _note(self, way: str, event: Event, status: int, body: dict[str, Any], is_retry: bool) -> None:
        place = body.get("receipt") or body.get("usageEvent")
        if status in (200, 201, 202) and place is not None:
            self._journal.note(way, event, Outcome.OK, id=place["id"], status=status, is_retry=is_retry)
        elif 400 <= status < 500:
            outcome = Outcome.REFUSED if body["code"].startswith(SHAPES) else Outcome.JUDGED
            self._journal.note(way, event, outcome, status=status, is_retry=is_retry)
        else:
            self._journal.note(way, event, Outcome.UNKNOWN, status=status, is_retry=is_retry)

    # Kafka

    async def _to_kafka(self, per_second: float) -> None:
        while not self._stopping.is_set():
            producer = AIOKafkaProducer(
                bootstrap_servers=self._target.kafka, acks="all", enable_idempotence=True, request_timeout_ms=10_000
            )
            try:
                await producer.start()
            except (KafkaError, OSError):
                await producer.stop()
                await asyncio.sleep(0.5)
                continue
            sending: set[asyncio.Task[bool]] = set()
            is_sound = True
            while is_sound and not self._stopping.is_set():
                sending.add(asyncio.create_task(self._put(producer)))
                await asyncio.sleep(self._chance.expovariate(per_second))
                done = {task for task in sending if task.done()}
                sending -= done
                is_sound = all(task.result() for task in done) and len(sending) < 500
            if sending:
                await asyncio.wait(sending)
            with suppress(TimeoutError, KafkaError, OSError):
                await asyncio.wait_for(producer.stop(), 5)

    async def _put(self, producer: AIOKafkaProducer) -> bool:
        """Send one event, or take one back; returns whether the producer is of further use."""
        if self._chance.random() < 0.08 and (sent := self._to_take_back()) is not None:
            return await self._void(producer, sent)
        event, is_retry = self._usage.next()
        home = partition_of(event["subscriptionId"], self._partitions)
        is_stray = self._chance.random() < 0.5  # as librdkafka's partitioner sends it
        partition = self._chance.randrange(self._partitions) if is_stray else home
        value = json.dumps(event)
        if event["quantity"] is None:
            value = value[: self._chance.randrange(len(value))]  # cut off, as a broken client might
        try:
            sending = await producer.send(
                Topic.USAGE_EVENTS, value.encode(), key=event["subscriptionId"].encode(), partition=partition
            )
            metadata = await asyncio.wait_for(sending, ANSWER_SECONDS)
        except (KafkaError, OSError, TimeoutError):
            self._journal.note("kafka", event, Outcome.UNKNOWN, is_retry=is_retry)
            return False
        place = f"ue_{metadata.partition}_{metadata.offset}"
        self._journal.note("stray" if is_stray else "kafka", event, Outcome.OK, id=place, is_retry=is_retry)
        return True

    def _to_take_back(self) -> Sent | None:
        settled = [sent for sent in self._journal.recent if sent.at < now_ms() - VOID_AFTER_MS]
        return self._chance.choice(settled) if settled else None

    async def _void(self, producer: AIOKafkaProducer, sent: Sent) -> bool:
        """As the control plane would; that this event may be a duplicate or refused is for the worker to find out."""
        event = sent.event
        key = [event["subscriptionId"], event["eventKey"]]
        if event["serviceId"] == "svc_event":
            key.append(event.get("eventId", ""))
        value = {"id": sent.id, "uniqueKey": key, "reason": "chaos"}
        partition = partition_of(event["subscriptionId"], self._partitions)
        try:
            sending = await producer.send(
                Topic.USAGE_CORRECTIONS, json.dumps(value).encode(), key=key[0].encode(), partition=partition
            )
            await asyncio.wait_for(sending, ANSWER_SECONDS)
        except (KafkaError, OSError, TimeoutError):
            return False
        self.voids_sent += 1
        return True

    # The catalog

    async def _change_catalog(self, api: httpx.AsyncClient) -> None:
        """Create a subscription and use it from then on, or cancel one of those, in use as it is."""
        own = [whose for whose in self._usage.subscriptions if whose["id"].startswith("sub_new")]
        if len(own) > 3 and self._chance.random() < 0.6:
            whose = self._chance.choice(own)
            await self._persist(api, f"/subscriptions/{whose['id']}/status", {"status": "CANCELLED"})
            # Its usage goes on for a while, as that of a customer who has not noticed.
            if len(own) > 8:
                self._usage.subscriptions.remove(own[0])
            return
        self._created += 1
        whose = subscription(self._created, "svc_pair", "usage", f"sub_new{self._seed}")
        if await self._persist(api, "/subscriptions", whose):
            self._usage.subscriptions.append(whose)

    async def _persist(self, api: httpx.AsyncClient, path: str, document: dict[str, Any]) -> bool:
        """POST until it is answered well; returns False where the clients stop before that."""
        while not self._stopping.is_set():
            with suppress(*AWAY):
                if (response := await api.post(path, json=document)).status_code in (200, 201):
                    return True
                assert response.status_code >= 500, response.text
            await asyncio.sleep(0.3)
        return False


@asynccontextmanager
async def load(
    target: Target, partitions: int, journal: Journal, *, seed: int, rate: float = 100.0
) -> AsyncIterator[Clients]:
    """Clients that send about `rate` events a second while the block runs; then every answer is in the journal."""
    clients = Clients(target, partitions, journal, seed, rate)
    await clients.prepare()
    running = asyncio.create_task(clients.run())
    try:
        yield clients
    finally:
        clients.stop()
        await running
