"""What a closer holds instead of writing: the rest goes on."""

from contextlib import suppress
from dataclasses import replace
from decimal import Decimal

import pytest
from aiokafka import AIOKafkaProducer

from aggregator.closer import metrics
from schemas.closed_period import ClosedLine
from schemas.topics import Topic, partition_of
from tests.integration.closer_world import ONE, PARTITIONS, World, altered, calls, period


@pytest.mark.parametrize("batch_records", [1, 1_000])
async def test_a_period_closed_again_with_other_content_is_held_and_the_rest_goes_on(
    world: World, batch_records: int
) -> None:
    periods = [period("sub_1", calls(1)), period("sub_1", calls(2)), period("sub_2", calls(3))]
    await world.close_periods(periods)
    await world.run_closer(closer_batch_records=batch_records)
    assert await world.amounts() == {("sub_1", 0): Decimal(2), ("sub_2", 0): Decimal(6)}
    assert await world.rows("SELECT meter, quantity FROM invoice_lines ORDER BY quantity") == [
        ("call", Decimal(1)),
        ("call", Decimal(3)),
    ]
    assert await world.holds() == [("DIVERGED", "sub_1", 0)]


async def test_a_divergence_is_counted_once_however_often_it_is_read(world: World) -> None:
    await world.close_periods([period("sub_1", calls(1)), period("sub_1", calls(2))])
    before = diverged()
    for _ in range(2):
        await world.run_closer()
        await world.stream.rewind()
    assert diverged() == before + 1


def diverged() -> float:
    (metric,) = metrics.HELD.collect()
    return sum(
        sample.value
        for sample in metric.samples
        if sample.name.endswith("_total") and sample.labels == {"reason": "DIVERGED"}
    )


async def test_an_invoice_that_postgres_refuses_is_held_alone(world: World) -> None:
    too_much = ClosedLine("call", 10**32 * ONE, 1)  # numeric(38, 6) ends below 10^32
    too_often = ClosedLine("call", ONE, 2**63)
    forbidden = ClosedLine("call\x00", ONE, 1)
    for number in range(20):
        await world.close_periods([period(f"sub_{number}", calls(1))])
        if number in {3, 4, 11}:
            line = {3: too_much, 4: too_often, 11: forbidden}[number]
            await world.close_periods([period(f"bad_{number}", line)])
    await world.run_closer()
    assert await world.amounts() == {(f"sub_{number}", 0): Decimal(2) for number in range(20)}
    assert sorted(await world.holds()) == [
        ("REFUSED", "bad_11", 0),
        ("REFUSED", "bad_3", 0),
        ("REFUSED", "bad_4", 0),
    ]


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{",
        b"[]",
        b"[" * 100_000,
        b'{"digest":"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}',
        b'{"subscriptionId":1.5}',
        b'{"subscriptionId":"\\ud800"}',
        altered(period("sub_1", calls(1))),
        next(period("sub\x00", calls(1)).records())[1],
        next(period("sub_1", calls(1), sequence=2**31).records())[1],
        next(replace(period("sub_1", calls(1)), service_id="").records())[1],
    ],
    ids=lambda value: str(value)[:24],
)
async def test_a_record_that_can_not_be_read_is_held_and_the_rest_goes_on(world: World, value: bytes | None) -> None:
    await world.append("sub_2", b"key", value)
    await world.close_periods([period("sub_2", calls(1))])
    await world.run_closer()
    assert await world.amounts() == {("sub_2", 0): Decimal(2)}
    assert [reason for reason, *_ in await world.holds()] == ["UNREADABLE"]


async def test_a_period_with_a_part_missing_is_held_and_the_rest_goes_on(world: World) -> None:
    first, _, last = period("sub_1", *(ClosedLine(f"meter-{n:04d}", ONE, 1) for n in range(2_500))).records()
    await world.append("sub_1", *first)
    await world.append("sub_1", *last)
    await world.close_periods([period("sub_1", calls(1), sequence=1)])
    await world.run_closer()
    assert await world.amounts() == {("sub_1", 1): Decimal(2)}
    assert await world.holds() == [("INCOMPLETE", "sub_1", 0), ("INCOMPLETE", "sub_1", 0)]


async def test_a_period_whose_parts_are_of_two_closings_is_held(world: World) -> None:
    one, other = (
        period("sub_1", *(ClosedLine(f"meter-{n:04d}", n * unit, 1) for n in range(1_500))) for unit in (1, 2)
    )
    (first, _), (_, last) = one.records(), other.records()
    await world.append("sub_1", *first)
    await world.append("sub_1", *last)
    await world.run_closer()
    assert (await world.amounts(), await world.holds()) == ({}, [("INCOMPLETE", "sub_1", 0)])


async def test_a_period_whose_transaction_was_aborted_gets_no_invoice(world: World) -> None:
    topic, partition = world.settings.topic(Topic.CLOSED_PERIODS), partition_of("sub_1", PARTITIONS)
    worker = AIOKafkaProducer(bootstrap_servers=world.settings.kafka, transactional_id=f"{topic}-worker")
    await worker.start()
    with suppress(ZeroDivisionError):
        async with worker.transaction():
            for key, value in period("sub_1", calls(7)).records():
                await worker.send_and_wait(topic, value, key=key, partition=partition)
            raise ZeroDivisionError
    await worker.stop()
    await world.close_periods([period("sub_1", calls(1), sequence=1)])
    await world.run_closer()
    assert await world.amounts() == {("sub_1", 1): Decimal(2)}
