"""A closer that was stopped, wherever it stood, and another that takes its place."""

import asyncio
import os
import signal
import sys
from decimal import Decimal

import pytest

from aggregator.closer.job import ROLE
from aggregator.closer.lease import take_lease
from aggregator.stream.database import connected
from aggregator.stream.supervision import AWAY
from tests.integration.closer_world import World, calls, lease_of, period
from tests.integration.stream_world import eventually


async def test_a_closer_that_was_stopped_for_longer_than_its_lease_writes_nothing_more(world: World) -> None:
    settings = world.settings
    await world.close_periods([period("sub_1", calls(1))])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy", "closer"),
        env={
            **os.environ,
            "TALLY_KAFKA": settings.kafka,
            "TALLY_DATABASE_URL": settings.database_url,
            "TALLY_TOPIC_PREFIX": settings.topic_prefix,
            "TALLY_CLOSER_LEASE_SECONDS": "1",
        },
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        await world.stream.all_is_read()
        process.send_signal(signal.SIGSTOP)
        async with world.closer():
            await world.close_periods(period(f"sub_{number}", calls(number)) for number in range(2, 30))
            await world.stream.all_is_read()
            process.send_signal(signal.SIGCONT)
            async with asyncio.timeout(30):
                while b"Another closer has taken over from epoch 1" not in await process.stderr.readline():
                    pass
            await world.close_periods(period(f"sub_{number}", calls(number)) for number in range(30, 40))
            await world.stream.all_is_read()
            assert await world.rows("SELECT epoch FROM closer_lease") == [(2,)]
    finally:
        process.kill()
        await process.communicate()
    assert await world.amounts() == {(f"sub_{number}", 0): Decimal(2 * number) for number in range(1, 40)}
    assert await world.rows("SELECT count(*) FROM catalog_outbox") == [(39,)]
    assert await world.holds() == []


async def test_a_closer_that_was_stopped_in_its_transaction_does_not_hold_up_others_for_ever(
    world: World,
) -> None:
    async def is_taken() -> bool:
        return await take_lease(world.database, "second", 60) is not None

    await lease_of(world, "first")
    await world.database.execute("UPDATE closer_lease SET expires_at = now()")
    async with connected(world.settings.database_url, ROLE, 1) as stopped:
        transaction = stopped.transaction()
        await transaction.start()
        await stopped.execute("UPDATE closer_lease SET renewed_at = now()")
        await eventually(is_taken)  # while the first says nothing
        with pytest.raises(AWAY):  # after which it begins anew
            await transaction.commit()
