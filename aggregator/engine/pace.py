"""Long work in small steps: the event loop belongs to all partitions of a process, and to its heartbeats."""

import asyncio
import time

STEP_SECONDS = 0.01


class Pace:
    """How long a piece of work has taken, less what others took while it rested."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._before = 0.0

    @property
    def worked(self) -> float:
        """Seconds."""
        return self._before + time.monotonic() - self._begun

    async def rest(self) -> None:
        """Let the others of the event loop have their turn, where it was held for a step."""
        now = time.monotonic()
        if now - self._begun >= STEP_SECONDS:
            self._before += now - self._begun
            await asyncio.sleep(0)
            self._begun = time.monotonic()
