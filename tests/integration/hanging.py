"""`tally`, whose event loop hangs for ever from SIGUSR1 on, or one of whose tasks fails from SIGUSR2 on."""

import signal
import time
from types import FrameType

from aggregator.engine.watch import Watch
from deploy.cli import main


def _hang(_number: int, _frame: FrameType | None) -> None:
    while True:
        time.sleep(1)


async def _fail(*_: object) -> None:
    raise RuntimeError("the watch fails")


def _break(_number: int, _frame: FrameType | None) -> None:
    Watch.look = _fail  # type: ignore[assignment,method-assign]  # the seam of this test


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _hang)
    signal.signal(signal.SIGUSR2, _break)
    main()
