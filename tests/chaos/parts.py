"""One process of a stack: kept running by a supervisor of its own, and all that can be done to it."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from deploy.local.process import Command
from deploy.local.supervisor import Supervisor

READY_SECONDS = 60


@dataclass(frozen=True)
class Said:
    """A sentence of a supervisor; `at` is in ms since 1970."""

    at: int
    sentence: str


def now_ms() -> int:
    """The clock of this machine, which is also the broker's."""
    return time.time_ns() // 1_000_000


class Part:
    """A process by its command. It is up while it has a supervisor, though it may be between two runs."""

    def __init__(self, command: Command, kind: str, say: Callable[[str], None]) -> None:
        self.command = command
        self.kind = kind
        self._say = say
        self._supervisor: Supervisor | None = None
        self._thawer: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """The name under which it is supervised."""
        return self.command.name

    @property
    def is_up(self) -> bool:
        """Whether it is kept running."""
        return self._supervisor is not None

    @property
    def pid(self) -> int | None:
        """The id of its process; None between two runs, and while it is down."""
        return None if self._supervisor is None else self._supervisor.pid(self.name)

    async def start(self, command: Command, *, wait: bool) -> None:
        """Put it up, as this command says; without `wait` it may not be ready yet."""
        assert self._supervisor is None, f"{self.name} is up"
        self._supervisor = Supervisor(self._say)
        await self._supervisor.start(command if wait else replace(command, ready=None))

    async def stop(self, number: signal.Signals) -> None:
        """Take it down and keep it down: in good order, or with SIGKILL."""
        supervisor = self._supervisor
        if supervisor is None:
            return
        if number is signal.SIGKILL:
            self.kill(number)
        self._supervisor = None
        self.thaw()
        await supervisor.stop()

    def kill(self, number: signal.Signals) -> int | None:
        """Send a signal; returns the id of the process that gets it, None where there is none."""
        pid = self.pid
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return pid

    def freeze(self) -> int | None:
        """SIGSTOP, until thaw() or the end of this process; returns the id of the process, None where there is none."""
        pid = self.kill(signal.SIGSTOP)
        if pid is not None:
            # The shell waits for the end of its input, of which this process alone holds the other end.
            script = f"read _; kill -CONT {pid}"
            self._thawer = subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return pid

    def thaw(self) -> None:
        """Let it go on where it was frozen."""
        thawer, self._thawer = self._thawer, None
        if thawer is not None:
            thawer.communicate()

    async def answering(self) -> None:
        """Return once it says that it is ready."""
        ready = self.command.ready
        async with asyncio.timeout(READY_SECONDS):
            while ready is not None and not await ready():  # noqa: ASYNC110 - another process's state has no event
                await asyncio.sleep(0.05)
