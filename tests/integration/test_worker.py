"""A real worker on a real broker: what becomes of whatever arrives on `usage-events`."""

import json
import signal
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from schemas.position import Position
from schemas.topics import KIB, MIB, Topic, partition_of
from schemas.usage_rate import UsageRate
from tests.integration.worker import Deployment, deployment

CATALOG: list[dict[str, Any]] = [
    {"kind": "service", "id": "svc", "name": "Service"},
    {"kind": "service", "id": "svc_other", "name": "Other service"},
    {
        "kind": "plan",
        "id": "plan",
        "serviceId": "svc",
        "name": "Plan",
        "pricingType": "USAGE_BASED",
        "billingInterval": "MONTH",
        "unitPrices": {"tokens": "0.000003"},
    },
    *(
        {
            "kind": "subscription",
            "id": f"sub_{status.lower()}",
            "serviceId": "svc",
            "paymentPlanId": "plan",
            "userId": "user",
            "billingAnchor": "2026-01-01T00:00:00.000Z",
            "createdAt": "2026-01-01T00:00:00.000Z",
            "transitions": [{"version": 1, "status": status, "at": None}],
        }
        for status in ("ACTIVE", "CANCELLED")
    ),
]
EVENT = {
    "serviceId": "svc",
    "subscriptionId": "sub_active",
    "userId": "user",
    "eventKey": "tokens#1",
    "quantity": "1.5",
    "occurredAt": "2026-02-03T00:00:00Z",
}
HOME = partition_of("sub_active", 2)
KEY = b"sub_active"


@pytest.fixture
async def tally(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployment(kafka_bootstrap, topic_prefix, tmp_path / "state") as opened:
        await opened.publish(*(dict(entry) for entry in CATALOG))
        yield opened


def event(**changes: Any) -> bytes:
    """EVENT with changes; a field set to ... is left out."""
    fields = {**EVENT, **changes}
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


# Key and value of a record in the partition of sub_active, and the reason it is refused for.
REFUSED: list[tuple[str, bytes | None, bytes | None, str]] = [
    ("null value", KEY, None, "invalid_body"),
    ("null key and value", None, None, "invalid_body"),
    ("no JSON", KEY, b"\x00\xff\xfe", "invalid_body"),
    ("an array", KEY, b"[1]", "invalid_body"),
    ("duplicate keys", KEY, b'{"serviceId":"svc","serviceId":"svc"}', "invalid_body"),
    ("deep", KEY, b'{"x":' * 10_000 + b"1" + b"}" * 10_000, "invalid_body"),
    ("33 deep", KEY, b'{"x":' * 33 + b"1" + b"}" * 33, "invalid_body"),
    ("NaN", KEY, event(quantity=...)[:-1] + b',"quantity":NaN}', "invalid_body"),
    ("over 64 KiB", KEY, event(note="x" * 64 * KIB), "body_too_large"),
    ("the largest the topic takes", KEY, b"x" * (1 * MIB - 200), "body_too_large"),
    ("field missing", KEY, event(userId=...), "field_required"),
    ("field null", KEY, event(eventKey=None), "field_required"),
    ("wrong type", KEY, event(serviceId=7), "field_invalid"),
    ("control character", KEY, event(eventKey="a\x00b"), "field_invalid"),
    ("quantity a bool", KEY, event(quantity=True), "decimal_invalid"),
    ("quantity negative", KEY, event(quantity="-1"), "decimal_negative"),
    ("quantity too precise", KEY, event(quantity="0.0000001"), "decimal_too_precise"),
    ("quantity too large", KEY, event(quantity="1e14"), "decimal_out_of_range"),
    ("time unparseable", KEY, event(occurredAt="yesterday"), "timestamp_invalid"),
    ("unknown service", KEY, event(serviceId="svc_none"), "service_not_found"),
    ("unknown invoice", KEY, event(invoiceId="inv_none"), "invoice_not_found"),
    ("another user", KEY, event(userId="user_2"), "subscription_mismatch"),
    ("another service", KEY, event(serviceId="svc_other"), "subscription_mismatch"),
    ("in the future", KEY, event(occurredAt="2100-01-01T00:00:00Z"), "occurred_at_in_future"),
]


async def test_whatever_arrives_is_rejected_with_its_own_bytes_and_the_worker_goes_on(tally: Deployment) -> None:
    offsets = [await tally.put(key, value, HOME, source=b"test") for _, key, value, _ in REFUSED]
    accepted = await tally.put_event(**EVENT)
    async with tally.worker():
        ledger = await tally.decided(len(REFUSED) + 1)

    assert (ledger["accepted"], ledger["duplicate"], ledger["rejected"]) == (1, 0, len(REFUSED))
    rates = [UsageRate.of_record(record.key, record.value) for record in await tally.records(Topic.USAGE_RATES)]
    assert rates == [UsageRate("svc", "tokens", 1, 1_500_000)]  # of what counts, and of nothing else
    rejected = {record.offset_in_source: record for record in map(Refused, await tally.records(Topic.REJECTED_USAGE))}
    assert {
        (name, rejected[offset].key, rejected[offset].value, rejected[offset].code)
        for (name, *_), offset in zip(REFUSED, offsets, strict=True)
    } == set(REFUSED)
    assert all(record.headers["source"] == b"test" for record in rejected.values())
    assert all(record.headers["origin-partition"] == b"%d" % HOME for record in rejected.values())
    (counted,) = await tally.records(Topic.ACCEPTED_USAGE)
    assert json.loads(counted.value)["id"] == f"ue_{HOME}_{accepted}"


class Refused:
    """A record of `rejected-usage`."""

    def __init__(self, record: Any) -> None:
        self.key, self.value = record.key, record.value
        self.headers = dict(record.headers)
        self.code = self.headers["reject-code"].decode()
        self.offset_in_source = int(self.headers["origin-offset"])


async def test_refusals_that_depend_on_the_place_of_the_record_or_on_what_was_counted(tally: Deployment) -> None:
    await tally.put(KEY, event(), HOME)
    await tally.put(KEY, event(occurredAt="2026-02-03T00:00:00.000+00:00"), HOME)
    await tally.put(KEY, event(quantity="2"), HOME)
    await tally.put_event(**{**EVENT, "subscriptionId": "sub_none"})
    await tally.put_event(**{**EVENT, "subscriptionId": "sub_cancelled"})
    async with tally.worker():
        ledger = await tally.decided(5)

    assert (ledger["accepted"], ledger["duplicate"], ledger["rejected"]) == (1, 2, 2)
    codes = sorted(Refused(record).code for record in await tally.records(Topic.REJECTED_USAGE))
    assert codes == [
        "duplicate_event_key",
        "duplicate_event_key",
        "subscription_not_active",
        "subscription_not_found",
    ]


async def test_an_aborted_transaction_of_a_foreign_producer_counts_nothing(
    tally: Deployment, kafka_bootstrap: str, topic_prefix: str
) -> None:
    foreign = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap, transactional_id=f"{topic_prefix}foreign")
    await foreign.start()
    topic = tally.settings.topic(Topic.USAGE_EVENTS)
    for number, commits in enumerate((True, False, True)):
        await foreign.begin_transaction()
        await foreign.send_and_wait(topic, event(eventKey=f"tokens#{number}"), key=KEY, partition=HOME)
        await (foreign.commit_transaction() if commits else foreign.abort_transaction())
    await foreign.stop()
    async with tally.worker():
        ledger = await tally.decided(2)
        assert (ledger["received"], ledger["accepted"]) == (2, 2)


async def test_a_worker_without_its_state_restores_it_and_counts_nothing_twice(tally: Deployment) -> None:
    for number in range(300):
        await tally.producer.send(
            tally.settings.topic(Topic.USAGE_EVENTS), event(eventKey=f"tokens#{number}"), key=KEY, partition=HOME
        )
    await tally.producer.flush()
    first = await tally.start_worker()
    await tally.decided(300)
    first.send_signal(signal.SIGKILL)
    await first.communicate()
    for number in range(290, 310):
        await tally.put(KEY, event(eventKey=f"tokens#{number}"), HOME)

    async with tally.worker(TALLY_STATE_DIR=str(tally.state_dir / "another")):
        ledger = await tally.decided(320)
    assert (ledger["accepted"], ledger["duplicate"]) == (310, 10)
    chain = [Position.of_json(r.value) for r in await tally.records(Topic.AGGREGATOR_POSITIONS) if r.partition == HOME]
    assert all(after.prev == before.positions for before, after in pairwise(chain))


GRACE_SECONDS = "10"
"""Enough for a worker to start, to count an event and to be killed before the period is due, on a busy machine too."""


@pytest.mark.parametrize("keeps_state", [True, False])
async def test_a_period_closes_though_its_worker_died_and_nothing_more_arrives(
    tally: Deployment, *, keeps_state: bool
) -> None:
    await tally.put(KEY, event(), HOME)
    first = await tally.start_worker(TALLY_GRACE_SECONDS=GRACE_SECONDS)
    await tally.decided(1)
    first.kill()
    await first.communicate()
    assert await tally.records(Topic.CLOSED_PERIODS) == []

    state_dir = tally.state_dir if keeps_state else tally.state_dir / "another"
    async with tally.worker(TALLY_GRACE_SECONDS=GRACE_SECONDS, TALLY_STATE_DIR=str(state_dir)):
        (closed,) = await tally.closed(1)
    assert (closed["sequence"], closed["lines"][0]["quantity"]) == (0, "1.500000")


async def test_a_late_event_becomes_an_adjustment_of_its_closed_period(tally: Deployment) -> None:
    await tally.put(KEY, event(eventKey="tokens#1", quantity="1000000"), HOME)
    async with tally.worker():
        (regular,) = await tally.closed(1)
        await tally.put(KEY, event(eventKey="tokens#2", quantity="2000000"), HOME)
        regular, adjustment = await tally.closed(2)
    assert (regular["sequence"], regular["lines"][0]["quantity"]) == (0, "1000000.000000")
    assert (adjustment["sequence"], adjustment["lines"][0]["quantity"]) == (1, "2000000.000000")
    assert adjustment["lines"][0]["chargedBefore"] == {
        "quantity": "1000000.000000",
        "eventCount": 1,
        "amount": "3.000000",  # 10^6 x 0.000003
    }
