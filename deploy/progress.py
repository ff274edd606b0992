"""Progress of long work: one line rewritten on a terminal, a line every few seconds elsewhere. On stderr."""

import sys
import time

LINES_SECONDS = 5.0
REWRITES_SECONDS = 0.1


class Progress:
    """Counts something up to a total."""

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = total
        self._done = 0
        self._begun = self._shown_at = time.monotonic()

    def add(self, count: int) -> None:
        """So many more are done."""
        self.set(self._done + count)

    def set(self, done: int) -> None:
        """So many are done."""
        self._done = done
        interval = REWRITES_SECONDS if sys.stderr.isatty() else LINES_SECONDS
        if time.monotonic() - self._shown_at >= interval:
            self._show(end="\r" if sys.stderr.isatty() else "\n")

    def finish(self) -> None:
        """The last word."""
        self._show(end="\n")

    def _show(self, end: str) -> None:
        self._shown_at = time.monotonic()
        rate = self._done / max(self._shown_at - self._begun, 0.001)
        print(
            f"  {self._what}: {self._done:,} of {self._total:,} ({rate:,.0f}/s)  ", end=end, file=sys.stderr, flush=True
        )
