"""A real worker's other two sources: events that arrived in the wrong partition, and corrections."""

import json
import signal
from collections import defaultdict
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from schemas.forwarding import Headers, split_origin
from schemas.position import Position
from schemas.topics import MIB, Topic
from tests.integration.test_worker import CATALOG, HOME, KEY, Refused, event
from tests.integration.worker import Deployment, deployment

AWAY = 1 - HOME


@pytest.fixture
async def tally(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployment(kafka_bootstrap, topic_prefix, tmp_path / "state") as opened:
        await opened.publish(*(dict(entry) for entry in CATALOG))
        yield opened


async def totals(tally: Deployment) -> dict[str, tuple[str, int]]:
    """The latest quantity and count of each meter."""
    latest = {r.key: r.value for r in await tally.records(Topic.USAGE_TOTALS)}
    documents = {json.loads(key)[2]: json.loads(value) for key, value in latest.items()}
    return {meter: (d["quantity"], d["eventCount"]) for meter, d in documents.items() if meter}


async def assert_chained(tally: Deployment) -> None:
    """No batch of any partition is missing or there twice."""
    chains = defaultdict(list)
    for record in await tally.records(Topic.AGGREGATOR_POSITIONS):
        chains[record.partition].append(Position.of_json(record.value))
    for chain in chains.values():
        assert all(after.prev == before.positions for before, after in pairwise(chain))


async def test_an_event_in_the_wrong_partition_counts_once_under_its_first_id(tally: Deployment) -> None:
    elsewhere = await tally.put(b"some key", event(eventKey="tokens#1", occurredAt=...), AWAY, source=b"librdkafka")
    await tally.put(KEY, event(eventKey="tokens#2"), HOME)
    await tally.put(None, event(eventKey="tokens#1", occurredAt=...), AWAY)
    malformed = await tally.put(None, b"{}", AWAY)
    async with tally.worker():
        ledger = await tally.decided(4, forwardedIn=2)

    assert (ledger["received"], ledger["accepted"], ledger["rejected"], ledger["forwarded"]) == (4, 1, 1, 2)
    assert (ledger["forwardedInAccepted"], ledger["forwardedInDuplicate"]) == (1, 1)
    counted = {json.loads(r.value)["id"]: r for r in await tally.records(Topic.ACCEPTED_USAGE)}
    document = json.loads(counted[f"ue_{AWAY}_{elsewhere}"].value)
    assert counted[f"ue_{AWAY}_{elsewhere}"].partition == HOME
    (source, *_) = [r for r in await tally.records(Topic.USAGE_EVENTS) if r.partition == AWAY]
    assert document["occurredAt"] == document["createdAt"]
    assert document["createdAt"].encode() == split_headers(await tally.records(Topic.USAGE_FORWARDED), source.offset)
    refused = {record.offset_in_source: record for record in map(Refused, await tally.records(Topic.REJECTED_USAGE))}
    assert refused[malformed].headers["origin-partition"] == b"%d" % AWAY
    assert {record.headers["origin-topic"] for record in refused.values()} == {b"usage-events"}
    assert [r.code for r in refused.values()].count("duplicate_event_key") == 1
    await assert_chained(tally)


def split_headers(records: list[Any], offset: int) -> bytes:
    """The request time that the record forwarded from an offset carries, once its other headers were looked at."""
    for record in records:
        split = split_origin(record.headers)
        assert split is not None
        headers, origin = split
        if origin.offset == offset:
            assert (record.partition, record.key, headers) == (HOME, b"some key", [("source", b"librdkafka")])
            return bytes(dict(record.headers)["origin-time"])
    raise LookupError(offset)


async def test_forwarding_and_voids_survive_a_worker_that_is_killed_and_loses_its_state(tally: Deployment) -> None:
    topic = tally.settings.topic(Topic.USAGE_EVENTS)
    for number in range(300):
        await tally.producer.send(topic, event(eventKey=f"tokens#{number}"), key=KEY, partition=number % 2)
    await tally.producer.flush()
    first = await tally.start_worker()
    await tally.decided(100)
    first.send_signal(signal.SIGKILL)
    await first.communicate()
    for number in range(290, 310):
        await tally.put(KEY, event(eventKey=f"tokens#{number}"), number % 2)
    async with tally.worker(TALLY_STATE_DIR=str(tally.state_dir / "another")):
        ledger = await tally.decided(320, forwardedIn=160)
        assert ledger["accepted"] + ledger["forwardedInAccepted"] == 310
        assert ledger["duplicate"] + ledger["forwardedInDuplicate"] == 10
        ids = {json.loads(r.key)[1]: json.loads(r.value)["id"] for r in await tally.records(Topic.ACCEPTED_USAGE)}
        for number in range(4):  # two of its own, and two that were forwarded
            await tally.put_void(ids[f"tokens#{number}"], "sub_active", f"tokens#{number}")
        await tally.decided(320, voids=4)
    async with tally.worker(TALLY_STATE_DIR=str(tally.state_dir / "a third")):
        await tally.put_void(ids["tokens#3"], "sub_active", "tokens#3")
        await tally.decided(320, voidsRepeated=1)
    assert await totals(tally) == {"tokens": ("459.000000", 306)}  # (310 - 4) x 1.5
    await assert_chained(tally)


async def test_a_void_lowers_the_total_once_and_what_can_not_be_voided_is_found_again(tally: Deployment) -> None:
    kept = await tally.put(KEY, event(eventKey="tokens#1", quantity="10"), HOME)
    taken_back = await tally.put(KEY, event(eventKey="tokens#2", quantity="2.25"), HOME)
    await tally.put_void(f"ue_{HOME}_{taken_back}", "sub_active", "tokens#2")
    await tally.put_void(f"ue_{HOME}_{taken_back}", "sub_active", "tokens#2")
    await tally.put_void(f"ue_{HOME}_{kept}", "sub_active", "tokens#other")
    junk = await tally.put_on(Topic.USAGE_CORRECTIONS, None, None, HOME)
    forged = await tally.put_on(Topic.USAGE_FORWARDED, KEY, event(eventKey="tokens#3"), HOME)
    async with tally.worker():
        ledger = await tally.decided(2, voids=1, voidsRepeated=1, voidsRejected=2, forwardedIn=1)
        await tally.put(KEY, event(eventKey="tokens#2", quantity="2.25"), HOME)
        again = await tally.decided(3)

    assert (ledger["accepted"], ledger["forwardedInRejected"], again["duplicate"]) == (2, 1, 1)
    assert await totals(tally) == {"tokens": ("10.000000", 1)}
    latest = {json.loads(r.key)[1]: json.loads(r.value) for r in await tally.records(Topic.ACCEPTED_USAGE)}
    assert {key: document["status"] for key, document in latest.items()} == {
        "tokens#1": "RECORDED",
        "tokens#2": "VOIDED",
    }
    refused = {
        (record.headers["origin-topic"].decode(), record.offset_in_source): record.code
        for record in map(Refused, await tally.records(Topic.REJECTED_USAGE))
    }
    assert refused["usage-corrections", junk] == "invalid_body"
    assert refused["usage-forwarded", forged] == "processing_failed"
    assert sorted(refused.values()) == [
        "duplicate_event_key",
        "event_not_recorded",
        "invalid_body",
        "processing_failed",
    ]


async def test_a_void_of_an_invoiced_event_becomes_a_credit(tally: Deployment) -> None:
    await tally.put(KEY, event(eventKey="tokens#1", quantity="1000000"), HOME)
    offset = await tally.put(KEY, event(eventKey="tokens#2", quantity="2000000"), HOME)
    async with tally.worker():
        (regular,) = await tally.closed(1)
        await tally.put_void(f"ue_{HOME}_{offset}", "sub_active", "tokens#2")
        regular, credit = await tally.closed(2)
    assert (regular["lines"][0]["quantity"], regular["lines"][0]["eventCount"]) == ("3000000.000000", 2)
    assert (credit["sequence"], credit["lines"][0]["quantity"]) == (1, "-2000000.000000")
    assert (credit["lines"][0]["eventCount"], credit["firstOffset"]) == (-1, None)
    assert credit["lines"][0]["chargedBefore"]["amount"] == "9.000000"  # 3 x 10^6 x 0.000003


async def test_the_largest_record_is_forwarded_too(tally: Deployment) -> None:
    """With the headers of its origin it is larger than usage-events takes."""
    headers: Headers = [("note", b"x" * (1 * MIB - 400))]
    await tally.put_on(Topic.USAGE_EVENTS, None, event(), AWAY, headers)
    async with tally.worker():
        ledger = await tally.decided(1, forwardedIn=1)
    assert ledger["forwardedInAccepted"] == 1
