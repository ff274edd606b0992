"""Worker processes to be measured."""

import asyncio
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType

from schemas.settings import Settings

Own = Mapping[str, int | str]
"""Settings of the worker by their names, such as `linger_milliseconds`; the others are as they are."""
NOTHING: Own = MappingProxyType({})


@asynccontextmanager
async def worker(
    settings: Settings, state_dir: Path, own: Own = NOTHING, stderr: int | None = None
) -> AsyncIterator[Process]:
    """A worker of a deployment, until the block ends."""
    environment = {
        **os.environ,
        "TALLY_LOG_LEVEL": "warning",
        "TALLY_KAFKA": settings.kafka,
        "TALLY_TOPIC_PREFIX": settings.topic_prefix,
        "TALLY_STATE_DIR": str(state_dir),
        **{f"TALLY_{name.upper()}": str(value) for name, value in own.items()},
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy", "aggregator"), env=environment, stderr=stderr
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@asynccontextmanager
async def workers(settings: Settings, directory: Path, count: int, own: Own = NOTHING) -> AsyncIterator[list[Process]]:
    """So many of them, which share the partitions, until the block ends; their states are in the directory."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(worker(settings, directory / f"worker{number}", own))
            for number in range(count)
        ]
