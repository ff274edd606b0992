"""`tally`, a step of whose partitions never ends and can't be cancelled. Run as `python -m tests.integration.stuck
opening|release ...`."""

import asyncio
import sys
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaProducer

from deploy.cli import main

STEPS = {"opening": "start", "release": "stop"}
"""What never ends of the producer of a partition; Faust has one of its own."""


def hang(step: str) -> None:
    original = getattr(AIOKafkaProducer, step)

    async def stuck(self: Any) -> None:
        while self._txn_manager is not None:
            with suppress(asyncio.CancelledError):
                await asyncio.get_running_loop().create_future()
        await original(self)

    setattr(AIOKafkaProducer, step, stuck)


if __name__ == "__main__":
    hang(STEPS[sys.argv[1]])
    main(sys.argv[2:])
