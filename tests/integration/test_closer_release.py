"""`tally held`: what a closer holds, and having it try again while it works."""

import asyncio
import os
import sys
from decimal import Decimal

from schemas.topics import partition_of
from tests.integration.closer_world import PARTITIONS, World, altered, calls, period
from tests.integration.stream_world import eventually


async def held(world: World, *arguments: str, prefix: str | None = None) -> tuple[int, list[str], str]:
    """Exit code, lines of the output, and errors of the command."""
    settings = world.settings
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy", "held", *arguments),
        env={
            **os.environ,
            "TALLY_DATABASE_URL": settings.database_url,
            "TALLY_TOPIC_PREFIX": settings.topic_prefix if prefix is None else prefix,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    assert process.returncode is not None
    assert b"Traceback" not in errors, errors.decode()
    return process.returncode, out.decode().splitlines(), errors.decode()


async def test_what_is_held_is_tried_again_by_a_closer_at_work_once_its_cause_is_mended(world: World) -> None:
    """The cause: Postgres refuses amounts of 4."""
    await world.database.execute("ALTER TABLE invoices ADD CONSTRAINT no_four CHECK (amount <> 4)")
    diverging = period("sub_1", calls(3)), period("sub_1", calls(5))
    await world.close_periods([*diverging, period("sub_1", calls(2), sequence=1)])
    await world.append("sub_1", b"", altered(period("sub_1", calls(1), sequence=2)))
    partition = partition_of("sub_1", PARTITIONS)

    async def is_mended() -> bool:
        return ("sub_1", 1) in await world.amounts()

    async def is_read_again() -> bool:
        return await world.rows("SELECT reason FROM held_periods ORDER BY reason") == [("DIVERGED",), ("UNREADABLE",)]

    async with world.closer():
        await world.stream.all_is_read()
        code, lines, _ = await held(world, "list")
        assert (code, [line.split("  ")[:3] for line in lines]) == (
            0,
            [
                [f"{partition}:1", "DIVERGED", "sub_1 2026-01-01T00:00:00.000Z 0"],
                [f"{partition}:2", "REFUSED", "sub_1 2026-01-01T00:00:00.000Z 1"],
                [
                    f"{partition}:3",
                    "UNREADABLE",
                    "The record can't be read: ValueError: the digest does not match the record",
                ],
            ],
        )
        assert await held(world, "release", "--partition", str(1 - partition)) == (0, ["nothing to release"], "")
        assert not await is_mended()
        await world.database.execute("ALTER TABLE invoices DROP CONSTRAINT no_four")
        code, lines, _ = await held(world, "release")
        assert (code, lines) == (
            0,
            [
                f"released 2 of partition {partition}; the closer reads it again from its begin",
                "1 DIVERGED stay held, for their invoices exist with other content: settle those by hand",
            ],
        )
        await eventually(is_mended)
        await eventually(is_read_again)
    assert await world.amounts() == {("sub_1", 0): Decimal(6), ("sub_1", 1): Decimal(4)}


async def test_a_release_under_another_prefix_is_refused_and_changes_nothing(world: World) -> None:
    await world.append("sub_1", b"", b"?")
    await world.run_closer()
    holds = await world.holds()
    code, lines, errors = await held(world, "release", prefix="another-")
    assert (code, lines) == (1, [])
    assert "another-closed-periods: check TALLY_TOPIC_PREFIX" in errors
    assert await world.holds() == holds
