"""UsageProducer against a real broker."""

import asyncio
import json
from collections import defaultdict
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from ingest.outcome import InvalidUsageEvent, OutcomeUnknown, Overloaded, PublishError, Receipt, Unavailable
from ingest.producer import UsageProducer
from schemas.errors import OperatorError
from schemas.rejection import Reason
from schemas.topics import Topic
from schemas.usage_event import UsageEvent, parse_usage_event, usage_event_id
from tests.integration.running_gateway import create_topics, new_topics, read_topic

PARTITIONS = 4

# Printed by a Java program: Utils.toPositive(Utils.murmur2(key)) % 4 of kafka-clients 4.1.1.
JAVA_PARTITIONS = {"sub_1": 3, "sub_2": 2, "sub_3": 3, "Müller": 1, "a/b": 2}


def event(subscription: str, number: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "serviceId": "svc",
        "subscriptionId": subscription,
        "userId": "user",
        "eventKey": f"tokens#{number}",
        "quantity": "5.25",
        **fields,
    }


@pytest.fixture
async def prefix(kafka_bootstrap: str) -> str:
    return await new_topics(kafka_bootstrap, PARTITIONS)


async def test_receipt_names_the_place_where_the_event_is(kafka_bootstrap: str, prefix: str) -> None:
    async with UsageProducer(kafka_bootstrap, topic_prefix=prefix) as producer:
        receipt = await producer.publish(event("sub_1", occurredAt="2026-01-31T12:00:00+01:00"), [("note", b"x")])
    (record,) = await read_topic(kafka_bootstrap, prefix + Topic.USAGE_EVENTS, PARTITIONS)
    assert receipt == Receipt(record.partition, record.offset)
    assert receipt.id == usage_event_id(record.partition, record.offset)
    assert record.key == b"sub_1"
    assert record.headers == (("note", b"x"),)
    assert json.loads(record.value) == event("sub_1", quantity="5.250000", occurredAt="2026-01-31T11:00:00.000Z")
    assert isinstance(parse_usage_event(record.value), UsageEvent)


async def test_many_events_keep_their_order_and_get_a_receipt_each(kafka_bootstrap: str, prefix: str) -> None:
    events = [event(f"sub_{number % 40}", number) for number in range(2_000)]
    async with UsageProducer(kafka_bootstrap, topic_prefix=prefix) as producer:
        halves = await asyncio.gather(producer.publish_many(events[:1_000]), producer.publish_many(events[1_000:]))
    outcomes = halves[0] + halves[1]
    records = await read_topic(kafka_bootstrap, prefix + Topic.USAGE_EVENTS, PARTITIONS)
    logged = {(record.partition, record.offset): json.loads(record.value) for record in records}
    assert len(logged) == 2_000
    places: defaultdict[str, list[Receipt]] = defaultdict(list)
    for sent, receipt in zip(events, outcomes, strict=True):
        assert isinstance(receipt, Receipt)
        assert logged[receipt]["eventKey"] == sent["eventKey"]
        places[sent["subscriptionId"]].append(receipt)
    assert all(receipts == sorted(receipts) for receipts in places.values())


async def test_partition_is_the_one_that_java_chooses(kafka_bootstrap: str, prefix: str) -> None:
    async with UsageProducer(kafka_bootstrap, topic_prefix=prefix) as producer:
        chosen = {name: (await producer.publish(event(name))).partition for name in JAVA_PARTITIONS}
    assert chosen == JAVA_PARTITIONS


async def test_malformed_event_is_not_published_and_hides_no_other(kafka_bootstrap: str, prefix: str) -> None:
    async with UsageProducer(kafka_bootstrap, topic_prefix=prefix) as producer:
        with pytest.raises(InvalidUsageEvent) as raised:
            await producer.publish(event("sub_1", quantity=5.25))  # a binary float has lost digits already
        assert raised.value.rejection.reason is Reason.DECIMAL_INVALID
        outcomes = await producer.publish_many([event("sub_1"), event(" "), event("sub_1")])
    assert [type(outcome) for outcome in outcomes] == [Receipt, InvalidUsageEvent, Receipt]
    assert len(await read_topic(kafka_bootstrap, prefix + Topic.USAGE_EVENTS, PARTITIONS)) == 2


async def test_more_than_may_wait_is_refused_at_once_and_whole(kafka_bootstrap: str, prefix: str) -> None:
    async with UsageProducer(kafka_bootstrap, topic_prefix=prefix, events_max=2) as producer:
        with pytest.raises(Overloaded):
            await producer.publish_many([event("sub_1", number) for number in range(3)])
        assert producer.events_in_flight == 0
        assert len(await producer.publish_many([event("sub_1", number) for number in range(2)])) == 2
    async with UsageProducer(kafka_bootstrap, topic_prefix=prefix, bytes_max=100) as producer:
        with pytest.raises(Overloaded):
            await producer.publish(event("sub_1"))


async def test_cancelled_caller_takes_nobody_along(kafka_bootstrap: str, prefix: str) -> None:
    async with UsageProducer(kafka_bootstrap, topic_prefix=prefix) as producer:
        tasks = [asyncio.create_task(producer.publish(event("sub_1", number))) for number in range(10)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert all(isinstance(outcome, Receipt) for outcome in outcomes[1:])


async def test_producer_that_broke_is_replaced(kafka_bootstrap: str, prefix: str) -> None:
    """A batch that the broker refuses leaves a gap in the sequence numbers, after which it refuses all others."""
    small = f"{prefix}small-"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    await create_topics(
        admin, [NewTopic(small + Topic.USAGE_EVENTS, 1, 1, topic_configs={"max.message.bytes": "10000"})]
    )
    await admin.close()
    async with UsageProducer(kafka_bootstrap, topic_prefix=small) as producer:
        assert (await producer.publish(event("sub_1"))).offset == 0
        with pytest.raises(OutcomeUnknown):
            await producer.publish(event("sub_1"), [("large", b"x" * 20_000)])
        assert [(await producer.publish(event("sub_1", number))).offset for number in (1, 2)] == [1, 2]


async def test_missing_topic_is_said_and_not_created(kafka_bootstrap: str) -> None:
    with pytest.raises(OperatorError, match="tally topics"):
        await UsageProducer(kafka_bootstrap, topic_prefix="nowhere-").start()


async def test_without_a_broker_nothing_hangs() -> None:
    producer = UsageProducer("127.0.0.1:1", seconds=1)
    with pytest.raises(Unavailable):
        await producer.start()
    with pytest.raises(Unavailable, match="not published"):
        await producer.publish(event("sub_1"))
    await producer.close()
    with pytest.raises(PublishError, match="closing"):
        await producer.publish(event("sub_1"))
