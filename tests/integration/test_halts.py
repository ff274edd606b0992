"""A worker halts where it would have to guess. Each test is a row of the table in docs/operations.md, and where the way
out is one that Tally has, the test takes it.

What a partition finds when it is opened is tested on the partition itself: a worker that has halted leaves its group
only after the session timeout, for which every other start would have to wait.
"""

import os
import shutil
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from aggregator.engine.company import ENOUGH_BYTES
from aggregator.engine.halt import HaltReason
from deploy.log import ledger_of
from schemas.position import Position
from schemas.topics import TOPICS, Topic
from tests.integration.halts_world import (
    HOME,
    OPEN,
    assert_halted,
    assert_halts,
    assert_not_opened,
    count_some,
    counted,
    delete_records,
    grow,
    opening,
    recreate,
)
from tests.integration.test_worker import CATALOG, KEY, event
from tests.integration.worker import Deployment, deployment


@pytest.fixture
async def tally(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployment(kafka_bootstrap, topic_prefix, tmp_path / "state", partitions=1) as opened:
        await opened.publish(*(dict(entry) for entry in CATALOG))
        yield opened


# The log is behind the state, or another one


@pytest.mark.parametrize(
    ("topic", "held"),
    [
        (
            Topic.ACCEPTED_USAGE,
            "hold 0 unique keys and 2 events in totals, and its ledger 3 accepted events and 1 voids",
        ),
        (Topic.USAGE_TOTALS, "hold 3 unique keys and 0 events in totals, and its ledger 3 accepted events and 1 voids"),
        (Topic.AGGREGATOR_POSITIONS, "hold 3 unique keys and 2 events in totals, and its ledger 0 accepted events"),
    ],
)
async def test_a_changelog_made_anew(tally: Deployment, tmp_path: Path, topic: Topic, held: str) -> None:
    """With the state that was built from it, and without one."""
    await count_some(tally)
    await recreate(tally, topic)
    await assert_not_opened(tally, HaltReason.STATE_AHEAD_OF_LOG, f"is ahead of {tally.settings.topic(topic)}")
    await assert_not_opened(tally, HaltReason.CHANGELOG_TRUNCATED, held, state_dir=tmp_path / "fresh")
    # A restore that is interrupted there is not whole the next time either.
    await assert_not_opened(tally, HaltReason.CHANGELOG_TRUNCATED, held, state_dir=tmp_path / "fresh")


async def test_what_compaction_removes_is_not_missed_and_what_it_does_not_is(tally: Deployment, tmp_path: Path) -> None:
    """It removes the record of an event that has a later one since it was taken back, and no other."""
    await count_some(tally)
    voided, *others = await tally.records(Topic.ACCEPTED_USAGE)
    assert others[-1].key == voided.key

    async def hold_only(records: list[Any]) -> None:
        await recreate(tally, Topic.ACCEPTED_USAGE)
        for record in records:
            await tally.put_on(Topic.ACCEPTED_USAGE, record.key, record.value, HOME, list(record.headers))

    await hold_only(others)
    assert await opening(tally, tmp_path / "compacted") is None
    await hold_only([voided, *others[1:]])
    held = "hold 2 unique keys and 2 events in totals, and its ledger 3 accepted events and 1 voids"
    await assert_not_opened(tally, HaltReason.CHANGELOG_TRUNCATED, held, state_dir=tmp_path / "lost")


async def test_changelogs_truncated_and_the_state_that_has_read_them_goes_on(tally: Deployment, tmp_path: Path) -> None:
    old = tmp_path / "old"
    for accepted in (1, 2):
        await tally.put(KEY, event(eventKey=f"tokens#{accepted}"), HOME)
        async with tally.worker(**OPEN):
            await counted(tally, accepted=accepted)
        if accepted == 1:
            shutil.copytree(tally.state_dir, old)
    for topic in (Topic.AGGREGATOR_POSITIONS, Topic.USAGE_TOTALS, Topic.ACCEPTED_USAGE):
        await delete_records(tally, topic)
        what = f"Partition {HOME} of {tally.settings.topic(topic)} begins at"
        await assert_not_opened(tally, HaltReason.CHANGELOG_TRUNCATED, what, state_dir=old)
        await assert_not_opened(tally, HaltReason.CHANGELOG_TRUNCATED, what, "needs 0", state_dir=tmp_path / "fresh")
    await tally.put(KEY, event(eventKey="tokens#2"), HOME)
    async with tally.worker(**OPEN):
        await counted(tally, accepted=2, duplicate=1)


async def test_sources_made_anew(tally: Deployment) -> None:
    """The last first, for the first is looked at first."""
    await count_some(tally)
    for topic in (Topic.USAGE_CORRECTIONS, Topic.USAGE_FORWARDED, Topic.USAGE_EVENTS):
        await recreate(tally, topic)
        await assert_not_opened(tally, HaltReason.SOURCE_REPLACED, f"of {topic} ends at 0, and")
    for _ in range(2):  # as many as before, and others
        await tally.put(KEY, event(eventKey="tokens#other"), HOME)
    await assert_halts(tally, HaltReason.SOURCE_REPLACED, "of usage-events was", "and the log holds another")


async def test_sources_truncated(tally: Deployment) -> None:
    """After they were counted it is none of the worker's business. Before, it is."""
    await count_some(tally)
    await delete_records(tally, Topic.USAGE_EVENTS)
    assert await opening(tally) is None
    await tally.put_void(f"ue_{HOME}_0", "sub_active", "tokens#1")
    await tally.put(KEY, event(eventKey="tokens#4"), HOME)
    for topic in (Topic.USAGE_CORRECTIONS, Topic.USAGE_EVENTS):
        await delete_records(tally, topic)
        await assert_not_opened(tally, HaltReason.SOURCE_TRUNCATED, f"of {topic} begins at")


async def test_a_source_truncated_under_a_running_worker(tally: Deployment) -> None:
    """What was deleted before it was read is not jumped over."""
    await tally.put(KEY, event(eventKey="tokens#1"), HOME)
    worker = await tally.start_worker(**OPEN)
    await counted(tally, accepted=1)
    os.kill(worker.pid, signal.SIGSTOP)
    # The broker answers the fetch under way with this, and so with nothing that follows.
    await tally.put(KEY, b"x" * ENOUGH_BYTES, HOME)
    for number in range(2, 5):
        await tally.put(KEY, event(eventKey=f"tokens#{number}"), HOME)
    await delete_records(tally, Topic.USAGE_EVENTS)
    await tally.put(KEY, event(eventKey="tokens#5"), HOME)
    os.kill(worker.pid, signal.SIGCONT)
    await assert_halted(worker, HaltReason.SOURCE_TRUNCATED)
    assert (await ledger_of(tally.settings))["received"] in (1, 2)


# Partitions


@pytest.mark.parametrize(
    ("topics", "what"),
    [
        ((Topic.USAGE_EVENTS,), "usage-corrections has 1 partitions instead of 2"),
        ((Topic.USAGE_TOTALS,), "usage-totals has 2 partitions instead of 1"),
    ],
)
async def test_a_partition_added_to_a_topic(tally: Deployment, topics: tuple[Topic, ...], what: str) -> None:
    await grow(tally, *topics)
    await assert_halts(tally, HaltReason.PARTITIONS_CHANGED, what)


async def test_a_partition_added_to_all_topics(tally: Deployment, tmp_path: Path) -> None:
    """How many there were is in the state and in the log."""
    await count_some(tally)
    await grow(tally, *(known.topic for known in TOPICS if known.partitions is None))
    what = "had 1 partitions, and have 2"
    await assert_not_opened(tally, HaltReason.PARTITIONS_CHANGED, what)
    await assert_not_opened(tally, HaltReason.PARTITIONS_CHANGED, what, state_dir=tmp_path / "fresh")


async def test_a_partition_added_under_a_running_worker(tally: Deployment) -> None:
    worker = await tally.start_worker(**OPEN)
    await tally.put(KEY, event(), HOME)
    await counted(tally, accepted=1)
    await grow(tally, Topic.USAGE_EVENTS)
    await assert_halted(worker, HaltReason.PARTITIONS_CHANGED, "had 1 partitions when the worker started")


async def test_a_topic_that_is_missing(tally: Deployment) -> None:
    await assert_halts(tally, HaltReason.TOPIC_MISSING, TALLY_TOPIC_PREFIX="nobody-made-these-")


@pytest.mark.parametrize("topic", [Topic.USAGE_EVENTS, Topic.USAGE_CORRECTIONS])
async def test_a_source_that_holds_the_producers_times(tally: Deployment, topic: Topic) -> None:
    await recreate(tally, topic, **{"message.timestamp.type": "CreateTime"})
    await tally.put_on(topic, KEY, event(), HOME)
    await assert_halts(tally, HaltReason.NOT_APPEND_TIME, f"The topic {tally.settings.topic(topic)} holds")


# The state directory


async def test_a_state_directory_of_another_worker_or_deployment(tally: Deployment) -> None:
    async with tally.worker(**OPEN):
        await tally.put(KEY, event(), HOME)
        await counted(tally, accepted=1)
        await assert_halts(tally, HaltReason.STATE_LOCKED)
    await assert_halts(tally, HaltReason.STATE_OF_ANOTHER, "that of store", "app 'tally'", TALLY_APP_ID="other")


async def test_a_state_directory_whose_files_are_damaged_and_it_may_be_deleted(tally: Deployment) -> None:
    await count_some(tally)
    store = tally.state_dir / f"partition-{HOME}"
    for manifest in store.glob("MANIFEST-*"):
        manifest.write_bytes(manifest.read_bytes()[:10])
    await assert_not_opened(tally, HaltReason.STATE_FAILED, str(store))
    shutil.rmtree(tally.state_dir)
    assert await opening(tally) is None


# Other writers


async def test_positions_that_do_not_chain(tally: Deployment) -> None:
    await count_some(tally)
    *_, last = [r for r in await tally.records(Topic.AGGREGATOR_POSITIONS) if r.partition == HOME]
    position = Position.of_json(last.value)
    foreign = replace(position, prev={topic: offset + 1 for topic, offset in position.positions.items()})
    await tally.put_on(Topic.AGGREGATOR_POSITIONS, last.key, foreign.to_json(), HOME)
    await assert_not_opened(tally, HaltReason.CHAIN_BROKEN, "do not chain")


async def test_a_worker_that_has_lost_its_fence(tally: Deployment, topic_prefix: str) -> None:
    await tally.put(KEY, event(eventKey="tokens#1"), HOME)
    worker = await tally.start_worker(**OPEN)
    await counted(tally, accepted=1)
    usurper = AIOKafkaProducer(bootstrap_servers=tally.settings.kafka, transactional_id=f"{topic_prefix}tally-{HOME}")
    await usurper.start()
    await usurper.stop()
    await tally.put(KEY, event(eventKey="tokens#2"), HOME)
    await assert_halted(worker, HaltReason.TRANSACTION_FAILED)
    assert await opening(tally, decided=2) is None
    await counted(tally, accepted=2)


# The catalog


async def test_a_catalog_truncated_or_made_anew(tally: Deployment, tmp_path: Path) -> None:
    await count_some(tally)
    await tally.publish({"kind": "service", "id": "svc_new", "name": "New service"})
    await delete_records(tally, Topic.CATALOG, partition=0)
    begins = f"The topic {tally.settings.topic(Topic.CATALOG)} begins at"
    await assert_not_opened(tally, HaltReason.CATALOG_TRUNCATED, begins)
    await assert_not_opened(tally, HaltReason.CATALOG_TRUNCATED, begins, state_dir=tmp_path / "fresh")
    await recreate(tally, Topic.CATALOG)
    await assert_not_opened(tally, HaltReason.SOURCE_REPLACED, "ends at 0")
    await tally.publish(*(dict(entry) for entry in CATALOG))
    shutil.rmtree(tally.state_dir)
    assert await opening(tally) is None


@pytest.mark.parametrize("entry", ["plan/plan", "subscription/sub_active"])
async def test_a_catalog_entry_that_can_not_be_read_until_it_is_published_anew(tally: Deployment, entry: str) -> None:
    catalog = tally.settings.topic(Topic.CATALOG)
    await tally.producer.send_and_wait(catalog, b"garbage", key=entry.encode(), partition=0)
    await tally.producer.send_and_wait(catalog, b"garbage", key=b"\xff", partition=0)
    await tally.put(KEY, event(), HOME)
    await assert_halts(tally, HaltReason.CATALOG_UNREADABLE, entry)
    await tally.publish(*(dict(known) for known in CATALOG if entry == f"{known['kind']}/{known['id']}"))
    assert await opening(tally, decided=1) is None
    await counted(tally, accepted=1)
