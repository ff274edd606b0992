"""A process whose wall clock is wrong, from its first import on.

Shifted are the ways in which Python code learns the time of day. Monotonic time stays as it is, as on a machine whose
clock is set wrong.
"""

import datetime
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
RealDatetime = datetime.datetime


def wrong_clock(directory: Path, seconds: int) -> Mapping[str, str]:
    """What to put into the environment of a Python process so that its clock is ahead by so many seconds.

    The interpreter imports `sitecustomize` at its start; one that shifts the clock is written to `directory`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    code = f"from tests.chaos.clock import shift_wall_clock\n\nshift_wall_clock({seconds})\n"
    (directory / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": f"{directory}:{REPOSITORY}"}


class _Replacement:
    """What stands in for a built-in function. Unlike one written in Python it becomes no method of a class that has it
    as an attribute, as logging.Formatter has."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)


def shift_wall_clock(seconds: int) -> None:
    """Shift the clock of this process, for all that is imported from now on."""
    real_time, real_time_ns = time.time, time.time_ns
    time.time = _Replacement(lambda: real_time() + seconds)
    time.time_ns = _Replacement(lambda: real_time_ns() + seconds * 10**9)
    for name in ("gmtime", "localtime", "ctime"):
        setattr(time, name, _of_shifted_now(getattr(time, name)))
    datetime.datetime = _shifted_datetime(datetime.timedelta(seconds=seconds))  # type: ignore[misc]


def _of_shifted_now(function: Callable[[float], Any]) -> _Replacement:
    return _Replacement(lambda at=None: function(time.time() if at is None else at))


def _shifted_datetime(shift: datetime.timedelta) -> type[datetime.datetime]:
    class InstancesOfBoth(type):
        """C code goes on to make instances of the real class."""

        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, RealDatetime)

        def __subclasscheck__(cls, subclass: type) -> bool:
            return issubclass(subclass, RealDatetime)

    class ShiftedDatetime(RealDatetime, metaclass=InstancesOfBoth):
        __slots__ = ()

        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return RealDatetime.now(tz) + shift

        @classmethod
        def utcnow(cls) -> Any:
            return RealDatetime.now(datetime.UTC).replace(tzinfo=None) + shift

        @classmethod
        def today(cls) -> Any:
            return RealDatetime.now() + shift

    return ShiftedDatetime
