"""What a process costs, and on what it was measured."""

import contextlib
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from deploy.local.jars import KAFKA_VERSION
from schemas.errors import OperatorError
from schemas.plain import compiled

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_TICKS = os.sysconf("SC_CLK_TCK")
_KIB_IN_MIB = 1024
_STOLEN = 7
"""The place among the numbers of "cpu" in /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal, ..."""


class ProcessEnded(OperatorError):
    """What is measured does not run any more."""

    def __init__(self) -> None:
        super().__init__("A process that is measured has ended; look at what it says above.")


def cpu_seconds(pid: int) -> float:
    """CPU seconds, user and system, that a process has used in all of its threads. Raises ProcessEnded."""
    own, _ = _cpu_seconds(pid)
    return own


def cpu_seconds_of_children(pid: int) -> float:
    """As cpu_seconds(), of the processes that a process has started in its first thread, and those in turn: those that
    run, and those that have ended. Raises ProcessEnded."""
    running = 0.0
    for child in _read(pid, f"task/{pid}/children").split():
        with contextlib.suppress(ProcessEnded):
            running += cpu_seconds(int(child)) + cpu_seconds_of_children(int(child))
    _, ended = _cpu_seconds(pid)
    return running + ended


def cpu_seconds_of_all(pids: Iterable[int]) -> float:
    """CPU seconds of these processes, and of all that they have started. Raises ProcessEnded."""
    return sum(cpu_seconds(pid) + cpu_seconds_of_children(pid) for pid in pids)


def stolen_cpu_seconds() -> float:
    """CPU seconds of all cores that a virtual machine wanted and its host gave to others; 0 where there is no host."""
    _, *fields = Path("/proc/stat").read_text().partition("\n")[0].split()
    return int(fields[_STOLEN]) / _TICKS


def _cpu_seconds(pid: int) -> tuple[float, float]:
    """What a process has used itself, and what its children had that have ended."""
    fields = _read(pid, "stat").rpartition(")")[2].split()
    own_user, own_system, ended_user, ended_system = map(int, fields[11:15])
    return (own_user + own_system) / _TICKS, (ended_user + ended_system) / _TICKS


def resident_mib(pid: int) -> int:
    """Memory in use, MiB. Raises ProcessEnded."""
    return _memory_mib(pid, "VmRSS")


def resident_peak_mib(pid: int) -> int:
    """The most memory that was in use since the process began, MiB. Raises ProcessEnded."""
    return _memory_mib(pid, "VmHWM")


def _memory_mib(pid: int, name: str) -> int:
    for line in _read(pid, "status").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) // _KIB_IN_MIB
    raise ProcessEnded


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessEnded from error


def medians(runs: Sequence["DataclassInstance"]) -> dict[str, Any]:
    """Of several runs, each figure the median of its own; what is true or not, is where it is in every run."""
    wires = [asdict(run) for run in runs]
    return {name: _median([wire[name] for wire in wires]) for name in wires[0]}


def _median(found: Sequence[Any]) -> Any:
    if isinstance(found[0], bool):
        return all(found)
    middle = median(found)
    return round(middle) if isinstance(found[0], int) else round(middle, 3)


@dataclass(frozen=True)
class Circumstances:
    """Where and with what something was measured. `commit` is that of this checkout, `is_changed` whether there are
    changes that are not committed; `load` is the average of the minute before; `is_compiled` tells whether plain events
    are read in C (schemas.plain)."""

    cores: int
    cpu: str
    kernel: str
    load: float
    python: str
    aiokafka: str
    faust: str
    rocksdict: str
    uvloop: str
    kafka: str
    commit: str
    is_changed: bool
    is_compiled: bool

    @classmethod
    def here(cls) -> "Circumstances":
        """This machine and this checkout, now."""
        return cls(
            cores=os.cpu_count() or 0,
            cpu=_cpu_model(),
            kernel=platform.release(),
            load=round(os.getloadavg()[0], 2),
            python=platform.python_version(),
            aiokafka=version("aiokafka"),
            faust=version("faust-streaming"),
            rocksdict=version("rocksdict"),
            uvloop=version("uvloop"),
            kafka=KAFKA_VERSION,
            commit=_git("rev-parse", "--short", "HEAD") or "unknown",
            is_changed=bool(_git("status", "--porcelain", "--untracked-files=no")),
            is_compiled=compiled is not None,
        )


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _git(*arguments: str) -> str:
    git = subprocess.run(  # noqa: S603
        ["git", *arguments],  # noqa: S607
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return git.stdout.strip()
