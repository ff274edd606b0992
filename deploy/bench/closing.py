"""`tally bench closing`: very many billing periods fall due at one moment, while usage goes on and waits for verdicts.

The periods are days that all end at the same time, with no grace. Usage is sent at a steady rate, each event asks for
its verdict, and its latency is from the sending to the answer, the broker's acknowledgement included. Before: the last
seconds before the periods end. While: from then until the last of them has closed. After: the seconds after that.
"""

import asyncio
import json
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from deploy.bench.measure import Circumstances, resident_mib
from deploy.bench.worker import worker
from deploy.local.kafka import LocalKafka
from deploy.log import all_records, reader
from deploy.progress import Progress
from deploy.topics import ensure_topics
from schemas.decimals import QUANTITY_ONE, scaled_of_own
from schemas.errors import OperatorError
from schemas.reply import ReplyAddress
from schemas.settings import Settings
from schemas.timestamps import timestamp_text
from schemas.topics import DAY_MS, Topic, partition_of

PARTITIONS = 8
WINDOW_SECONDS = 10
"""How long latency is measured before and after."""
ENROLLED_PER_SECOND = 1_500
"""How fast a slow machine publishes subscriptions and puts them on the agenda; counts events, too."""
CLOSED_SECONDS_MAX = 600
STARTED_SECONDS_MAX = 120
REPLY_PARTITION = 0
BIG = "sub-big"


@dataclass(frozen=True)
class Closings:
    """What is to be closed: periods that end at one moment, and one more with so many meters, if any."""

    periods: int
    rate: int
    meters: int

    def subscriptions(self) -> Iterator[str]:
        """Each with a period."""
        yield from (f"sub-{number:06d}" for number in range(self.periods))
        if self.meters:
            yield BIG


@dataclass
class _Usage:
    """What was sent, and what came back."""

    sent_at: dict[bytes, float] = field(default_factory=dict)
    latencies: list[tuple[float, float]] = field(default_factory=list)
    """When an event was sent, and after how many seconds its verdict came."""
    appended: list[tuple[str, int]] = field(default_factory=list)
    """Subscription and append time in ms of each event that the broker has."""


async def bench(closings: Closings) -> dict[str, Any]:
    """Run it on a broker of its own, with one worker process."""
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as directory:
        kafka = LocalKafka(Path(directory) / "kafka", to_measure=True)
        await kafka.start()
        try:
            result = await _run(closings, Settings(kafka=kafka.bootstrap, partitions=PARTITIONS), Path(directory))
        finally:
            await kafka.stop()
    return {**result, "workload": asdict(closings), "circumstances": asdict(Circumstances.here())}


async def _run(closings: Closings, settings: Settings, directory: Path) -> dict[str, Any]:
    await ensure_topics(settings)
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka, acks="all", enable_idempotence=True, max_batch_size=1 << 20
    )
    await producer.start()
    usage, stop = _Usage(), asyncio.Event()
    try:
        async with worker(settings, directory / "state") as process:
            await _await_worker(producer, settings, process)
            due_ms = int(time.time() * 1_000) + 1_000 * _lead_seconds(closings)
            await _publish(producer, settings, closings, due_ms)
            await _use_many_meters(producer, settings, closings, usage)
            answering = asyncio.create_task(_answers(settings, usage, stop))
            sending = asyncio.create_task(_send(producer, settings, closings, usage, stop))
            try:
                closed_at = await _watch(settings, closings, due_ms, process)
                over_at = time.time()
                await asyncio.sleep(WINDOW_SECONDS)
                memory = resident_mib(process.pid)
                stop.set()
                await asyncio.gather(sending, answering)
            finally:
                for task in (sending, answering):
                    task.cancel()
                await asyncio.gather(sending, answering, return_exceptions=True)
    finally:
        await producer.stop()
    due_at = due_ms / 1_000
    return {
        "closing": {
            "periods": len(closed_at),
            "periods_per_s": round(len(closed_at) / max(0.001, (max(closed_at) - min(closed_at)) / 1_000)),
            "seconds_from_due_to_first": round((min(closed_at) - due_ms) / 1_000, 2),
            "seconds_from_due_to_last": round((max(closed_at) - due_ms) / 1_000, 2),
            "resident_mib": memory,
            "exact": await _is_exact(settings, closings, usage, due_ms),
        },
        "verdicts_before": _latency(usage, due_at - WINDOW_SECONDS, due_at),
        "verdicts_while": _latency(usage, due_at, over_at),
        "verdicts_after": _latency(usage, over_at, over_at + WINDOW_SECONDS),
    }


def _lead_seconds(closings: Closings) -> int:
    """When the periods end, from now on: all must be enrolled and counted before."""
    return 3 * WINDOW_SECONDS + (closings.periods + closings.meters) // ENROLLED_PER_SECOND


async def _await_worker(producer: AIOKafkaProducer, settings: Settings, process: asyncio.subprocess.Process) -> None:
    """Until the worker has refused a record of every partition."""
    begun, heard = time.monotonic(), set[int]()
    for number in range(PARTITIONS):
        await producer.send_and_wait(settings.topic(Topic.USAGE_EVENTS), b"{}", partition=number)
    async with reader(settings, Topic.AGGREGATOR_POSITIONS) as consumer:
        while len(heard) < PARTITIONS:
            if process.returncode is not None or time.monotonic() > begun + STARTED_SECONDS_MAX:
                raise OperatorError("The worker did not start; look at what it says above.")
            heard |= {tp.partition for tp in await consumer.getmany(timeout_ms=100)}


async def _publish(producer: AIOKafkaProducer, settings: Settings, closings: Closings, due_ms: int) -> None:
    """The catalog: subscriptions that came to be half a day before their first period ends."""
    began = timestamp_text(due_ms - DAY_MS // 2)
    plan = {"pricingType": "USAGE_BASED", "billingInterval": "DAY", "amount": "0.25"}
    await _put(producer, settings, "service/svc", {"id": "svc", "name": "bench", "gracePeriodSeconds": 0})
    await _put(producer, settings, "plan/plan", {"id": "plan", "serviceId": "svc", "name": "bench", **plan})
    progress = Progress("subscriptions published", closings.periods)
    sent = []
    for number, subscription_id in enumerate(closings.subscriptions(), start=1):
        subscription = {
            "id": subscription_id,
            "serviceId": "svc",
            "paymentPlanId": "plan",
            "userId": "user",
            "billingAnchor": timestamp_text(due_ms),
            "createdAt": began,
            "transitions": [{"version": 1, "status": "ACTIVE", "at": began}],
        }
        sent.append(await _put(producer, settings, f"subscription/{subscription_id}", subscription))
        progress.set(number)
    await asyncio.gather(*sent)
    progress.finish()


async def _put(producer: AIOKafkaProducer, settings: Settings, key: str, entry: dict[str, Any]) -> Any:
    value = json.dumps({"version": 1, **entry}).encode()
    return await producer.send(settings.topic(Topic.CATALOG), value, key=key.encode())


def _event(subscription_id: str, event_key: str) -> bytes:
    names = {"serviceId": "svc", "subscriptionId": subscription_id, "userId": "user"}
    return json.dumps({**names, "eventKey": event_key, "quantity": 1}).encode()


async def _use_many_meters(producer: AIOKafkaProducer, settings: Settings, closings: Closings, usage: _Usage) -> None:
    """One event of each meter of the period with many; nobody waits for these."""
    topic, home = settings.topic(Topic.USAGE_EVENTS), partition_of(BIG, PARTITIONS)
    sent = [
        await producer.send(topic, _event(BIG, f"meter_{number:06d}"), key=BIG.encode(), partition=home)
        for number in range(closings.meters)
    ]
    usage.appended += [(BIG, metadata.timestamp) for metadata in await asyncio.gather(*sent)]


async def _send(
    producer: AIOKafkaProducer, settings: Settings, closings: Closings, usage: _Usage, stop: asyncio.Event
) -> None:
    """Events of one subscription after the other, at the rate, whatever the answers take."""
    topic = settings.topic(Topic.USAGE_EVENTS)
    begun = time.monotonic()
    acknowledged: list[tuple[str, Any]] = []
    while not stop.is_set():
        for number in range(len(acknowledged), int((time.monotonic() - begun) * closings.rate)):
            subscription_id, correlation = f"sub-{number * 7 % closings.periods:06d}", b"%d" % number
            usage.sent_at[correlation] = time.time()
            sent = await producer.send(
                topic,
                _event(subscription_id, f"calls#{number}"),
                key=subscription_id.encode(),
                partition=partition_of(subscription_id, PARTITIONS),
                headers=ReplyAddress(REPLY_PARTITION, correlation).headers(),
            )
            acknowledged.append((subscription_id, sent))
        await asyncio.sleep(0.001)
    usage.appended += [(subscription_id, (await sent).timestamp) for subscription_id, sent in acknowledged]


async def _answers(settings: Settings, usage: _Usage, stop: asyncio.Event) -> None:
    """Take the verdicts, until the last one."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka, fetch_max_wait_ms=50)
    await consumer.start()
    try:
        place = TopicPartition(settings.topic(Topic.USAGE_REPLIES), REPLY_PARTITION)
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        deadline = None
        while usage.sent_at or not stop.is_set():
            for record in (await consumer.getmany(timeout_ms=20)).get(place, ()):
                sent_at = usage.sent_at.pop(record.key)
                usage.latencies.append((sent_at, time.time() - sent_at))
            if stop.is_set():
                deadline = deadline or time.monotonic() + WINDOW_SECONDS
                if time.monotonic() > deadline:
                    raise OperatorError(
                        f"{len(usage.sent_at)} events got no verdict; look at what the worker says above."
                    )
    finally:
        await consumer.stop()


async def _watch(settings: Settings, closings: Closings, due_ms: int, process: asyncio.subprocess.Process) -> list[int]:
    """When each period was closed, by the broker's clock, once all of them are."""
    expected = sum(1 for _ in closings.subscriptions())
    closed_at: list[int] = []
    progress = Progress("periods closed", expected)
    async with reader(settings, Topic.CLOSED_PERIODS) as consumer:
        while time.time() < due_ms / 1_000 + CLOSED_SECONDS_MAX and process.returncode is None:
            for some in (await consumer.getmany(timeout_ms=100)).values():
                closed_at += [record.timestamp for record in some if _is_last_part(record.value)]
            progress.set(len(closed_at))
            if len(closed_at) >= expected:
                progress.finish()
                return closed_at
    raise OperatorError(
        f"The worker ended, or closed only {len(closed_at)} of {expected} periods; see what it says above."
    )


def _is_last_part(value: bytes) -> bool:
    return b'"partDigests"' in value


async def _is_exact(settings: Settings, closings: Closings, usage: _Usage, due_ms: int) -> bool:
    """Whether each period was closed once, with just the usage that was appended before its end."""
    expected = Counter(subscription_id for subscription_id, at in usage.appended if at < due_ms)
    closed: dict[str, list[int]] = defaultdict(list)
    quantities: Counter[str] = Counter()
    for record in await all_records(settings, Topic.CLOSED_PERIODS):
        document = json.loads(record.value)
        subscription_id = document["subscriptionId"]
        if _is_last_part(record.value):
            closed[subscription_id].append(document["sequence"])
        quantities[subscription_id] += sum(scaled_of_own(line["quantity"]) for line in document["lines"])
    return all(
        closed[subscription_id] == [0] and quantities[subscription_id] == expected[subscription_id] * QUANTITY_ONE
        for subscription_id in closings.subscriptions()
    )


def _latency(usage: _Usage, begin: float, end: float) -> dict[str, Any]:
    """Of the events that were sent in this time."""
    found = sorted(latency for sent_at, latency in usage.latencies if begin <= sent_at < end)
    if not found:
        return {"events": 0}
    shares = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}
    return {"events": len(found)} | {
        name: round(found[min(len(found) - 1, int(len(found) * share))] * 1_000) for name, share in shares.items()
    }
