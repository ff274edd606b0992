"""Dying at a chosen moment: the crash itself, and how it gets between two steps of code that knows nothing of it."""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn


class Crash:
    """The death of this process at the N-th pass."""

    def __init__(self, passes: int, mark: Path) -> None:
        self._left = passes
        self._mark = mark

    def is_due(self) -> bool:
        """Count a pass; whether it is the last."""
        self._left -= 1
        return self._left == 0

    def note(self) -> None:
        """Leave the mark: the point is reached."""
        self._mark.touch()

    def now(self) -> NoReturn:
        """Leave the mark and die."""
        self.note()
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable: the process is dead")


class Killer:
    """A child that kills this process at a moment of its own: while a call into C holds the interpreter's lock, no
    thread of this process could."""

    def __init__(self, seconds_max: float) -> None:
        read, self._write = os.pipe()
        victim = os.getpid()
        if os.fork() == 0:
            os.close(self._write)
            if os.read(read, 1):  # else the victim has died by itself
                end = time.perf_counter() + random.random() * seconds_max
                while time.perf_counter() < end:
                    pass
                os.kill(victim, signal.SIGKILL)
            os._exit(0)
        os.close(read)

    def aim(self) -> None:
        """From now on this process may die at any moment."""
        os.write(self._write, b"!")

    @staticmethod
    def wait() -> NoReturn:
        """Do nothing more until it has."""
        time.sleep(60)
        raise AssertionError("the killer has failed")


def before(owner: Any, name: str, crash: Crash, when: Callable[..., bool] = lambda *_: True) -> None:
    """Die before the calls of a coroutine function that are meant."""
    original = getattr(owner, name)

    async def wrapped(self: Any, *arguments: Any, **named: Any) -> Any:
        if when(self) and crash.is_due():
            crash.now()
        return await original(self, *arguments, **named)

    setattr(owner, name, wrapped)


def before_call(owner: Any, name: str, crash: Crash) -> None:
    """Die before the calls of a plain function."""

    def wrap(original: Any) -> Any:
        def wrapped(*arguments: Any) -> Any:
            if crash.is_due():
                crash.now()
            return original(*arguments)

        return wrapped

    replace(owner, name, wrap)


def after(owner: Any, name: str, crash: Crash, when: Callable[..., bool] = lambda *_: True) -> None:
    """Die when a call of a coroutine function that is meant has returned."""
    original = getattr(owner, name)

    async def wrapped(self: Any, *arguments: Any, **named: Any) -> Any:
        result = await original(self, *arguments, **named)
        if when(self) and crash.is_due():
            crash.now()
        return result

    setattr(owner, name, wrapped)


def replace(owner: Any, name: str, wrap: Callable[[Any], Any]) -> None:
    """Put what `wrap` makes of a function in its place."""
    setattr(owner, name, wrap(getattr(owner, name)))
