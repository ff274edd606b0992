"""The command `tally`, also `python -m deploy`: it ends on SIGTERM from its first moment on.

The kernel drops a signal to process 1 of a container that has no handler for it. What a part needs takes about a second
to import, and a part that is told to stop in that second would go on until it is killed. Once it runs, it has a handler
of its own, which lets it finish what it has in hand.
"""

import os
import signal
from types import FrameType


def main() -> None:
    """Run the command line. SIGTERM ends it at once, with exit code 143, where nothing else handles it."""
    signal.signal(signal.SIGTERM, _end)
    from deploy.cli import main as run  # noqa: PLC0415 - there is a handler while all of it is imported

    run()


def _end(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)


if __name__ == "__main__":
    main()
