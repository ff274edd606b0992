"""What a process costs, and on what it was measured."""

import contextlib
import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MIB = 1 << 20


def cpu_seconds(pid: int) -> float:
    """CPU seconds, user and system, that a process has used."""
    own, _ = _cpu_seconds(pid)
    return own


def cpu_seconds_of_children(pid: int) -> float:
    """As cpu_seconds(), of the processes that a process has started: those that run, and those that have ended."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    running = 0.0
    for child in children:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            running += cpu_seconds(int(child))
    _, ended = _cpu_seconds(pid)
    return running + ended


def _cpu_seconds(pid: int) -> tuple[float, float]:
    """What a process has used itself, and what its children had that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own_user, own_system, ended_user, ended_system = map(int, fields[11:15])
    return (own_user + own_system) / _TICKS, (ended_user + ended_system) / _TICKS


def resident_mib(pid: int) -> int:
    """Memory in use, MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE // _MIB


@dataclass(frozen=True)
class Circumstances:
    """Where and with what something was measured."""

    cores: int
    python: str
    aiokafka: str
    faust: str
    commit: str

    @classmethod
    def here(cls) -> "Circumstances":
        """This machine and this checkout."""
        git = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
        return cls(
            os.cpu_count() or 0,
            platform.python_version(),
            version("aiokafka"),
            version("faust-streaming"),
            git.stdout.strip() or "unknown",
        )
