"""Deterministic usage for the benchmarks, with what must come out of it counted on the way."""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaProducer

from deploy.progress import Progress
from schemas.decimals import decimal_text
from schemas.settings import Settings
from schemas.topics import Topic, partition_of

METERS = ("token_generated", "api_call", "image_made")
SERVICES = 20
DUPLICATE_SHARE = 0.01
RECENT_MAX = 10_000


@dataclass(frozen=True)
class Workload:
    """What is sent: first `stored_keys` events of which each is accepted, then `warm_up` events, then those that are
    measured. The same seed gives the same bytes."""

    events: int
    subscriptions: int
    partitions: int
    seed: int
    warm_up: int = 0
    stored_keys: int = 0

    @property
    def before(self) -> int:
        """How many events come before those that are measured."""
        return self.stored_keys + self.warm_up

    @property
    def total(self) -> int:
        """How many events there are in all."""
        return self.before + self.events

    def names(self, number: int) -> tuple[str, str, str]:
        """Subscription, service and user of a number."""
        return f"sub-{number:06d}", f"svc-{number % SERVICES:03d}", f"user-{number:06d}"


@dataclass
class Expected:
    """What must come out, counted by the generator."""

    accepted: int = 0
    duplicates: int = 0
    sums: defaultdict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))


async def publish_catalog(producer: AIOKafkaProducer, settings: Settings, workload: Workload) -> None:
    """Services, plans and subscriptions, as the control plane would publish them."""
    topic = settings.topic(Topic.CATALOG)
    entries: list[tuple[str, dict[str, Any]]] = []
    for number in range(SERVICES):
        entries.append((f"service/svc-{number:03d}", {"id": f"svc-{number:03d}", "name": "bench", "version": 1}))
        plan = {"id": f"plan-{number:03d}", "serviceId": f"svc-{number:03d}", "name": "bench", "version": 1}
        terms = {"pricingType": "USAGE_BASED", "billingInterval": "MONTH", "unitPrices": {METERS[0]: "0.000015"}}
        entries.append((f"plan/plan-{number:03d}", {**plan, **terms}))
    for number in range(workload.subscriptions):
        subscription_id, service_id, user_id = workload.names(number)
        entries.append(
            (
                f"subscription/{subscription_id}",
                {
                    "id": subscription_id,
                    "serviceId": service_id,
                    "paymentPlanId": f"plan-{service_id.removeprefix('svc-')}",
                    "userId": user_id,
                    "billingAnchor": "2026-01-01T00:00:00.000Z",
                    "createdAt": "2026-01-01T00:00:00.000Z",
                    "version": 1,
                    "transitions": [{"version": 1, "status": "ACTIVE", "at": None}],
                },
            )
        )
    futures = [await producer.send(topic, json.dumps(entry).encode(), key=key.encode()) for key, entry in entries]
    await asyncio.gather(*futures)


def usage(workload: Workload, expected: Expected) -> Iterator[tuple[str, bytes]]:
    """Key and value of each event; some are sent twice, once the stored keys are there."""
    chance = random.Random(workload.seed)  # noqa: S311 - repeatable, not secret
    recent: list[tuple[str, bytes]] = []
    for number in range(workload.total):
        if recent and number >= workload.stored_keys and chance.random() < DUPLICATE_SHARE:
            expected.duplicates += 1
            yield recent[chance.randrange(len(recent))]
            continue
        bits = chance.getrandbits(62)
        subscription_id, service_id, user_id = workload.names(bits % workload.subscriptions)
        meter = METERS[(bits >> 20) % len(METERS)]
        quantity = (bits >> 24) % 99_999_999
        month = 3 + ((bits >> 50) & 1)
        day, hour, minute = 1 + (bits >> 3) % 30, (bits >> 9) % 24, (bits >> 13) % 60
        value = (
            f'{{"serviceId":"{service_id}","subscriptionId":"{subscription_id}","userId":"{user_id}"'
            f',"eventKey":"{meter}#{workload.seed:02x}{number:08x}{bits & 0xFFFFFF:06x}"'
            f',"quantity":"{decimal_text(quantity)}"'
            f',"occurredAt":"2026-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:00.000Z"}}'
        ).encode()
        expected.accepted += 1
        expected.sums[subscription_id, f"2026-{month:02d}-01T00:00:00.000Z", meter] += quantity
        if len(recent) < RECENT_MAX:
            recent.append((subscription_id, value))
        yield subscription_id, value


async def publish_usage(producer: AIOKafkaProducer, settings: Settings, workload: Workload) -> Expected:
    """The usage events, each in its subscription's partition; returns what must come out."""
    expected = Expected()
    progress = Progress("events in the topic", workload.total)
    records = (
        (partition_of(subscription_id, workload.partitions), subscription_id.encode(), value)
        for subscription_id, value in usage(workload, expected)
    )
    await publish(producer, settings.topic(Topic.USAGE_EVENTS), records, progress)
    return expected


async def publish(
    producer: AIOKafkaProducer, topic: str, records: Iterable[tuple[int, bytes, bytes]], progress: Progress
) -> None:
    """Partition, key and value of each, in full batches; all are acknowledged when this returns."""
    builders: dict[int, Any] = {}
    futures: list[Any] = []
    for count, (partition, key, value) in enumerate(records, start=1):
        builder = builders.get(partition)
        if builder is None or builder.append(key=key, value=value, timestamp=None) is None:
            if builder is not None:
                futures.append(await producer.send_batch(builder, topic, partition=partition))
                progress.set(count)
            builder = builders[partition] = producer.create_batch()
            builder.append(key=key, value=value, timestamp=None)
    for partition, builder in builders.items():
        futures.append(await producer.send_batch(builder, topic, partition=partition))
    await asyncio.gather(*futures)
    progress.finish()
