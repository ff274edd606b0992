"""Ends a process whose event loop hangs, so that its supervisor starts another: nothing inside of it could help."""

import asyncio
import faulthandler
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from aggregator.engine.halt import HaltReason

TICK_SECONDS_MAX = 1.0
TICKS_MIN = 4
"""How often a loop is asked before it is said to hang."""
BACKSTOP = 3
"""Where not even the thread gets a turn, because native code hangs and holds Python's lock, a timer in C ends the
process after this many times as long, with code 1."""


@contextmanager
def watched(seconds: float) -> Iterator[None]:
    """End the process once its running loop has not turned for so long. Call this within the loop."""
    watchdog = _Watchdog(asyncio.get_running_loop(), seconds)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.stop()


class _Watchdog(threading.Thread):
    """Counts its own ticks instead of time: of a process that was stopped as a whole, nothing hangs."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._loop = loop
        self._seconds = seconds
        self._tick = min(TICK_SECONDS_MAX, seconds / TICKS_MIN)
        self._stopped = threading.Event()
        self._turned = threading.Event()

    def start(self) -> None:
        """See Thread."""
        self._arm_backstop()
        super().start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()
        self.join()
        faulthandler.cancel_dump_traceback_later()

    def run(self) -> None:
        """See Thread."""
        silent_seconds = 0.0
        self._ask()
        while not self._stopped.wait(self._tick):
            self._arm_backstop()
            if self._turned.is_set():
                silent_seconds = 0.0
                self._ask()
            else:
                silent_seconds += self._tick
            if silent_seconds >= self._seconds:
                self._end(silent_seconds)

    def _arm_backstop(self) -> None:
        faulthandler.dump_traceback_later(BACKSTOP * self._seconds, exit=True)

    def _ask(self) -> None:
        """Have the loop say that it turns."""
        self._turned.clear()
        try:
            self._loop.call_soon_threadsafe(self._turned.set)
        except RuntimeError:  # the loop is closed: the process is at its end
            self._stopped.set()

    def _end(self, seconds: float) -> None:
        """What hangs is written out first. No handler of the loop's thread runs, so nothing is flushed or closed."""
        reason = HaltReason.LOOP_STUCK
        sys.stderr.write(f"CRITICAL The event loop has not turned for {seconds:.0f} s; {reason.remedy}.\n")
        faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
        sys.stderr.flush()
        os._exit(reason.code)
