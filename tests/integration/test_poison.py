"""Records that nobody foresaw, and a defect that one record meets: neither stops a worker, nor loses a record."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from schemas.topics import Topic
from tests.integration.defective import POISON
from tests.integration.test_worker import CATALOG, HOME, KEY, Refused, event
from tests.integration.worker import Deployment, deployment


@pytest.fixture
async def tally(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployment(kafka_bootstrap, topic_prefix, tmp_path / "state") as opened:
        await opened.publish(*(dict(entry) for entry in CATALOG))
        yield opened


async def start_defective(tally: Deployment, how: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.defective", how), env=tally.worker_environment()
    )


async def test_an_exception_while_deciding_refuses_the_one_record_that_causes_it(tally: Deployment) -> None:
    for number in range(20):
        await tally.put(KEY, event(eventKey=POISON if number == 13 else f"tokens#{number}"), HOME)
    process = await start_defective(tally, "raises")
    ledger = await tally.decided(20)
    process.terminate()
    assert await process.wait() == 0
    assert (ledger["accepted"], ledger["rejected"]) == (19, 1)
    [refused] = map(Refused, await tally.records(Topic.REJECTED_USAGE))
    assert (refused.code, refused.offset_in_source) == ("processing_failed", 13)
    assert refused.value == event(eventKey=POISON)


async def test_the_death_of_a_process_refuses_nothing(tally: Deployment) -> None:
    for number in range(20):
        await tally.put(KEY, event(eventKey=POISON if number == 13 else f"tokens#{number}"), HOME)
    process = await start_defective(tally, "dies")
    assert await asyncio.wait_for(process.wait(), 60) == -signal.SIGKILL
    async with tally.worker():
        ledger = await tally.decided(20)
    assert (ledger["accepted"], ledger["rejected"]) == (20, 0)


async def test_forged_headers_change_no_verdict_and_stay_with_the_record(tally: Deployment) -> None:
    """They have the names that Tally itself writes, of another place and another time."""
    forged = {
        "place": bytes(28),
        "reject-code": b"forged",
        "reject-error": b"\xff",
        "origin-topic": b"elsewhere",
        "origin-partition": b"7",
        "origin-offset": b"99",
        "origin-time": b"2020-01-01T00:00:00.000Z",
        "correlation-id": bytes(1_000),
        "reply-to": b"-1",
    }
    first = await tally.put(KEY, event(), HOME, **forged)
    async with tally.worker():
        await tally.decided(1)
    second = await tally.put(KEY, event(), HOME, **forged)
    third = await tally.put(KEY, event(eventKey="tokens#2"), 1 - HOME, **forged)
    async with tally.worker(TALLY_STATE_DIR=str(tally.state_dir / "another")):
        ledger = await tally.decided(3, forwardedIn=1)

    assert (ledger["accepted"], ledger["duplicate"], ledger["forwardedInAccepted"]) == (1, 1, 1)
    places = {record.key: record.value for record in await tally.records(Topic.ACCEPTED_USAGE)}
    assert b'"id":"ue_%d_%d"' % (HOME, first) in places[b'["sub_active","tokens#1"]']
    assert b'"id":"ue_%d_%d"' % (1 - HOME, third) in places[b'["sub_active","tokens#2"]']
    [refused] = await tally.records(Topic.REJECTED_USAGE)
    assert list(refused.headers[: len(forged)]) == list(forged.items())
    assert (Refused(refused).code, Refused(refused).offset_in_source) == ("duplicate_event_key", second)


async def test_an_open_transaction_of_a_foreign_producer_only_delays(
    tally: Deployment, kafka_bootstrap: str, topic_prefix: str
) -> None:
    """Until it ends, what stands behind it is not stable; then all of it counts, and what it aborted does not."""
    foreign = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap, transactional_id=f"{topic_prefix}foreign")
    await foreign.start()
    await foreign.begin_transaction()
    await foreign.send_and_wait(
        tally.settings.topic(Topic.USAGE_EVENTS), event(eventKey="tokens#open"), key=KEY, partition=HOME
    )
    await tally.put(KEY, event(), HOME)
    async with tally.worker():
        await tally.put(KEY, event(eventKey="tokens#2"), 1 - HOME)  # a partition in which nothing is open
        assert (await tally.decided(1))["received"] == 1
        await foreign.abort_transaction()
        ledger = await tally.decided(2)
    await foreign.stop()
    assert (ledger["received"], ledger["accepted"] + ledger["forwarded"]) == (2, 2)
