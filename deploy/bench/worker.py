"""A worker process to be measured."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from schemas.settings import Settings


@asynccontextmanager
async def worker(settings: Settings, state_dir: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker of a deployment, until the block ends."""
    environment = {
        **os.environ,
        "TALLY_KAFKA": settings.kafka,
        "TALLY_TOPIC_PREFIX": settings.topic_prefix,
        "TALLY_STATE_DIR": str(state_dir),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "deploy", "--log-level", "warning", "aggregator", env=environment
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
