"""Single events on a real Kafka into their tables in a real Postgres: those that count, and those that don't."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from msgspec import structs

from aggregator.projector import metrics
from schemas.topics import Topic
from tests.integration.projector_world import World, accepted, open_world, voided

EVENTS = "SELECT * FROM usage_events ORDER BY id"
REJECTED = "SELECT * FROM rejected_usage_events ORDER BY id"
STATES = "SELECT id, status, sequence, extract(milliseconds FROM updated_at - created_at)::int FROM usage_events"


@pytest.fixture
async def world(kafka_bootstrap: str, database_url: str, database: asyncpg.Connection) -> AsyncIterator[World]:
    async with open_world(kafka_bootstrap, database_url, database) as opened:
        yield opened


async def test_an_event_that_counts_is_copied_with_all_its_fields(world: World) -> None:
    await world.accept(accepted(7))
    event = accepted(8)
    event.event = structs.replace(event.event, invoice_id=None, event_id="e-1", occurred_at=None, event_key='"q"\\#ü')
    await world.accept(structs.replace(event, period=replace(event.period, end=None)))
    await world.run_projector()
    requested, sent = datetime(2026, 1, 15, 12, 0, 0, 123_000, UTC), datetime(2026, 1, 15, 12, 0, 0, 122_000, UTC)
    of_both: dict[str, Any] = {
        "service_id": "svc_1",
        "subscription_id": "sub_1",
        "user_id": "user_1",
        "meter": "token",
        "quantity": Decimal("5.25"),
        "occurred_at": sent,
        "period_start": datetime(2026, 1, 1, tzinfo=UTC),
        "status": "RECORDED",
        "sequence": 0,
        "created_at": requested,
        "updated_at": requested,
    }
    assert [dict(row) for row in await world.database.fetch(EVENTS)] == [
        {
            "id": "ue_1_7",
            "event_key": "token#1",
            "event_id": None,
            "sent_occurred_at": sent,
            "invoice_id": "inv_1",
            "period_end": datetime(2026, 2, 1, tzinfo=UTC),
            **of_both,
        },
        {
            "id": "ue_1_8",
            "event_key": '"q"\\#ü',
            "event_id": "e-1",
            "sent_occurred_at": None,
            "invoice_id": None,
            "period_end": None,
            **of_both,
        },
    ]


@pytest.mark.parametrize("batch_records", [1, 1_000])
async def test_a_void_changes_the_event_and_keeps_the_sequence_that_it_does_not_know(
    world: World, batch_records: int
) -> None:
    for offset, (recorded, taken_back) in enumerate([(0, None), (0, 0), (2, None), (2, 3)]):
        event = accepted(offset, f"token#{offset}", recorded)
        await world.accept(event)
        await world.accept(voided(event, taken_back))
    await world.accept(voided(accepted(4, "compacted"), None))
    await world.accept(accepted(5, "not voided", 1))
    await world.run_projector(projector_batch_records=batch_records)
    assert await world.rows(f"{STATES} ORDER BY id") == [
        ("ue_1_0", "VOIDED", 0, 1_000),
        ("ue_1_1", "VOIDED", 0, 1_000),
        ("ue_1_2", "VOIDED", 2, 1_000),
        ("ue_1_3", "VOIDED", 3, 1_000),
        ("ue_1_4", "VOIDED", None, 1_000),
        ("ue_1_5", "RECORDED", 1, 0),
    ]


async def test_reading_everything_again_changes_no_row_and_mends_one_that_was_altered(world: World) -> None:
    """`xmin` is the transaction that wrote a row: it stays where nothing was written."""
    for offset in range(20):
        event = accepted(offset, f"token#{offset}", 1)
        await world.accept(event, partition=offset % 2)
        if offset % 3 == 0:
            await world.accept(voided(event, None), partition=offset % 2)
        await world.reject(None, b"%d" % offset, origin_offset=b"%d" % offset, partition=offset % 2)
    await world.run_projector(projector_batch_records=7)
    once = await world.rows(EVENTS), await world.rows(REJECTED)
    written = "SELECT id, xmin::text FROM usage_events UNION ALL SELECT id, xmin::text FROM rejected_usage_events"
    by = set(await world.rows(written))
    await world.database.execute("UPDATE usage_events SET quantity = 1 WHERE id = 'ue_1_3'")
    await world.database.execute("UPDATE rejected_usage_events SET value = 'x' WHERE id = 'ue_1_5'")
    await world.stream.rewind()
    await world.run_projector(projector_batch_records=3)
    assert (await world.rows(EVENTS), await world.rows(REJECTED)) == once
    assert len(set(await world.rows(written)) - by) == 2


async def test_a_rejected_record_is_kept_as_it_was_received_and_the_last_header_of_a_name_counts(world: World) -> None:
    forged = [("reject-code", b"forged"), ("origin-offset", b"9"), ("origin-topic", b"catalog"), ("mine", b"\xff")]
    value = b'{"serviceId": " svc_1 ", "subscriptionId": "sub_1", "quantity": -1}'
    why = {"reject_error": b"quantity must not", "reject_code": b"decimal_negative"}
    await world.reject(b"\x00\xff", value, *forged, partition=0, reject_field=b"quantity", **why)
    await world.reject(None, None, origin_topic=b"usage-corrections", origin_offset=b"3")
    await world.reject(b"", b"", origin_topic=b"usage-forwarded", reject_error=b"of \x00 and \xff")
    await world.run_projector()
    received = datetime(2026, 1, 15, 12, 0, 0, 123_000, UTC)
    negative, known = ("decimal_negative", "quantity must not", "quantity"), ("svc_1", "sub_1", received)
    invalid, unknown = ("invalid_body", "The body must be one JSON object.", None), (None, None, received)
    quoting = ("invalid_body", "of \N{REPLACEMENT CHARACTER} and \N{REPLACEMENT CHARACTER}", None)
    assert await world.rows(REJECTED) == [
        ("uc_1_3", *invalid, *unknown, "usage-corrections", 1, 3, None, None),
        ("ue_1_42", *negative, *known, "usage-events", 1, 42, b"\x00\xff", value),
        ("uf_1_42", *quoting, *unknown, "usage-forwarded", 1, 42, b"", b""),
    ]


async def test_rejected_records_of_a_mebibyte_each_are_copied_whole(world: World) -> None:
    count, value = 10, bytes(1_000_000)
    for offset in range(count):
        await world.reject(b"key", value, origin_offset=b"%d" % offset, partition=offset % 2)
    await world.run_projector()
    assert await world.rows("SELECT count(*), min(length(value)), max(value) FROM rejected_usage_events") == [
        (count, len(value), value)
    ]


def skipped() -> Counter[tuple[str, str]]:
    """The records that were not copied until now, by topic and reason."""
    samples = [sample for metric in metrics.SKIPPED.collect() for sample in metric.samples]
    return Counter(
        {
            (sample.labels["topic"], sample.labels["reason"]): int(sample.value)
            for sample in samples
            if sample.name.endswith("_total")
        }
    )


async def test_what_postgres_refuses_or_nobody_wrote_is_reported_and_the_rest_goes_on(
    world: World,
) -> None:
    good, before = accepted(1), skipped()
    for bad in (
        accepted(2, "nul\x00").to_json(),
        good.to_json().replace(b"ue_1_1", b"ue_1_3").replace(b"5.250000", b"NaN"),
        good.to_json().replace(b"ue_1_1", b"ue_1_4").replace(b"RECORDED", b"DELETED"),
        good.to_json().replace(b"ue_1_1", b"ue_1_5").replace(b"2026-01-15", b"2026-13-15"),
        b'{"id":"ue_1_6"}',
        b"\\ud800",
        None,
    ):
        await world.stream.append(Topic.ACCEPTED_USAGE, 0, b"bad", bad)
    await world.stream.append(Topic.REJECTED_USAGE, 0, b"bad", b"without headers")
    await world.reject(b"bad", b"{}", origin_topic=b"catalog")
    await world.reject(b"bad", b"{}", origin_partition=b"9" * 19)
    await world.accept(good)
    await world.reject(b"good", b"{}")
    await world.run_projector()
    assert await world.rows("SELECT id FROM usage_events") == [("ue_1_1",)]
    assert await world.rows("SELECT id FROM rejected_usage_events") == [("ue_1_42",)]
    assert skipped() - before == Counter(
        {
            (Topic.ACCEPTED_USAGE, "refused"): 4,
            (Topic.ACCEPTED_USAGE, "unreadable"): 3,
            (Topic.REJECTED_USAGE, "refused"): 1,
            (Topic.REJECTED_USAGE, "unreadable"): 2,
        }
    )


async def test_single_events_are_copied_unless_a_setting_says_otherwise(world: World) -> None:
    await world.accept(accepted(1))
    await world.run_projector()
    await world.accept(accepted(2))
    await world.reject(None, None)
    accepted_at = TopicPartition(world.stream.prefix + Topic.ACCEPTED_USAGE, 0)
    rejected_at = TopicPartition(world.stream.prefix + Topic.REJECTED_USAGE, 0)
    ends = {place: world.stream.ends.pop(place) for place in (accepted_at, rejected_at)}
    await world.total("call", 1, 1)
    await world.run_projector(project_events=False)
    stored = await world.stream.stored()
    assert (stored[accepted_at], stored[rejected_at]) == (1, 0)
    assert len(await world.rows(EVENTS)) == 1
    world.stream.ends |= ends
    await world.run_projector()
    assert len(await world.rows(EVENTS)) == 2
    assert len(await world.rows(REJECTED)) == 1


async def test_what_the_topic_keeps_no_longer_is_passed_over_and_said(
    world: World, kafka_bootstrap: str, caplog: pytest.LogCaptureFixture
) -> None:
    await world.reject(None, None, origin_offset=b"0")
    await world.run_projector()
    for offset in (b"1", b"2", b"3"):
        await world.reject(None, None, origin_offset=offset)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    place = TopicPartition(world.stream.prefix + Topic.REJECTED_USAGE, 0)
    await admin.delete_records({place: RecordsToDelete(before_offset=3)})
    await admin.close()
    await world.run_projector()
    assert await world.rows("SELECT origin_offset FROM rejected_usage_events ORDER BY 1") == [(0,), (3,)]
    assert any("2 offsets of partition 0" in record.message for record in caplog.records)
