"""Totals and ledgers on a real Kafka into their tables in a real Postgres."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import asyncpg
import pytest

from aggregator.projector.job import Projector
from schemas.errors import OperatorError
from schemas.position import Ledger
from schemas.timestamps import parse_timestamp
from schemas.totals import PERIOD_METER, MeterTotal, PeriodState, total_key
from tests.integration.projector_world import END, ONE, START, World, open_world
from tests.integration.stream_world import PATIENCE_SECONDS


@pytest.fixture
async def world(kafka_bootstrap: str, database_url: str, database: asyncpg.Connection) -> AsyncIterator[World]:
    async with open_world(kafka_bootstrap, database_url, database) as opened:
        yield opened


@pytest.mark.parametrize("batch_records", [1, 1_000])
async def test_the_last_total_of_a_meter_is_the_one_shown(world: World, batch_records: int) -> None:
    await world.total("call", 1 * ONE, 1)
    await world.total("token", 5_250_000, 2)
    await world.total("call", 3 * ONE, 3, subscription_id="sub_2")
    await world.total("call", 4 * ONE, 4)
    await world.run_projector(projector_batch_records=batch_records)
    assert await world.totals() == [
        ("sub_1", "call", Decimal(4), 4),
        ("sub_1", "token", Decimal("5.25"), 2),
        ("sub_2", "call", Decimal(3), 3),
    ]


async def test_a_total_is_dated_by_its_record(world: World) -> None:
    appended_at = await world.total("call", ONE, 1)
    await world.run_projector()
    ((start, end, updated_at),) = await world.rows(
        "SELECT extract(epoch FROM period_start) * 1000, extract(epoch FROM period_end) * 1000, "
        "extract(epoch FROM updated_at) * 1000 FROM usage_totals"
    )
    assert (start, end, updated_at) == (parse_timestamp(START), END, appended_at)


async def test_a_period_without_an_end_has_none(world: World) -> None:
    await world.append_total(total_key("sub_1", START, "call"), MeterTotal(None, ONE, 1).to_json())
    await world.run_projector()
    assert await world.rows("SELECT period_end, quantity FROM usage_totals") == [(None, Decimal(1))]


async def test_the_state_of_a_period_is_no_total(world: World) -> None:
    await world.append_total(total_key("sub_1", START, PERIOD_METER), PeriodState(END).to_json())
    await world.run_projector()
    assert await world.totals() == []


async def test_the_state_of_a_period_is_shown_by_itself(world: World) -> None:
    january, endless = total_key("sub_1", START, PERIOD_METER), total_key("sub_2", START, PERIOD_METER)
    await world.append_total(january, PeriodState(END).to_json())
    await world.append_total(endless, PeriodState(None, first_at=END, first_offset=7).to_json())
    appended_at = await world.append_total(january, PeriodState(END, closed=True, next_sequence=2).to_json())
    await world.run_projector()
    rows = await world.rows(
        "SELECT subscription_id, extract(epoch FROM period_start) * 1000, extract(epoch FROM period_end) * 1000,"
        " closed, next_sequence FROM billing_periods ORDER BY 1"
    )
    start = parse_timestamp(START)
    assert rows == [("sub_1", start, END, True, 2), ("sub_2", start, None, False, 0)]
    dated = await world.rows("SELECT extract(epoch FROM updated_at) * 1000 FROM billing_periods WHERE closed")
    assert dated == [(appended_at,)]


async def test_the_ledger_of_each_partition_is_shown(world: World) -> None:
    await world.position(0, 7, Ledger(received=6, accepted=4, duplicate=1, rejected=1))
    await world.position(1, 3, Ledger(received=2, accepted=2))
    await world.position(0, 12, Ledger(received=10, accepted=6, duplicate=1, rejected=2, forwarded=1))
    await world.run_projector()
    assert await world.rows(
        "SELECT partition, next_offset, received, accepted, duplicate, rejected, forwarded FROM ledger ORDER BY 1"
    ) == [(0, 12, 10, 6, 1, 2, 1), (1, 3, 2, 2, 0, 0, 0)]


async def test_reading_everything_again_ends_in_the_same_rows(world: World) -> None:
    for number in range(50):
        await world.total(f"meter-{number % 7}", number * ONE, number)
        await world.position(number % 2, number, Ledger(received=number, accepted=number))
    await world.run_projector(projector_batch_records=11)
    once = (
        await world.rows("SELECT * FROM usage_totals ORDER BY meter"),
        await world.rows("SELECT * FROM ledger ORDER BY partition"),
    )
    await world.stream.rewind()
    await world.run_projector(projector_batch_records=13)
    again = (
        await world.rows("SELECT * FROM usage_totals ORDER BY meter"),
        await world.rows("SELECT * FROM ledger ORDER BY partition"),
    )
    assert again == once


async def test_two_projectors_never_put_an_older_total_over_a_newer(world: World) -> None:
    """Each number is the version of its row: a trigger refuses any step back."""
    await world.database.execute(
        """
        CREATE FUNCTION refuse_step_back() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF new.event_count < old.event_count THEN RAISE EXCEPTION 'a step back' USING ERRCODE = 'XX001'; END IF;
            RETURN new;
        END $$;
        CREATE TRIGGER refuse_step_back BEFORE UPDATE ON usage_totals
            FOR EACH ROW EXECUTE FUNCTION refuse_step_back();
        """
    )
    async with world.projector(projector_batch_records=3), world.projector(projector_batch_records=5):
        for number in range(1, 201):
            await world.total("call", number * ONE, number)
        await world.stream.all_is_read()
    assert await world.totals() == [("sub_1", "call", Decimal(200), 200)]


async def test_connections_killed_again_and_again_cost_nothing(world: World) -> None:
    kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'tally-projector'"
    killed = 0
    async with world.projector(projector_batch_records=3):
        for number in range(1, 101):
            await world.total(f"meter-{number % 3}", number * ONE, number)
            if number % 20 == 0:
                killed += await world.database.fetchval(kill)
        await world.stream.all_is_read()
    assert killed > 0
    assert await world.totals() == [
        ("sub_1", "meter-0", Decimal(99), 99),
        ("sub_1", "meter-1", Decimal(100), 100),
        ("sub_1", "meter-2", Decimal(98), 98),
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"", b""),
        (b'["sub_1"]', MeterTotal(END, ONE, 1).to_json()),
        (total_key("sub_1", START, "call"), None),
        (total_key("sub_1", START, "call"), b'{"quantity":1}'),
        (total_key("sub_1", START, "call\x00"), MeterTotal(END, ONE, 1).to_json()),
        (total_key("sub_1", START, "call"), MeterTotal(END, 10**32 * ONE, 1).to_json()),
    ],
    ids=["empty", "short key", "no value", "wrong value", "forbidden character", "too large"],
)
async def test_a_record_that_can_not_be_copied_is_reported_and_the_rest_goes_on(
    world: World, caplog: pytest.LogCaptureFixture, key: bytes, value: bytes | None
) -> None:
    await world.append_total(key, value)
    await world.total("token", ONE, 1)
    await world.run_projector()
    assert await world.totals() == [("sub_1", "token", Decimal(1), 1)]
    assert [record.levelname for record in caplog.records if "not copied" in record.message] == ["ERROR"]


async def test_without_the_topics_it_says_to_run_tally_topics(world: World) -> None:
    with pytest.raises(OperatorError, match=r"no topic nowhere-.* and no topic .* run 'tally topics' first"):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await Projector(world.settings.model_copy(update={"topic_prefix": "nowhere-"})).run(asyncio.Event())
