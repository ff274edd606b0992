import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from deploy.errors import StartError
from deploy.local.process import Command, Process, describe_exit

RESTART_SECONDS_FIRST = 0.2
RESTART_SECONDS_MAX = 5.0

# A child that ran this long before it exited is not in a crash loop: its restarts begin again with the short delay.
STEADY_SECONDS = 30.0

# A child that is up and not ready for this long is worth a sentence: it does not exit, so nothing else would tell.
UNREADY_SECONDS = 20.0
LOOKS_AT_READINESS = 8

# A child may lose a race for something that is just starting; what fails three times running fails for a reason.
EXITS_BEFORE_READY_MAX = 3


def restart_delay(exits: int) -> float:
    """Seconds to wait before the restart after the `exits`-th exit in a row: 0.2, 0.4, 0.8 ... 5."""
    return min(RESTART_SECONDS_FIRST * 2.0 ** min(exits - 1, 10), RESTART_SECONDS_MAX)


class Supervisor:
    """Keeps commands running: each is restarted on any exit, code 0 included, until `stop`.

    `say` gets a sentence about each exit, and about each that is up and not ready for `unready_seconds`.
    """

    def __init__(self, say: Callable[[str], None], unready_seconds: float = UNREADY_SECONDS) -> None:
        self._say = say
        self._unready_seconds = unready_seconds
        self._children: dict[str, _Child] = {}

    async def start(self, command: Command) -> None:
        """Run the command; return when it is ready. From then on it is kept running."""
        assert command.name not in self._children, command.name
        child = _Child(command, self._say, self._unready_seconds)
        self._children[command.name] = child
        await child.start()

    async def stop(self) -> None:
        """Stop all, the last started first. Each has exited before the one before it is asked to."""
        while self._children:
            _, child = self._children.popitem()
            await child.stop()

    def pid(self, name: str) -> int | None:
        """The process id of the command's present run; None between two runs."""
        return self._children[name].pid


class _Child:
    def __init__(self, command: Command, say: Callable[[str], None], unready_seconds: float) -> None:
        self._command = command
        self._say = say
        self._unready_seconds = unready_seconds
        self._process: Process | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def pid(self) -> int | None:
        if self._process is None or self._process.exit_code is not None:
            return None
        return self._process.pid

    async def start(self) -> None:
        process = self._process = Process(self._command)
        for exits in range(1, EXITS_BEFORE_READY_MAX):
            try:
                await process.wait_ready()
                break
            except StartError:
                code = process.exit_code
                if code is None:
                    raise
            process = await self._restart(code, exits)
        else:
            await process.wait_ready()
        self._tasks = [asyncio.create_task(self._keep_running(process), name=f"keep {self._command.name}")]
        if self._command.ready is not None:
            looking = self._look_at_readiness(self._command.ready)
            self._tasks.append(asyncio.create_task(looking, name=f"look at {self._command.name}"))

    async def _keep_running(self, process: Process) -> None:
        exits = 0
        while True:
            start = time.monotonic()
            code = await process.wait()
            exits = 1 if time.monotonic() - start > STEADY_SECONDS else exits + 1
            process = await self._restart(code, exits)

    async def _look_at_readiness(self, ready: Callable[[], Awaitable[bool]]) -> None:
        ready_at, was_told = time.monotonic(), False
        while True:
            await asyncio.sleep(self._unready_seconds / LOOKS_AT_READINESS)
            if await ready():
                if was_told:
                    self._say(f"{self._command.name} is ready again")
                ready_at, was_told = time.monotonic(), False
            elif not was_told and self.pid is not None and time.monotonic() - ready_at > self._unready_seconds:
                was_told = True
                seconds = f"{time.monotonic() - ready_at:.0f} s"
                self._say(f"{self._command.name} is up, and has not been ready for {seconds}: see {self._command.log}")

    async def _restart(self, code: int, exits: int) -> Process:
        pause = restart_delay(exits)
        reason = describe_exit(code, self._command.exit_reasons)
        self._say(f"{self._command.name} {reason}, restarting in {pause:g} s")
        while True:
            await asyncio.sleep(pause)
            try:
                self._process = Process(self._command)
            except OSError as error:  # no more processes, no more disk: the next attempt may find some
                pause = RESTART_SECONDS_MAX
                self._say(f"{self._command.name} cannot be restarted ({error.strerror}), retrying in {pause:g} s")
            else:
                return self._process

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if self._process:
            await self._process.stop()
