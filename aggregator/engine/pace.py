"""Long work in small steps: the event loop belongs to all partitions of a process, and to its heartbeats."""

import asyncio
import time

STEP_SECONDS = 0.01


class Pace:
    """How much work was done: CPU time of the thread, less that of others while this rested. On a busy machine a step
    takes longer, and no less is done in it."""

    def __init__(self) -> None:
        self._begun = time.thread_time()
        self._before = 0.0

    @property
    def worked(self) -> float:
        """CPU seconds."""
        return self._before + time.thread_time() - self._begun

    async def rest(self) -> None:
        """Let the others of the event loop have their turn, where it was held for a step."""
        now = time.thread_time()
        if now - self._begun >= STEP_SECONDS:
            self._before += now - self._begun
            await asyncio.sleep(0)
            self._begun = time.thread_time()
