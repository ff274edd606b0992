"""Closed periods on a real Kafka into invoices in a real Postgres, each once."""

import asyncio
import json
from decimal import Decimal

import asyncpg
import pytest

from aggregator.closer.lease import LeaseLost, take_lease
from aggregator.closer.writing import write_batch
from aggregator.rules.pricing import charge_after
from aggregator.stream.offsets import OffsetsMoved
from schemas.closed_period import Charge, ClosedLine
from schemas.invoice import closer_invoice_id
from schemas.plan import Invoicing, PricingType
from schemas.topics import partition_of
from tests.integration.closer_world import (
    ONE,
    PARTITIONS,
    PLAN,
    START,
    World,
    calls,
    lease_of,
    period,
    read_batch,
)
from tests.integration.stream_world import PATIENCE_SECONDS, eventually


async def test_a_closed_period_becomes_an_invoice_with_its_lines(world: World) -> None:
    await world.close_periods([period("sub_1", calls(3), ClosedLine("token", 1_234_567_891, 7))])
    await world.run_closer()
    ((invoice_id, *invoice),) = await world.rows(
        """
        SELECT id, source, service_id, payment_plan_id, user_id, subscription_id, status, amount::text, currency,
            period_start::text, period_end::text, sequence, log_partition, first_offset, last_offset, version
        FROM (SELECT *, set_config('timezone', 'UTC', false) FROM invoices) AS i
        """
    )
    assert invoice_id == closer_invoice_id("sub_1", START, 0)
    assert invoice == [
        "CLOSER", "svc_1", "plan_1", "user_1", "sub_1", "OPEN", "6.018519", "USDC",
        "2026-01-01 00:00:00+00", "2026-02-01 00:00:00+00", 0, partition_of("sub_1", PARTITIONS), 10, 19, 1,
    ]  # fmt: skip
    assert await world.rows(
        "SELECT meter, quantity::text, unit_price::text, amount::text, event_count FROM invoice_lines ORDER BY meter"
    ) == [
        ("call", "3.000000", "2.000000000000", "6.000000", 3),
        ("token", "1234.567891", "0.000015000000", "0.018519", 7),  # 1234.567891 x 0.000015 = 0.018518518365
    ]


async def test_an_invoice_is_announced_to_the_catalog(world: World) -> None:
    await world.close_periods([period("sub_1", calls(1))])
    woken = asyncio.Event()
    await world.database.add_listener("catalog_outbox", lambda *_: woken.set())
    await world.run_closer()
    invoice_id = closer_invoice_id("sub_1", START, 0)
    ((key, version, payload),) = await world.rows("SELECT key, version, payload::text FROM catalog_outbox")
    assert (key, version) == (f"invoice/{invoice_id}", 1)
    assert json.loads(str(payload)) == {
        "id": invoice_id,
        "serviceId": "svc_1",
        "userId": "user_1",
        "version": 1,
        "transitions": [{"version": 1, "status": "OPEN", "at": None}],
    }
    async with asyncio.timeout(PATIENCE_SECONDS):
        await woken.wait()


async def test_a_period_without_usage_is_an_invoice_of_0_and_a_flat_one_costs_its_amount(world: World) -> None:
    flat = PLAN.model_copy(update={"pricing_type": PricingType.FIXED_RECURRING, "amount": 9_990_000})
    await world.close_periods([period("sub_1"), period("sub_2", calls(5), plan=flat)])
    await world.run_closer()
    assert await world.amounts() == {("sub_1", 0): Decimal(0), ("sub_2", 0): Decimal("9.99")}


async def test_a_plan_that_invoices_by_hand_gets_no_invoice(world: World) -> None:
    by_hand = PLAN.model_copy(update={"invoicing": Invoicing.MANUAL})
    await world.close_periods([period("sub_1", calls(5), plan=by_hand)])
    await world.run_closer()
    assert (await world.amounts(), await world.holds()) == ({}, [])


async def test_adjustments_add_up_to_the_price_of_the_total(world: World) -> None:
    gained, charged = [33_333, 1, -20_000, 66_667_777], Charge()
    for sequence, quantity in enumerate(gained):
        line = ClosedLine("token", quantity, 1, charged)
        await world.close_periods([period("sub_1", line, sequence=sequence)])
        charged = charge_after(line, PLAN)
    await world.run_closer()
    amounts = await world.amounts()
    assert amounts == {
        ("sub_1", 0): Decimal(0),  # 0.033333 x 0.000015 = 0.000000499995
        ("sub_1", 1): Decimal("0.000001"),  # 0.033334 x 0.000015 = 0.00000050001
        ("sub_1", 2): Decimal("-0.000001"),  # 0.013334 x 0.000015 = 0.00000020001
        ("sub_1", 3): Decimal("0.001000"),  # 66.681111 x 0.000015 = 0.001000216665
    }


@pytest.mark.parametrize("batch_records", [1, 2, 1_000])
async def test_a_period_of_several_parts_is_one_invoice_however_it_is_fetched(world: World, batch_records: int) -> None:
    many = [ClosedLine(f"meter-{number:04d}", ONE, 1) for number in range(2_500)]
    await world.close_periods([period("sub_1", calls(1)), period("sub_2", *many), period("sub_3", calls(3))])
    await world.run_closer(closer_batch_records=batch_records)
    assert await world.amounts() == {
        ("sub_1", 0): Decimal(2),
        ("sub_2", 0): Decimal(5_000),
        ("sub_3", 0): Decimal(6),
    }
    assert await world.rows("SELECT count(*) FROM invoice_lines") == [(2_502,)]
    assert await world.holds() == []


async def test_a_period_whose_last_part_is_missing_holds_the_offset_back(world: World) -> None:
    many = period("sub_1", *(ClosedLine(f"meter-{number:04d}", ONE, 1) for number in range(1_500)))
    first, last = many.records()
    await world.append("sub_1", *first)
    before = dict.fromkeys(world.stream.ends, 0)
    async with world.closer():
        await world.append("sub_2" if partition_of("sub_2", 2) != partition_of("sub_1", 2) else "sub_3", b"", b"?")
        await eventually(world.holds)
        assert {tp: offset for tp, offset in (await world.stream.stored()).items() if tp in before} == before
        await world.append("sub_1", *last)
        await world.stream.all_is_read()
    assert await world.amounts() == {("sub_1", 0): Decimal(3_000)}


async def test_reading_everything_again_changes_nothing(world: World) -> None:
    await world.close_periods(period(f"sub_{number}", calls(number)) for number in range(40))
    await world.run_closer(closer_batch_records=7)
    await world.database.execute("UPDATE invoices SET status = 'PAID', version = 2, paid_at = now() WHERE amount < 9")
    once, outbox = await world.invoices(), await world.rows("SELECT * FROM catalog_outbox ORDER BY seq")
    await world.stream.rewind()
    await world.run_closer(closer_batch_records=11)
    assert len(once) == 40
    assert await world.invoices() == once
    assert await world.rows("SELECT * FROM catalog_outbox ORDER BY seq") == outbox
    assert await world.holds() == []


async def test_of_two_closers_one_writes_and_the_other_takes_over(world: World) -> None:
    await world.close_periods(period(f"sub_{number}", calls(number)) for number in range(20))
    async with world.closer():
        await world.stream.all_is_read()
        (first,) = await world.rows("SELECT epoch, holder FROM closer_lease")
        async with world.closer():
            await world.close_periods(period(f"sub_{number}", calls(number)) for number in range(20, 40))
            await world.stream.all_is_read()
            assert await world.rows("SELECT epoch, holder FROM closer_lease") == [first]
            await world.database.execute("UPDATE closer_lease SET epoch = epoch + 1, expires_at = now()")
            await world.close_periods(period(f"sub_{number}", calls(number)) for number in range(40, 60))
            await world.stream.all_is_read()
            assert await world.rows("SELECT epoch FROM closer_lease") > [first[:1]]
    assert await world.amounts() == {(f"sub_{number}", 0): Decimal(2 * number) for number in range(60)}
    assert await world.rows("SELECT count(*) FROM catalog_outbox") == [(60,)]


async def test_a_closer_that_was_replaced_writes_nothing(world: World) -> None:
    batch = await read_batch(world, [period("sub_1", calls(1))])
    zombie = await lease_of(world, "first")
    assert await take_lease(world.database, "second", 60) is None
    await zombie.release(world.database)
    successor = await lease_of(world, "second")
    with pytest.raises(LeaseLost):
        await write_batch(world.database, zombie, batch)
    assert await world.amounts() == {}
    assert set((await world.stream.stored()).values()) == {0}
    assert (await write_batch(world.database, successor, batch)).invoices == 1


async def test_the_lease_can_not_change_hands_before_the_transaction_ends(world: World) -> None:
    lease = await lease_of(world, "first")
    rival = await asyncpg.connect(world.settings.database_url)
    try:
        async with world.database.transaction():
            await lease.renew(world.database)
            takeover = asyncio.create_task(take_lease(rival, "second", 60))
            waiting = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'"
            await eventually(lambda: world.database.fetchval(waiting, rival.get_server_pid()))
        assert await takeover is None  # it was renewed
    finally:
        await rival.close()


async def test_a_batch_that_was_committed_is_not_written_twice(world: World) -> None:
    """A crash between COMMIT and the next read: the offsets tell the successor."""
    batch = await read_batch(world, [period("sub_1", calls(1))])
    lease = await lease_of(world, "first")
    assert (await write_batch(world.database, lease, batch)).invoices == 1
    with pytest.raises(OffsetsMoved):
        await write_batch(world.database, lease, batch)
    assert await world.amounts() == {("sub_1", 0): Decimal(2)}
    assert await world.rows("SELECT count(*) FROM catalog_outbox") == [(1,)]
