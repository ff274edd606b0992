"""The data directory of one Tally: who holds it, and which versions wrote it."""

import asyncio
import fcntl
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from deploy.errors import StartError

# What the files in a data directory are written by. Patch releases of Kafka and PostgreSQL read each other's files.
FORMAT = {"Tally data": "1", "Kafka": "4.1", "PostgreSQL": "18"}

# A server outlives the Tally that started it by the time its shutdown takes: seconds, or a minute on a slow disk.
LEFTOVER_SERVER_SECONDS = 60.0


def open_data_directory(data: Path) -> None:
    """Create `data`, or refuse it where another version of Tally, Kafka or PostgreSQL wrote it."""
    version = data / "VERSION"
    try:
        data.mkdir(parents=True, exist_ok=True)
        if version.exists():
            _check_format(data, version.read_text())
        else:
            _write_format(data, version)
    except OSError as error:
        raise StartError(
            f"{data} cannot be used as the data directory ({error.strerror}): choose another with --data."
        ) from error


def _write_format(data: Path, version: Path) -> None:
    if any((data / part).exists() for part in ("kafka", "postgres")):
        raise StartError(
            f"{data} holds data but no VERSION file that says what wrote it: choose another directory with --data."
        )
    draft = data / f"VERSION.{os.getpid()}"
    draft.write_text(json.dumps(FORMAT) + "\n")
    draft.replace(version)


def _check_format(data: Path, text: str) -> None:
    try:
        found = dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise StartError(
            f"{data / 'VERSION'} cannot be read as the record of what wrote {data}: choose another with --data."
        ) from error
    for name, expected in FORMAT.items():
        if found.get(name) != expected:
            raise StartError(
                f"{data} was written by {name} {found.get(name, 'of an unknown version')}, and this is {name} "
                f"{expected}: start it with the Tally that wrote it, or choose another directory with --data."
            )


def hold_data_directory(data: Path) -> "Lock":
    """Open `data` for one Tally alone, for as long as it lives or until the lock is released."""
    open_data_directory(data)
    lock = Lock(data / "lock")
    if not lock.acquire():
        raise _in_use(data)
    return lock


def _in_use(data: Path) -> StartError:
    return StartError(f"{data} is in use by another Tally: stop that one, or choose another directory with --data.")


class Lock:
    """A file locked for as long as this process, or a child that was handed `fd`, lives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = -1

    def acquire(self) -> bool:
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self.fd = fd
        return True

    def release(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Claim:
    """One process's hold on a directory, and on the server that works in it.

    Two locks, because a server outlives a Tally that is killed: `owner` ends with the Tally, `server` is handed down
    to the server and ends with its last process. A directory whose owner is alive is refused at once; one whose
    server is still shutting down is waited for.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._owner = Lock(directory / "owner.lock")
        self._server = Lock(directory / "server.lock")

    @property
    def server_fd(self) -> int:
        """To be inherited by every process that works in the directory."""
        return self._server.fd

    @asynccontextmanager
    async def taking(self) -> AsyncIterator[None]:
        """Prepare the directory in the block: it is held from before the block, and stays so unless the block fails."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._refuse_owner()
            await self._outwait_leftover()
            yield
        except OSError as error:
            self.release()
            raise StartError(
                f"{error.filename or self._directory} cannot be used ({error.strerror}): mend that, "
                "or choose another directory with --data."
            ) from error
        except BaseException:
            self.release()
            raise

    def _refuse_owner(self) -> None:
        if not self._owner.acquire():
            raise _in_use(self._directory.parent)

    async def _outwait_leftover(self) -> None:
        deadline = time.monotonic() + LEFTOVER_SERVER_SECONDS
        while not self._server.acquire():
            if time.monotonic() > deadline:
                raise StartError(
                    f"A server left behind by an earlier Tally still works in {self._directory}: stop it, then retry."
                )
            await asyncio.sleep(0.1)

    def release(self) -> None:
        self._server.release()
        self._owner.release()
