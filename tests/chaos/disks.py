"""Disks that fill up: a small tmpfs of its own under a server's data."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

CHUNKS: Final = (1 << 20, 1 << 12, 1)
"""Bytes written at a time: ever fewer, until not one more fits."""


class SmallDisk:
    """A mounted tmpfs."""

    def __init__(self, path: Path) -> None:
        self._filler = path / "filler"

    def fill(self) -> int:
        """Take all space that is left; returns how many bytes that was."""
        descriptor = os.open(self._filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return sum(_write_until_full(descriptor, size) for size in CHUNKS)
        finally:
            os.close(descriptor)

    def free(self) -> None:
        """Give the space back."""
        self._filler.unlink(missing_ok=True)


def _write_until_full(descriptor: int, size: int) -> int:
    chunk, written = bytes(size), 0
    while True:
        try:
            written += os.write(descriptor, chunk)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return written


@contextmanager
def small_disk(path: Path, mib: int) -> Iterator[SmallDisk]:
    """Mount one at `path` until the block ends, and what was in it is gone."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=755", "tally-chaos", path], check=True)
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


@cache
def why_no_small_disk() -> str | None:
    """Why none can be mounted here; None where it can."""
    with TemporaryDirectory() as directory:
        try:
            with small_disk(Path(directory), 1):
                return None
        except (OSError, subprocess.CalledProcessError) as error:
            return f"a tmpfs can't be mounted here, which takes root on Linux: {error}"
