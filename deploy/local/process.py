import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.errors import StartError

LAUNCHER = Path(__file__).with_name("launch.py")

# How often a child's end and its readiness are looked at. Polling, because a child then belongs to no event loop:
# one loop may start it and another stop it, as the fixtures of a test session do.
POLL_SECONDS = 0.03

COMPLAINT = re.compile(r'\b(ERROR|FATAL|PANIC)\b|^\{.*"level": ?"(error|critical)"')


@dataclass(frozen=True)
class User:
    """Another user of this machine to run as."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, kw_only=True)
class Command:
    """A program to keep running: what, where, as whom, when it is ready, how it is asked to stop."""

    name: str
    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    user: User | None = None
    inherited_fds: tuple[int, ...] = ()
    standard_input: bytes = b""
    ready: Callable[[], Awaitable[bool]] | None = None
    ready_seconds: float = 120.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 30.0
    exit_reasons: Mapping[int, str] = field(default_factory=dict)
    exited: Callable[[int], None] | None = None


class Process:
    """One run of a command. The child is told to stop when the thread that started it ends, however it ends."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self._exit_told = False
        command.log.parent.mkdir(parents=True, exist_ok=True)
        user = command.user
        launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), str(int(command.stop_signal))]
        launcher += [str(user.uid), str(user.gid)] if user else ["", ""]
        with command.log.open("ab") as log, tempfile.TemporaryFile() as standard_input:
            self._log_start = log.tell()
            if user:
                os.fchown(standard_input.fileno(), user.uid, user.gid)  # so that it can open /dev/stdin
            standard_input.write(command.standard_input)
            standard_input.seek(0)
            self._child = subprocess.Popen(  # noqa: S603 - the commands are this package's own
                [*launcher, *command.argv],
                stdin=standard_input,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=command.env,
                cwd=command.cwd,
                pass_fds=command.inherited_fds,
                # Ctrl-C on the terminal reaches the supervisor alone, which stops its children in order.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        return self._child.poll()

    async def wait(self) -> int:
        """The exit code, or the negative number of the signal that ended it."""
        while (code := self.exit_code) is None:  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(POLL_SECONDS)
        if self.command.exited and not self._exit_told:
            self._exit_told = True
            self.command.exited(code)
        return code

    async def wait_ready(self) -> None:
        """Return when the command's check says yes; it is an error if the child exits first, or takes too long."""
        deadline = time.monotonic() + self.command.ready_seconds
        while self.command.ready is not None and not await self.command.ready():
            if self.exit_code is not None:
                break
            if time.monotonic() > deadline:
                raise StartError(
                    f"{self.command.name} was not ready after {self.command.ready_seconds:.0f} s"
                    f"{self._last_words()}: see {self.command.log}."
                )
            await asyncio.sleep(POLL_SECONDS)
        if self.exit_code is not None:
            raise self.failure(await self.wait())

    def failure(self, code: int) -> StartError:
        reason = describe_exit(code, self.command.exit_reasons)
        return StartError(f"{self.command.name} {reason} while starting{self._last_words()}: see {self.command.log}.")

    async def stop(self) -> None:
        """Ask it to stop; end it, and whatever it started, when it does not."""
        if self.exit_code is None:
            self._child.send_signal(self.command.stop_signal)
            try:
                await asyncio.wait_for(self.wait(), self.command.stop_seconds)
            except TimeoutError:
                os.killpg(self.pid, signal.SIGKILL)
        await self.wait()

    def _last_words(self) -> str:
        line = last_complaint(self.command.log, self._log_start)
        return f" ({line})" if line else ""


async def started(command: Command) -> Process:
    """The running process, once it is ready; nothing is left running where it does not become so."""
    process = Process(command)
    try:
        await process.wait_ready()
    except BaseException:
        await process.stop()
        raise
    return process


async def finished(command: Command) -> None:
    """Run a command that ends by itself; it is an error if it does not end well."""
    process = Process(command)
    try:
        code = await process.wait()
    except BaseException:
        await process.stop()
        raise
    if code != 0:
        raise process.failure(code)


def describe_exit(code: int, reasons: Mapping[int, str]) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    reason = reasons.get(code)
    return f"exited with code {code} ({reason})" if reason else f"exited with code {code}"


def last_complaint(log: Path, start: int) -> str:
    """The last line after byte `start` that is marked as an error, or else the last line."""
    with log.open("rb") as file:
        file.seek(start)
        lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    complaints = [line for line in lines if COMPLAINT.search(line)]
    return _message((complaints or lines or [""])[-1]).strip().rstrip(".:")


def _message(line: str) -> str:
    """What a line says, which may be an object with more than that."""
    try:
        return str(json.loads(line)["message"])
    except (ValueError, LookupError, TypeError):
        return line
