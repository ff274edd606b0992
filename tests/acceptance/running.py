"""Tally as a user runs it: the processes of `tally up`, found and killed by their pids."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.target import Target

REPOSITORY = Path(__file__).parents[2]
SHARED_DATA = Path(os.environ.get("TALLY_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
READY_SECONDS = 120
STOP_SECONDS = 60
EVENTUALLY_SECONDS = 60


def tally(*arguments: str) -> list[str]:
    """The command line of a subcommand."""
    return [sys.executable, "-m", "deploy", *arguments]


@dataclass(frozen=True)
class Running:
    """A `tally up`."""

    target: Target
    process: asyncio.subprocess.Process

    def pid_of(self, part: str) -> int:
        """The process id of a part that is running now."""
        for directory in Path("/proc").iterdir():
            if directory.name.isdigit() and self._is_part(directory, part):
                return int(directory.name)
        raise LookupError(f"{part} is not running")

    def kill(self, part: str) -> int:
        """SIGKILL a part; returns the pid that it had."""
        pid = self.pid_of(part)
        os.kill(pid, signal.SIGKILL)
        return pid

    def _is_part(self, directory: Path, part: str) -> bool:
        try:
            words = (directory / "cmdline").read_bytes().split(b"\0")
            parent = int((directory / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            return False  # it has ended meanwhile
        return parent == self.process.pid and part.encode() in words and b"deploy" in words


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return when the condition holds; TimeoutError if it never does."""
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        while not await condition():  # noqa: ASYNC110 - another process's state has no event to wait for
            await asyncio.sleep(0.01)


@asynccontextmanager
async def tally_up(data: Path) -> AsyncIterator[Running]:
    """Run `tally up` on a directory until the block ends, then stop it as a user does."""
    process = await asyncio.create_subprocess_exec(
        *tally("up", "--data", str(data), "--http-port", "0", "--kafka-port", "0", "--postgres-port", "0"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(READY_SECONDS):
            line = (await process.stdout.readline()).decode()
        assert line.startswith("ready {"), f"tally up printed {line!r}"
        yield Running(Target.of_ready_line(line.strip()), process)
    finally:
        if process.returncode is None:
            process.terminate()
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
    assert process.returncode == 0
