"""Directories on this machine: the disk that each is on, and how many files a process may open."""

import os
import resource
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.doctor.finding import Finding, fail, ok, unknown, warn

GIB: Final = 1024**3
FREE_WARN_PERCENT: Final = 15
FREE_FAIL_PERCENT: Final = 5
TABLE_ENDING: Final = ".sst"


@dataclass(slots=True, frozen=True)
class Place:
    """A directory, or why it can't be looked at. Bytes and files of its disk; `tables` are RocksDB's files in it, each
    of which a worker keeps open."""

    path: Path
    error: str = ""
    free: int = 0
    size: int = 1
    free_files: int = 0
    files: int = 0
    is_writable: bool = True
    tables: int = 0


def find_place(path: Path) -> Place:
    """Look at it."""
    try:
        usage, disk = shutil.disk_usage(path), os.statvfs(path)
        tables = sum(1 for file in path.rglob(f"*{TABLE_ENDING}"))
    except OSError as error:
        return Place(path, error=error.strerror or str(error))
    return Place(path, "", usage.free, usage.total, disk.f_favail, disk.f_files, not disk.f_flag & os.ST_RDONLY, tables)


def open_files_max() -> tuple[int, int]:
    """How many files a process that is started here may open, and up to how many it may raise that by itself."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def judge_place(place: Place) -> Finding:
    """How much room there is."""
    check = "disk"
    if place.error:
        return unknown(check, f"{place.path}: {place.error}", "Name a directory that exists and may be read.")
    percent = place.free * 100 // place.size
    fact = f"{place.path} has {place.free / GIB:,.1f} GiB free ({percent} %)"
    if not place.is_writable:
        return fail(check, f"{place.path} is on a disk that can only be read", "See why the system made it so.")
    if place.files and place.free_files * 100 < place.files * FREE_FAIL_PERCENT:
        return fail(check, f"{fact}, and hardly any inodes", "Delete small files, or use another file system.")
    if percent < FREE_FAIL_PERCENT:
        return fail(check, fact, "Make room: where Kafka's disk is full, nothing is acknowledged any more.")
    if percent < FREE_WARN_PERCENT:
        return warn(check, fact, "Make room before it is needed: sources and closed periods are kept for ever.")
    return ok(check, fact)


def judge_open_files(limits: tuple[int, int], connections: int, places: Sequence[Place]) -> Finding:
    """Whether a worker may keep its tables open, and a gateway, which raises its limit, as many connections as it is
    set to take."""
    check, remedy = "open files", "Raise it (systemd: LimitNOFILE=): what is started from here gets no more."
    soft, hard = (sys.maxsize if limit == resource.RLIM_INFINITY else limit for limit in limits)
    tables = sum(place.tables for place in places)
    if soft < tables * 2:
        return warn(check, f"{soft:,}, and the stores of workers have {tables:,} tables, each kept open", remedy)
    if hard < connections:
        return warn(check, f"{hard:,} at the most, and TALLY_CONNECTIONS of a gateway is {connections:,}", remedy)
    return ok(check, f"{soft:,} of a process" if soft < sys.maxsize else "no limit")
