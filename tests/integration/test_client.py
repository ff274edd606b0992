"""The client for producers against a real gateway, which is restarted while it is used."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from ingest.client import TallyClient, UsageEventRefused
from ingest.gateway.documentation import examples
from schemas.topics import Topic
from tests.integration.running_gateway import RunningGateway, new_topics, read_topic, running_gateway, serving, until

PARTITIONS = 2


@pytest.fixture
async def gateway(kafka_bootstrap: str, database_url: str) -> AsyncIterator[RunningGateway]:
    prefix = await new_topics(kafka_bootstrap, PARTITIONS)
    async with running_gateway(kafka_bootstrap, database_url, prefix) as running:
        yield running


def event(number: int) -> dict[str, object]:
    return {**examples.NEW_USAGE_EVENT, "eventKey": f"tokens#{number}"}


async def logged(gateway: RunningGateway) -> dict[str, bytes]:
    """What is on `usage-events`, by the id of the usage event."""
    settings = gateway.settings
    records = await read_topic(settings.kafka, settings.topic(Topic.USAGE_EVENTS), PARTITIONS)
    return {f"ue_{record.partition}_{record.offset}": record.value for record in records}


async def test_events_are_in_the_log_under_the_ids_that_the_client_gives(gateway: RunningGateway) -> None:
    async with TallyClient(gateway.url, gateway.key, wait_seconds=0) as tally:
        one = await tally.record(event(0))
        many = await tally.record_many([event(1), {**event(2), "quantity": -1}, event(3)])
    stored = await logged(gateway)
    assert [one["id"], *(outcome["id"] for outcome in many if isinstance(outcome, dict))] == list(stored)
    refused = many[1]
    assert isinstance(refused, UsageEventRefused)
    assert (refused.code, refused.field) == ("decimal_negative", "quantity")


async def test_key_that_is_unknown_is_refused_at_once(gateway: RunningGateway) -> None:
    async with TallyClient(gateway.url, "tally_" + "x" * 43) as tally:
        with pytest.raises(UsageEventRefused, match="Send a valid API key") as refused:
            await tally.record(event(0))
    assert refused.value.request_id


async def test_every_event_is_recorded_while_the_gateway_restarts(gateway: RunningGateway) -> None:
    async with serving(gateway.settings) as url:
        first = gateway.settings.model_copy(update={"http_port": int(url.rpartition(":")[2])})
    recorded: list[str] = []

    async def record_all() -> None:
        async with TallyClient(url, gateway.key, wait_seconds=0) as tally:
            for number in range(300):
                recorded.append(str((await tally.record(event(number)))["id"]))

    async def has_recorded(count: int) -> bool:
        return len(recorded) >= count

    recording = asyncio.create_task(record_all())
    for count in (50, 150):
        async with serving(first):
            await until(lambda count=count: has_recorded(count))  # type: ignore[misc]
    assert not recording.done()
    async with serving(first):
        await recording
    stored = await logged(gateway)
    assert len(set(recorded)) == 300
    assert set(recorded) <= set(stored)
